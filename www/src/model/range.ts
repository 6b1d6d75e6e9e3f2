// The periods of a range (a preset or dates, with a granularity), the periods that they are compared with,
// and the running period.
import { GRANULARITIES, type Granularity } from '../api/types.ts';
import { addPeriods, countPeriods, DAY, HOUR, monthStart, periodStart, periodsBetween } from './period.ts';

export const PRESETS = ['24h', '7d', '30d', '90d', '12m', 'month'] as const;
export type Preset = (typeof PRESETS)[number];
export type RangeName = Preset | 'custom';

export interface RangeChoice {
  range: RangeName;
  granularity: Granularity;
  /** Dates `YYYY-MM-DD`, both included, in UTC; only for `custom`. */
  from: string | null;
  to: string | null;
}

export interface Range {
  granularity: Granularity;
  /** Starts of the periods that have ended, oldest first. */
  periods: number[];
  /** End of the last of them, which is the start of the next one. */
  end: number;
  /** The running period, if the range includes it. */
  running: { start: number; end: number } | null;
  /** Starts of the periods that `periods` are compared with in pairs; there may be fewer. */
  before: number[];
}

/** The API returns at most 5,000 periods; one may be the running one. */
export const MAX_PERIODS = 4_999;

/** Hourly records are kept for 30 days. */
const HOURLY_LIMIT = 32 * 24;

/** The range for a granularity that the current range does not suit, and the reverse. */
const RANGE_FOR: Record<Granularity, Preset> = { hourly: '7d', daily: '30d', weekly: '90d', monthly: '12m' };
const GRANULARITY_FOR: Record<RangeName, Granularity> = {
  '24h': 'hourly',
  '7d': 'hourly',
  '30d': 'daily',
  '90d': 'daily',
  '12m': 'monthly',
  month: 'daily',
  custom: 'daily',
};

export function resolveRange(choice: RangeChoice, now: number): Range {
  const { granularity } = choice;
  const { first, until, runningStart } = extent(choice, now);
  const periods = periodsBetween(granularity, first, Math.min(until, runningStart));
  const reachesNow = until > runningStart;
  const last = periods.at(-1);
  const end = last === undefined ? first : addPeriods(granularity, last, 1);
  return {
    granularity,
    periods,
    end,
    running: reachesNow ? { start: runningStart, end: addPeriods(granularity, runningStart, 1) } : null,
    before: periodsBefore(choice, first, periods.length),
  };
}

/** The start of its first period, its end (excluded), and the start of the running period. */
function extent(choice: RangeChoice, now: number) {
  const { granularity } = choice;
  const runningStart = periodStart(granularity, now);
  const [from, until] = bounds(choice, now, runningStart);
  const first =
    choice.range === 'custom' ? firstStartFrom(granularity, from) : periodStart(granularity, from);
  return { first, until, runningStart };
}

/** From and until (excluded), in epoch milliseconds. */
function bounds(choice: RangeChoice, now: number, runningStart: number): [number, number] {
  const untilNow = now + 1;
  switch (choice.range) {
    case '24h':
      return [runningStart - 24 * HOUR, untilNow];
    case '7d':
      return [runningStart - 7 * DAY, untilNow];
    case '30d':
      return [runningStart - 30 * DAY, untilNow];
    case '90d':
      return [runningStart - 90 * DAY, untilNow];
    case '12m': {
      const day = new Date(runningStart);
      // A year earlier: 29 February becomes 1 March.
      return [Date.UTC(day.getUTCFullYear() - 1, day.getUTCMonth(), day.getUTCDate()), untilNow];
    }
    case 'month':
      return [monthStart(now), untilNow];
    case 'custom':
      return [parseDate(choice.from) ?? runningStart, (parseDate(choice.to) ?? runningStart) + DAY];
  }
}

/** Custom dates include only whole periods: a week that began before them is left out. */
function firstStartFrom(granularity: Granularity, from: number): number {
  const start = periodStart(granularity, from);
  return start < from ? addPeriods(granularity, start, 1) : start;
}

function periodsBefore(choice: RangeChoice, first: number, count: number): number[] {
  if (choice.range === 'month') {
    const lastMonth = monthStart(first - 1);
    const start = periodStart(choice.granularity, lastMonth);
    return periodsBetween(choice.granularity, start, first).slice(0, count);
  }
  return periodsBetween(choice.granularity, addPeriods(choice.granularity, first, -count), first);
}

/** Whether a range suits the granularity: at least two periods, and not more than are kept. */
export function suits(choice: RangeChoice, now: number): boolean {
  return hasPeriods(choice, now, 2);
}

function hasPeriods(choice: RangeChoice, now: number, least: number): boolean {
  const { first, until, runningStart } = extent(choice, now);
  const count = countPeriods(choice.granularity, first, Math.min(until, runningStart));
  const most = choice.granularity === 'hourly' ? HOURLY_LIMIT : MAX_PERIODS;
  return count >= least && count <= most;
}

/**
 * Another range; the granularity changes if it does not suit. In the first hour of a month, the range of
 * the month has no period that has ended.
 */
export function chooseRange(choice: RangeChoice, now: number): RangeChoice {
  if (suits(choice, now)) return choice;
  const preferred = { ...choice, granularity: GRANULARITY_FOR[choice.range] };
  if (suits(preferred, now)) return preferred;
  return finest(choice, now, 2) ?? finest(choice, now, 1) ?? preferred;
}

/** The finest granularity with at least `least` periods and not too many. */
function finest(choice: RangeChoice, now: number, least: number): RangeChoice | null {
  const granularity = GRANULARITIES.find((granularity) => hasPeriods({ ...choice, granularity }, now, least));
  return granularity ? { ...choice, granularity } : null;
}

/** Another granularity; the range changes if it does not suit. */
export function chooseGranularity(choice: RangeChoice, now: number): RangeChoice {
  if (suits(choice, now)) return choice;
  return { ...choice, range: RANGE_FOR[choice.granularity], from: null, to: null };
}

/** Why custom dates cannot be used; null if they can. */
export function datesProblem(from: string, to: string, now: number): string | null {
  const start = parseDate(from);
  const end = parseDate(to);
  if (start === null || end === null) return 'Enter both dates.';
  if (start > end) return 'The first date is after the last date. Swap the dates.';
  if (start > now) return 'The first date is in the future. Enter an earlier date.';
  const choice: RangeChoice = { range: 'custom', granularity: 'monthly', from, to };
  if (finest(choice, now, 1)) return null;
  return now - start < HOUR
    ? 'No hour of these dates has ended yet.'
    : `The dates are too far apart. Select at most ${MAX_PERIODS.toLocaleString('en-US')} months.`;
}

/** Midnight UTC of `YYYY-MM-DD`; null if there is no such day. */
export function parseDate(text: string | null): number | null {
  if (text === null || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return null;
  const instant = Date.parse(`${text}T00:00:00.000Z`);
  return Number.isNaN(instant) || isoDate(instant) !== text ? null : instant;
}

export function isoDate(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}
