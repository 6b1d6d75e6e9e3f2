// The pages of the ledger as one list, while the first of them is read again and again.
import type { Run, RunPage } from '../api/types.ts';

/** One run may make several entries: what each is for tells them apart. */
export function entryId({ startedAt, runId, granularity, timestamp }: Run): string {
  return [startedAt, runId, granularity, timestamp].join('#');
}

/**
 * The older pages that still follow on the first one, without a run left out between them; `older`
 * begins with the first page as it was when the next one was read.
 */
export function pagesThatFollow(first: RunPage | null, older: RunPage[]): RunPage[] {
  const before = older[0];
  if (!first || !before) return [];
  const known = new Set(before.runs.map(entryId));
  const touch = known.size === 0 || first.runs.some((run) => known.has(entryId(run)));
  return touch ? older : [];
}

/** Every entry once, as the first of the pages that have it says it. */
export function entriesOf(pages: RunPage[]): Run[] {
  const entries = new Map<string, Run>();
  for (const run of pages.flatMap(({ runs }) => runs)) {
    if (!entries.has(entryId(run))) entries.set(entryId(run), run);
  }
  return [...entries.values()];
}
