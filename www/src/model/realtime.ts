// What a realtime counter is as of: the snapshot, or the last hour that was counted.
import type { Counter, Realtime } from '../api/types.ts';
import { periodStart } from './period.ts';

/** Whether the counter is older than the snapshot that it is in. */
export function isBehind(counter: Counter, { lastUpdated }: Realtime): boolean {
  return lastUpdated !== null && Date.parse(counter.lastUpdated) < Date.parse(lastUpdated);
}

/** Whether the counter of a day contains anything of today: at midnight it does not yet. */
export function hasBegun(counter: Counter, now: number): boolean {
  return Date.parse(counter.lastUpdated) > periodStart('daily', now);
}
