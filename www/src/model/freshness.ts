// Whether the values shown are up to date.
import { addPeriods, MINUTE } from './period.ts';
import type { Range } from './range.ts';

/** Runs start between the full hour and a quarter past, and take some time. */
const GRACE = 20 * MINUTE;

export type Freshness =
  | { state: 'current' }
  /** The last period has just ended and its run is due. */
  | { state: 'due' }
  /** The last `behind` periods have no value. */
  | { state: 'outdated'; behind: number }
  | { state: 'none' };

/** `latest` is the index of the last period that has a value, -1 if none has. */
export function freshnessOf(range: Range, latest: number, now: number): Freshness {
  // A range that ends in the past gets no newer values.
  if (!range.running) return latest < 0 ? { state: 'none' } : { state: 'current' };
  const behind = range.periods.length - 1 - latest;
  if (behind <= 0) return { state: 'current' };
  const last = range.periods.at(-1);
  if (behind === 1 && last !== undefined && now - addPeriods(range.granularity, last, 1) < GRACE)
    return { state: 'due' };
  return latest < 0 ? { state: 'none' } : { state: 'outdated', behind };
}
