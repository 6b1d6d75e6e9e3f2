// What a counter of the realtime snapshot holds for: some are as of the snapshot, others as of the last
// hour that was counted.
import type { Counter, Realtime } from '../api/types.ts';
import { periodStart } from './period.ts';

/** Whether the counter is older than the snapshot that it is in. */
export function isBehind(counter: Counter, { lastUpdated }: Realtime): boolean {
  return lastUpdated !== null && Date.parse(counter.lastUpdated) < Date.parse(lastUpdated);
}

/** Whether the counter of a day holds anything of today: up to midnight itself it does not. */
export function hasBegun(counter: Counter, now: number): boolean {
  return Date.parse(counter.lastUpdated) > periodStart('daily', now);
}
