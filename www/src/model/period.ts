// UTC period arithmetic: where hours, days, ISO weeks and months begin, by the same rules as in the Worker.
import type { Granularity } from '../api/types.ts';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;

/** 1970-01-05, the first Monday of the epoch: weeks are counted from there. */
const FIRST_MONDAY = 4 * DAY;

const LENGTH = { hourly: HOUR, daily: DAY, weekly: WEEK } as const;

/** The start of the period that contains the instant. */
export function periodStart(granularity: Granularity, instant: number): number {
  if (granularity === 'monthly') return monthStart(instant);
  const origin = granularity === 'weekly' ? FIRST_MONDAY : 0;
  const length = LENGTH[granularity];
  return Math.floor((instant - origin) / length) * length + origin;
}

/** The start of the period `count` periods after (or, if negative, before) the one that starts at `start`. */
export function addPeriods(granularity: Granularity, start: number, count: number): number {
  return granularity === 'monthly' ? addMonths(start, count) : start + count * LENGTH[granularity];
}

/** The starts of all periods from `from`, which is a start, up to but not including `to`. */
export function periodsBetween(granularity: Granularity, from: number, to: number): number[] {
  const starts: number[] = [];
  for (let start = from; start < to; start = addPeriods(granularity, start, 1)) starts.push(start);
  return starts;
}

/** How many periods that are. */
export function countPeriods(granularity: Granularity, from: number, to: number): number {
  if (to <= from) return 0;
  if (granularity !== 'monthly') return Math.ceil((to - from) / LENGTH[granularity]);
  const months = (instant: number) => {
    const date = new Date(instant);
    return date.getUTCFullYear() * 12 + date.getUTCMonth();
  };
  return months(to - 1) - months(from) + 1;
}

export function monthStart(instant: number): number {
  const date = new Date(instant);
  date.setUTCDate(1);
  return date.setUTCHours(0, 0, 0, 0);
}

/** Only for the start of a month. */
function addMonths(start: number, count: number): number {
  const date = new Date(start);
  return date.setUTCMonth(date.getUTCMonth() + count);
}
