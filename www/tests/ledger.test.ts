// The ledger's pages as one list, while new runs are added.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Run, RunPage } from '../src/api/types.ts';
import { entriesOf, pagesThatFollow } from '../src/model/ledger.ts';

/** A run of each of these hours of the day. */
const page = (...hours: number[]): RunPage => ({
  nextCursor: 'more',
  runs: hours.map((hour) => ({ startedAt: `T${hour}`, runId: `run ${hour}`, timestamp: `${hour}` }) as Run),
});
const started = (pages: RunPage[]) => entriesOf(pages).map(({ startedAt }) => startedAt);

test('what moves from the first page on stays in the list, once', () => {
  const older = [page(9, 8, 7), page(6, 5, 4)];
  const first = page(11, 10, 9);
  assert.deepEqual(pagesThatFollow(first, older), older);
  assert.deepEqual(started([first, ...older]), ['T11', 'T10', 'T9', 'T8', 'T7', 'T6', 'T5', 'T4']);
});

test('older pages are let go when runs between them and the first page are not known', () => {
  assert.deepEqual(pagesThatFollow(page(14, 13, 12), [page(9, 8, 7), page(6)]), []);
  assert.deepEqual(pagesThatFollow(null, [page(9), page(8)]), []);
});

test('a first page on which nothing matched has pages after it all the same', () => {
  const older = [page(), page(3)];
  assert.deepEqual(pagesThatFollow(page(), older), older);
});

test('a run that made several pieces has an entry for each', () => {
  const pieces = page(2);
  pieces.runs.push({ ...(pieces.runs[0] as Run), timestamp: 'another hour' });
  assert.equal(entriesOf([pieces]).length, 2);
});
