// Zooming in steps stays inside the range, down to single periods.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { visibleIndices, zoomIn, zoomOut } from '../src/model/zoom.ts';

const PERIODS = Array.from({ length: 24 }, (_, hour) => hour * 3_600_000);
const hours = (zoom: readonly [number, number] | null) => zoom?.map((start) => start / 3_600_000) ?? null;

test('zooming in halves what is seen, around the cursor', () => {
  assert.deepEqual(hours(zoomIn(PERIODS, null, 12)), [7, 18]);
  assert.deepEqual(hours(zoomIn(PERIODS, null, null)), [12, 23]);
  assert.deepEqual(hours(zoomIn(PERIODS, null, 0)), [0, 11]);
});

test('zooming in ends at two periods', () => {
  assert.equal(zoomIn(PERIODS, [0, 3_600_000], null), null);
});

test('zooming out comes back to everything', () => {
  assert.deepEqual(hours(zoomOut(PERIODS, [8 * 3_600_000, 12 * 3_600_000])), [6, 14]);
  assert.equal(zoomOut(PERIODS, [2 * 3_600_000, 22 * 3_600_000]), null);
});

test('a zoom that lies elsewhere is none', () => {
  assert.deepEqual(visibleIndices(PERIODS, [-20, -10]), [0, 23]);
  assert.deepEqual(visibleIndices(PERIODS, [1e12, 2e12]), [0, 23]);
});
