// Formats of numbers, money and times.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ABSENT,
  formatAge,
  formatAxis,
  formatCost,
  formatDuration,
  formatExact,
  formatPercent,
  formatPeriod,
  formatRecent,
  formatSigned,
  humanise,
} from '../src/model/format.ts';
import { DAY, HOUR, MINUTE } from '../src/model/period.ts';

test('exact values are exact, and nothing is not zero', () => {
  assert.equal(formatExact(1234567, 'count'), '1,234,567');
  assert.equal(formatExact(1234.5, 'usd'), '$1,234.50');
  assert.equal(formatExact(41.25, 'seconds'), '41.25 s');
  assert.equal(formatExact(0, 'count'), '0');
  assert.equal(formatExact(null, 'count'), ABSENT);
});

test('labels of an axis differ from each other', () => {
  assert.deepEqual(formatAxis([0, 500, 1000], 'count'), ['0', '500', '1K']);
  assert.deepEqual(formatAxis([7710, 7715, 7720], 'usd'), ['$7,710', '$7,715', '$7,720']);
  assert.deepEqual(formatAxis([0, 0.5, 1], 'seconds'), ['0 s', '0.5 s', '1 s']);
  assert.deepEqual(formatAxis([0, 1024 ** 3], 'bytes'), ['0 B', '1 GiB']);
});

test('costs below a cent keep three digits', () => {
  assert.equal(formatCost(0.000801), '$0.000801');
  assert.equal(formatCost(12.345), '$12.35');
  assert.equal(formatCost(0), '$0.00');
});

test('changes have a sign', () => {
  assert.equal(formatSigned(12, 'count'), '+12');
  assert.equal(formatSigned(-3.5, 'usd'), '−$3.50');
  assert.equal(formatSigned(0, 'count'), '±0');
  assert.equal(formatPercent(5.25), '+5.3%');
  assert.equal(formatPercent(-4), '−4%');
  assert.equal(formatPercent(1177.44), '+1,177%');
});

test('ages and durations have a unit', () => {
  assert.equal(formatAge(2_000), 'just now');
  assert.equal(formatAge(3 * MINUTE + 5_000), '3 min ago');
  assert.equal(formatAge(26 * HOUR), '26 h ago');
  assert.equal(formatAge(3 * DAY), '3 days ago');
  assert.equal(formatDuration(940), '940 ms');
  assert.equal(formatDuration(1_713), '1.7 s');
  assert.equal(formatDuration(59_990), '1 min 0 s');
  assert.equal(formatDuration(119_900), '2 min 0 s');
});

test('times leave out what goes without saying', () => {
  const now = Date.parse('2026-11-23T14:30:00Z');
  assert.equal(formatRecent(Date.parse('2026-11-23T12:05:00Z'), now, 'utc'), '12:05 UTC');
  assert.equal(formatRecent(Date.parse('2026-11-22T12:05:00Z'), now, 'utc'), '22 Nov, 12:05 UTC');
  assert.equal(formatRecent(Date.parse('2025-11-22T12:05:00Z'), now, 'utc'), '22 Nov 2025, 12:05 UTC');
});

test('periods are named', () => {
  const at = Date.parse('2026-11-23T00:00:00Z');
  assert.equal(formatPeriod(at, 'hourly', 'utc'), '23 Nov 2026, 00:00–01:00');
  assert.equal(formatPeriod(at, 'daily', 'utc'), 'Mon, 23 Nov 2026');
  assert.equal(formatPeriod(at, 'weekly', 'utc'), '23 Nov – 29 Nov 2026');
  assert.equal(formatPeriod(Date.parse('2026-11-01T00:00:00Z'), 'monthly', 'utc'), 'November 2026');
});

test('a name becomes words', () => {
  assert.equal(humanise('newVideos'), 'New videos');
  assert.equal(humanise('mediaByStatus.processing'), 'Media by status processing');
});
