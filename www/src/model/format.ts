// Formats of numbers, money, sizes, durations and times. They are English, as the page is, whatever the
// browser's language: "1.234" must have one meaning.
import type { Granularity } from '../api/types.ts';
import { absolute, type Numeric } from './numeric.ts';
import { addPeriods, DAY, HOUR, MINUTE, SECOND } from './period.ts';

export type Zone = 'utc' | 'local';
export type Unit = 'count' | 'usd' | 'seconds' | 'bytes' | 'gigabytes';

const NUMBERS = 'en-US';
const DATES = 'en-GB';

/** Shown where there is no value. */
export const ABSENT = '–';

const exactCount = new Intl.NumberFormat(NUMBERS, { maximumFractionDigits: 2 });
const exactUsd = new Intl.NumberFormat(NUMBERS, { style: 'currency', currency: 'USD' });
const tinyUsd = new Intl.NumberFormat(NUMBERS, {
  style: 'currency',
  currency: 'USD',
  maximumSignificantDigits: 3,
});
const percent = (digits: number) =>
  new Intl.NumberFormat(NUMBERS, {
    style: 'percent',
    maximumFractionDigits: digits,
    signDisplay: 'exceptZero',
  });

export function formatExact(value: Numeric | null | undefined, unit: Unit): string {
  if (value == null) return ABSENT;
  switch (unit) {
    case 'count':
      return exactCount.format(value);
    case 'usd':
      return exactUsd.format(value);
    case 'seconds':
      return `${exactCount.format(value)} s`;
    case 'bytes':
      return `${exactCount.format(value)} B`;
    case 'gigabytes':
      return `${exactCount.format(value)} GB`;
  }
}

/** Labels of an axis: as short as possible and all different. */
export function formatAxis(values: number[], unit: Unit): string[] {
  const differing = (write: (value: number) => string) => {
    const labels = values.map(write);
    return new Set(labels).size === labels.length ? labels : null;
  };
  const short = (digits: number) => differing((value) => formatCompact(value, unit, digits));
  const small = Math.max(...values.map(Math.abs)) < 1_000_000;
  return (
    short(0) ??
    short(1) ??
    (small ? differing((value) => formatExact(value, unit).replace(/\.00$/, '')) : short(2)) ??
    values.map((value) => formatCompact(value, unit, 3))
  );
}

function formatCompact(value: number, unit: Unit, digits: number): string {
  switch (unit) {
    case 'count':
      return compact(digits).format(value);
    case 'usd':
      return compact(digits, 'USD').format(value);
    case 'seconds':
      return `${compact(digits).format(value)} s`;
    case 'bytes':
      return formatBytes(value, digits);
    case 'gigabytes':
      return `${compact(digits).format(value)} GB`;
  }
}

function compact(digits: number, currency?: string): Intl.NumberFormat {
  return new Intl.NumberFormat(NUMBERS, {
    notation: 'compact',
    maximumFractionDigits: digits,
    minimumFractionDigits: 0,
    ...(currency !== undefined && { style: 'currency', currency }),
  });
}

function formatBytes(value: number, digits: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const step = Math.min(names.length - 1, Math.floor(Math.log2(Math.max(1, Math.abs(value))) / 10));
  return `${compact(digits).format(value / 1024 ** step)} ${names[step]}`;
}

/** Costs of a run are far below a cent: three significant digits. */
export function formatCost(usd: number): string {
  return usd !== 0 && Math.abs(usd) < 1 ? tinyUsd.format(usd) : exactUsd.format(usd);
}

export function formatSigned(value: Numeric, unit: Unit): string {
  return (value > 0 ? '+' : value < 0 ? '−' : '±') + formatExact(absolute(value), unit);
}

/** From a percentage (5 is five percent). */
export function formatPercent(value: number): string {
  return percent(Math.abs(value) < 100 ? 1 : 0)
    .format(value / 100)
    .replace('-', '−');
}

export function formatDuration(milliseconds: number): string {
  if (milliseconds < SECOND) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 59.95 * SECOND) return `${(milliseconds / SECOND).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / SECOND);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** How long ago, in the largest whole unit. */
export function formatAge(milliseconds: number): string {
  if (milliseconds < 5 * SECOND) return 'just now';
  if (milliseconds < MINUTE) return `${Math.floor(milliseconds / SECOND)} s ago`;
  if (milliseconds < HOUR) return `${Math.floor(milliseconds / MINUTE)} min ago`;
  if (milliseconds < 2 * DAY) return `${Math.floor(milliseconds / HOUR)} h ago`;
  return `${Math.floor(milliseconds / DAY)} days ago`;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function write(instant: number, zone: Zone, options: Intl.DateTimeFormatOptions): string {
  const key = zone + JSON.stringify(options);
  let formatter = formatters.get(key);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat(DATES, { ...options, ...(zone === 'utc' && { timeZone: 'UTC' }) });
    formatters.set(key, formatter);
  }
  return formatter.format(instant);
}

const TIME = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
const DATE = { day: 'numeric', month: 'short', year: 'numeric' } as const;

export function formatDay(instant: number, zone: Zone): string {
  return write(instant, zone, { day: 'numeric', month: 'short' });
}

export function formatDate(instant: number, zone: Zone): string {
  return write(instant, zone, DATE);
}

export function formatMonth(instant: number, zone: Zone): string {
  return write(instant, zone, { month: 'short' });
}

export function formatYear(instant: number, zone: Zone): string {
  return write(instant, zone, { year: 'numeric' });
}

export function formatTime(instant: number, zone: Zone): string {
  return write(instant, zone, TIME);
}

export function formatDateTime(instant: number, zone: Zone): string {
  return `${formatDate(instant, zone)}, ${formatTime(instant, zone)}`;
}

/** To the second, with the zone: the time something was calculated. */
export function formatInstant(instant: number, zone: Zone): string {
  return `${formatDate(instant, zone)}, ${write(instant, zone, { ...TIME, second: '2-digit' })} ${zoneName(zone, instant)}`;
}

/** A recent time: without the date if it is today, without the year if it is this year. */
export function formatRecent(instant: number, now: number, zone: Zone): string {
  return `${formatMoment(instant, now, zone)} ${zoneName(zone, instant)}`;
}

/** The same without the zone. */
export function formatMoment(instant: number, now: number, zone: Zone): string {
  const time = formatTime(instant, zone);
  if (formatDate(instant, zone) === formatDate(now, zone)) return time;
  const sameYear = formatYear(instant, zone) === formatYear(now, zone);
  return `${(sameYear ? formatDay : formatDate)(instant, zone)}, ${time}`;
}

/** `UTC`, or the viewer's zone at that time, as the browser names it. */
export function zoneName(zone: Zone, instant: number): string {
  if (zone === 'utc') return 'UTC';
  const parts = new Intl.DateTimeFormat(DATES, { timeZoneName: 'short' }).formatToParts(instant);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? 'local time';
}

/** All names that the zone has at these times; daylight saving may begin or end between them. */
export function zoneNames(zone: Zone, instants: number[]): string {
  if (zone === 'utc') return 'UTC';
  const byOffset = new Map(instants.map((instant) => [offset(instant, zone), instant]));
  return [...byOffset.values()].map((instant) => zoneName(zone, instant)).join(' and ');
}

function offset(instant: number, zone: Zone): number {
  return zone === 'utc' ? 0 : new Date(instant).getTimezoneOffset();
}

/** From a time to another, with the zone, or both its names if daylight saving begins or ends between. */
export function formatSpan(start: number, end: number, zone: Zone): string {
  const [first, last] = [zoneName(zone, start), zoneName(zone, end)];
  const from = formatDateTime(start, zone);
  const to = formatDateTime(end, zone);
  return offset(start, zone) === offset(end, zone)
    ? `${from} to ${to} (${last})`
    : `${from} ${first} to ${to} ${last}`;
}

export function localZoneId(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/**
 * A period by its name, short enough for a table. Days, weeks and months are UTC's: in another zone the
 * name contains the hour at which they begin, and the zone at both ends if daylight saving begins or
 * ends in the period.
 */
export function formatPeriod(start: number, granularity: Granularity, zone: Zone): string {
  const end = addPeriods(granularity, start, 1);
  const changed = offset(start, zone) !== offset(end, zone);
  const named = (instant: number) => (changed ? ` ${zoneName(zone, instant)}` : '');
  const from = formatTime(start, zone) + named(start);
  const to = formatTime(end, zone) + named(end);
  if (granularity === 'hourly') return `${formatDate(start, zone)}, ${from}–${to}`;
  if (formatTime(start, zone) !== '00:00') {
    return `${formatDate(start, zone)}, ${from} – ${formatDate(end, zone)}, ${to}`;
  }
  // It begins at midnight in this zone too. Its end may not: its days are UTC's.
  if (granularity === 'daily') return write(start, 'utc', { weekday: 'short', ...DATE });
  if (granularity === 'weekly') return `${formatDay(start, 'utc')} – ${formatDate(end - 1, 'utc')}`;
  return write(start, 'utc', { month: 'long', year: 'numeric' });
}

/** The same with the zone. */
export function formatPeriodInZone(start: number, granularity: Granularity, zone: Zone): string {
  const name = formatPeriod(start, granularity, zone);
  const named = zoneName(zone, start);
  return name.includes(named) ? name : `${name} ${named}`;
}

/** `totalUsers` → `Total users`, for metrics and types without a label. */
export function humanise(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[._-]+/g, ' ')
    .toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
