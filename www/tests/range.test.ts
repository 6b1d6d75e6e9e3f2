// The periods of each choice of range and granularity.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Granularity } from '../src/api/types.ts';
import {
  chooseGranularity,
  chooseRange,
  datesProblem,
  parseDate,
  type RangeName,
  resolveRange,
} from '../src/model/range.ts';

const NOW = Date.parse('2026-11-23T14:30:00Z'); // a Monday
const iso = (instant: number | undefined) => (instant === undefined ? null : new Date(instant).toISOString());

const choice = (
  range: RangeName,
  granularity: Granularity,
  from: string | null = null,
  to: string | null = null,
) => ({
  range,
  granularity,
  from,
  to,
});

test('24 hours are the last 24 that are over, and the running one', () => {
  const range = resolveRange(choice('24h', 'hourly'), NOW);
  assert.equal(range.periods.length, 24);
  assert.equal(iso(range.periods[0]), '2026-11-22T14:00:00.000Z');
  assert.equal(iso(range.periods.at(-1)), '2026-11-23T13:00:00.000Z');
  assert.equal(iso(range.end), '2026-11-23T14:00:00.000Z');
  assert.equal(iso(range.running?.start), '2026-11-23T14:00:00.000Z');
  assert.equal(iso(range.running?.end), '2026-11-23T15:00:00.000Z');
});

test('the previous range has as many periods and ends where the range begins', () => {
  const range = resolveRange(choice('24h', 'hourly'), NOW);
  assert.equal(range.before.length, 24);
  assert.equal(iso(range.before[0]), '2026-11-21T14:00:00.000Z');
  assert.equal(iso(range.before.at(-1)), '2026-11-22T13:00:00.000Z');
});

test('12 months are the 12 that are over', () => {
  const range = resolveRange(choice('12m', 'monthly'), NOW);
  assert.equal(range.periods.length, 12);
  assert.equal(iso(range.periods[0]), '2025-11-01T00:00:00.000Z');
  assert.equal(iso(range.before[0]), '2024-11-01T00:00:00.000Z');
});

test('this month is compared day by day with the month before', () => {
  const range = resolveRange(choice('month', 'daily'), NOW);
  assert.equal(range.periods.length, 22);
  assert.equal(iso(range.before[0]), '2026-10-01T00:00:00.000Z');
  assert.equal(range.before.length, 22);
});

test('a longer month has nothing to compare with at its end', () => {
  const range = resolveRange(choice('month', 'daily'), Date.parse('2026-03-31T12:00:00Z'));
  assert.equal(range.periods.length, 30);
  assert.equal(range.before.length, 28);
});

test('custom dates are both included, and what lies within them counts', () => {
  const days = resolveRange(choice('custom', 'daily', '2026-10-01', '2026-10-03'), NOW);
  assert.deepEqual(days.periods.map(iso), [
    '2026-10-01T00:00:00.000Z',
    '2026-10-02T00:00:00.000Z',
    '2026-10-03T00:00:00.000Z',
  ]);
  assert.equal(days.running, null);
  const weeks = resolveRange(choice('custom', 'weekly', '2026-10-01', '2026-10-31'), NOW);
  assert.equal(iso(weeks.periods[0]), '2026-10-05T00:00:00.000Z');
});

test('custom dates up to today have the running period', () => {
  const range = resolveRange(choice('custom', 'daily', '2026-11-20', '2026-11-23'), NOW);
  assert.equal(range.periods.length, 3);
  assert.equal(iso(range.running?.start), '2026-11-23T00:00:00.000Z');
});

test('the granularity follows the range, and the range the granularity', () => {
  assert.equal(chooseRange(choice('12m', 'hourly'), NOW).granularity, 'monthly');
  assert.equal(chooseRange(choice('7d', 'hourly'), NOW).granularity, 'hourly');
  assert.equal(chooseGranularity(choice('24h', 'weekly'), NOW).range, '90d');
  assert.equal(chooseGranularity(choice('24h', 'daily'), NOW).range, '30d');
});

test('the first days of a month are shown by the hour', () => {
  assert.equal(
    chooseRange(choice('month', 'daily'), Date.parse('2026-11-01T14:30:00Z')).granularity,
    'hourly',
  );
});

test('dates that cannot be used are rejected with a reason', () => {
  assert.equal(parseDate('2026-02-30'), null);
  assert.equal(parseDate('soon'), null);
  assert.match(datesProblem('', '2026-01-01', NOW) ?? '', /both/);
  assert.match(datesProblem('2026-01-02', '2026-01-01', NOW) ?? '', /after/);
  assert.match(datesProblem('2027-01-01', '2027-01-02', NOW) ?? '', /future/);
  assert.equal(datesProblem('2026-01-01', '2026-01-01', NOW), null);
});

test('dates that no granularity can show are rejected: too many periods, or none', () => {
  // A mistyped year: 1,824 years are 21,888 months.
  assert.match(datesProblem('0202-11-01', '2026-11-20', NOW) ?? '', /too far apart/);
  assert.match(datesProblem('0050-01-01', '2026-11-20', NOW) ?? '', /too far apart/);
  assert.equal(datesProblem('2002-11-01', '2026-11-20', NOW), null);
  const early = Date.parse('2026-11-23T00:30:00Z');
  assert.match(datesProblem('2026-11-23', '2026-11-24', early) ?? '', /ended yet/);
  assert.equal(datesProblem('2026-11-23', '2026-11-23', Date.parse('2026-11-23T01:10:00Z')), null);
});

test('the first hours of a month: nothing, then an hour, then hours, as time passes', () => {
  const at = (now: string) => {
    const instant = Date.parse(now);
    const chosen = chooseRange(choice('month', 'daily'), instant);
    return [chosen.granularity, resolveRange(chosen, instant).periods.length];
  };
  assert.deepEqual(at('2026-12-01T00:59:00Z'), ['daily', 0]);
  assert.deepEqual(at('2026-12-01T01:00:00Z'), ['hourly', 1]);
  assert.deepEqual(at('2026-12-01T09:30:00Z'), ['hourly', 9]);
  assert.deepEqual(at('2026-12-03T00:00:00Z'), ['daily', 2]);
});
