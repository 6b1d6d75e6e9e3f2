// The value of a range, its change from the previous range, and its freshness.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, figureOf } from '../src/model/figure.ts';
import { freshnessOf } from '../src/model/freshness.ts';
import { resolveRange } from '../src/model/range.ts';

test('each kind of metric becomes one figure in its own way', () => {
  assert.deepEqual(figureOf([1, null, 3], 'sum'), { value: 4, what: 'total' });
  assert.deepEqual(figureOf([1, 2, null], 'stock'), { value: 2, what: 'latest' });
  assert.deepEqual(figureOf([1, null, 3], 'mean'), { value: 2, what: 'average' });
  assert.equal(figureOf([null], 'sum').value, null);
});

test('a change compares like with like', () => {
  assert.deepEqual(changeOf([6, 6], [5, 5], 'sum'), { absolute: 2, percent: 20, compared: 2, of: 2 });
  assert.deepEqual(changeOf([6, null, 6], [5, 5, null], 'sum'), {
    absolute: 1,
    percent: 20,
    compared: 1,
    of: 3,
  });
  assert.deepEqual(changeOf([4, 8], [2, null], 'mean'), { absolute: 2, percent: 100, compared: 1, of: 2 });
  assert.deepEqual(changeOf([6, 9], [0, 0], 'sum'), { absolute: 15, percent: null, compared: 2, of: 2 });
});

test('a total to date is compared where both are known last', () => {
  assert.deepEqual(changeOf([10, 12, null], [8, 9, 10], 'stock')?.absolute, 3);
});

test('nothing is compared with nothing', () => {
  assert.equal(changeOf([1, 2], [null, null], 'sum'), null);
  assert.equal(changeOf([1, 2], [], 'stock'), null);
});

test('values are outdated when newer ones are overdue, after the minutes that a run may take', () => {
  const at = (now: string) => {
    const instant = Date.parse(now);
    const range = resolveRange({ range: '24h', granularity: 'hourly', from: null, to: null }, instant);
    return (latest: number) => freshnessOf(range, latest, instant);
  };
  assert.deepEqual(at('2026-11-23T14:30:00Z')(23), { state: 'current' });
  assert.deepEqual(at('2026-11-23T14:05:00Z')(22), { state: 'due' });
  assert.deepEqual(at('2026-11-23T14:30:00Z')(22), { state: 'outdated', behind: 1 });
  assert.deepEqual(at('2026-11-23T14:05:00Z')(20), { state: 'outdated', behind: 3 });
  assert.deepEqual(at('2026-11-23T14:30:00Z')(-1), { state: 'none' });
});
