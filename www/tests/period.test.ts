// Where periods begin, in UTC, whatever the machine's zone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addPeriods, countPeriods, periodStart, periodsBetween } from '../src/model/period.ts';

const at = (text: string) => Date.parse(text);
const iso = (instant: number) => new Date(instant).toISOString();

test('a period starts where the platform says it does', () => {
  const instant = at('2026-03-01T23:59:59.999Z'); // a Sunday
  assert.equal(iso(periodStart('hourly', instant)), '2026-03-01T23:00:00.000Z');
  assert.equal(iso(periodStart('daily', instant)), '2026-03-01T00:00:00.000Z');
  assert.equal(iso(periodStart('weekly', instant)), '2026-02-23T00:00:00.000Z');
  assert.equal(iso(periodStart('monthly', instant)), '2026-03-01T00:00:00.000Z');
  assert.equal(iso(periodStart('weekly', at('2026-03-02T00:00:00Z'))), '2026-03-02T00:00:00.000Z');
});

test('weeks before the epoch are ISO weeks too', () => {
  assert.equal(iso(periodStart('weekly', at('1969-12-31T12:00:00Z'))), '1969-12-29T00:00:00.000Z');
});

test('periods are counted without being made', () => {
  for (const granularity of ['hourly', 'daily', 'weekly', 'monthly'] as const) {
    const from = periodStart(granularity, at('2024-01-31'));
    for (const to of ['2024-01-31T00:00:00Z', '2024-03-01T00:00:00Z', '2025-02-28T13:30:00Z']) {
      assert.equal(
        countPeriods(granularity, from, at(to)),
        periodsBetween(granularity, from, at(to)).length,
        `${granularity} ${to}`,
      );
    }
  }
});

test('years of two digits are years like others', () => {
  assert.equal(iso(periodStart('monthly', at('0050-05-17T00:00:00Z'))), '0050-05-01T00:00:00.000Z');
  assert.equal(iso(addPeriods('monthly', at('0099-12-01T00:00:00Z'), 1)), '0100-01-01T00:00:00.000Z');
});

test('months have their own lengths', () => {
  assert.equal(iso(addPeriods('monthly', at('2026-03-01'), -1)), '2026-02-01T00:00:00.000Z');
  assert.equal(iso(addPeriods('monthly', at('2026-01-01'), -1)), '2025-12-01T00:00:00.000Z');
  assert.equal(iso(addPeriods('monthly', at('2026-01-01'), 14)), '2027-03-01T00:00:00.000Z');
});

test('an hour of a clock change is an hour', () => {
  const hours = periodsBetween('hourly', at('2026-03-29T00:00:00Z'), at('2026-03-30T00:00:00Z'));
  assert.equal(hours.length, 24);
});
