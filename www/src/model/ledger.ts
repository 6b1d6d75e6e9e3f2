// The pages of the ledger as one list; the first page is read repeatedly.
import type { Run, RunPage } from '../api/types.ts';

/** One run may have several entries, which differ in their periods. */
export function entryId({ startedAt, runId, granularity, timestamp }: Run): string {
  return [startedAt, runId, granularity, timestamp].join('#');
}

/**
 * The older pages that still follow the first one without a gap; `older` begins with the first page as it
 * was when the second one was read.
 */
export function pagesThatFollow(first: RunPage | null, older: RunPage[]): RunPage[] {
  const before = older[0];
  if (!first || !before) return [];
  const known = new Set(before.runs.map(entryId));
  const touch = known.size === 0 || first.runs.some((run) => known.has(entryId(run)));
  return touch ? older : [];
}

/** Every entry once, from the first page that contains it. */
export function entriesOf(pages: RunPage[]): Run[] {
  const entries = new Map<string, Run>();
  for (const run of pages.flatMap(({ runs }) => runs)) {
    if (!entries.has(entryId(run))) entries.set(entryId(run), run);
  }
  return [...entries.values()];
}
