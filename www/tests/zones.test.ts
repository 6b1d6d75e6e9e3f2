// Times in the viewer's zone when daylight saving begins and ends: in the EU and Britain at 01:00 UTC on
// 29 March and 25 October 2026.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { Granularity } from '../src/api/types.ts';

const before = process.env.TZ;
afterEach(() => {
  process.env.TZ = before ?? '';
});

/** The formats in a browser of that zone. Formatters are cached, so each zone loads its own module. */
async function formatsIn(zone: string) {
  process.env.TZ = zone;
  const formats: typeof import('../src/model/format.ts') = await import(`../src/model/format.ts?${zone}`);
  const { formatPeriod } = formats;
  const name = (start: string, granularity: Granularity) =>
    formatPeriod(Date.parse(start), granularity, 'local');
  return { ...formats, name };
}

test('the hours of a night with 25 hours have a name each', async () => {
  const { name } = await formatsIn('Europe/Berlin');
  assert.equal(name('2026-10-24T23:00:00Z', 'hourly'), '25 Oct 2026, 01:00–02:00');
  assert.equal(name('2026-10-25T00:00:00Z', 'hourly'), '25 Oct 2026, 02:00 CEST–02:00 CET');
  assert.equal(name('2026-10-25T01:00:00Z', 'hourly'), '25 Oct 2026, 02:00–03:00');
  assert.equal(name('2026-03-29T00:00:00Z', 'hourly'), '29 Mar 2026, 01:00 CET–03:00 CEST');
});

test('a week in which the clocks are changed has seven days', async () => {
  const { name } = await formatsIn('Europe/London');
  assert.equal(name('2026-03-23T00:00:00Z', 'weekly'), '23 Mar – 29 Mar 2026');
  assert.equal(name('2026-03-29T00:00:00Z', 'daily'), 'Sun, 29 Mar 2026');
  assert.equal(name('2026-03-01T00:00:00Z', 'monthly'), 'March 2026');
  assert.equal(
    name('2026-10-19T00:00:00Z', 'weekly'),
    '19 Oct 2026, 01:00 BST – 26 Oct 2026, 00:00 GMT',
    'it begins at an hour of its own here, and is told by the hour',
  );
  const elsewhere = await formatsIn('Europe/Berlin');
  assert.equal(
    elsewhere.name('2026-03-23T00:00:00Z', 'weekly'),
    '23 Mar 2026, 01:00 CET – 30 Mar 2026, 02:00 CEST',
  );
  assert.equal(elsewhere.name('2026-11-16T00:00:00Z', 'weekly'), '16 Nov 2026, 01:00 – 23 Nov 2026, 01:00');
});

test('both names of a zone are said where both are in a range', async () => {
  const { zoneNames, formatSpan, formatPeriodInZone } = await formatsIn('Europe/Berlin');
  const [summer, winter] = [Date.parse('2026-10-24T12:00:00Z'), Date.parse('2026-10-25T12:00:00Z')];
  assert.equal(zoneNames('local', [summer, winter]), 'CEST and CET');
  assert.equal(zoneNames('local', [winter, winter]), 'CET');
  assert.equal(zoneNames('utc', [summer, winter]), 'UTC');
  assert.equal(formatSpan(summer, winter, 'local'), '24 Oct 2026, 14:00 CEST to 25 Oct 2026, 13:00 CET');
  assert.equal(formatSpan(summer, winter, 'utc'), '24 Oct 2026, 12:00 to 25 Oct 2026, 12:00 (UTC)');
  const change = Date.parse('2026-10-25T00:00:00Z');
  assert.equal(formatPeriodInZone(change, 'hourly', 'local'), '25 Oct 2026, 02:00 CEST–02:00 CET');
  assert.equal(formatPeriodInZone(winter, 'hourly', 'local'), '25 Oct 2026, 13:00–14:00 CET');
});
