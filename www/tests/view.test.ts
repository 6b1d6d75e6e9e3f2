// The URL contains the whole view, and reading it returns the same view.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeView, DEFAULT_VIEW, formatView, parseView, type View } from '../src/model/view.ts';

const NOW = Date.parse('2026-11-23T14:30:00Z');

test('the default view has no query', () => {
  assert.equal(formatView(DEFAULT_VIEW), '');
  assert.deepEqual(parseView('', NOW), DEFAULT_VIEW);
});

test('every control survives the URL', () => {
  const view: View = {
    page: 'operations',
    range: 'custom',
    granularity: 'daily',
    from: '2026-10-01',
    to: '2026-10-31',
    compare: true,
    zone: 'local',
    trend: '30d',
    toggled: new Set(['newUsers', 'totalUsers']),
    tables: new Set(['users']),
    zoom: [Date.parse('2026-10-03T00:00:00Z'), Date.parse('2026-10-05T12:00:00Z')],
    engagedPeriod: Date.parse('2026-10-04'),
    runStatus: 'failed',
    runGranularity: 'hourly',
    job: 'job-1',
  };
  const query = formatView(view);
  assert.deepEqual(parseView(query, NOW), view);
  assert.equal(formatView(parseView(query, NOW)), query);
  assert.ok(query.includes('zoom=2026-10-03_2026-10-05T12:00Z'), query);
});

test('what cannot be read is ignored', () => {
  const view = parseView(
    '?range=forever&granularity=yearly&from=2026-02-30&to=x&zoom=1_2&status=odd&zone=mars',
    NOW,
  );
  assert.deepEqual(view, DEFAULT_VIEW);
});

test('dates that cannot be shown are ignored', () => {
  for (const dates of ['from=0202-11-01&to=2026-11-20', 'from=2027-01-01&to=2027-01-31']) {
    assert.deepEqual(parseView(`?${dates}&granularity=daily`, NOW).from, null, dates);
  }
  const early = Date.parse('2026-11-23T00:30:00Z');
  assert.equal(parseView('?from=2026-11-23&to=2026-11-23', early).range, '24h');
});

test('a granularity that does not suit its range is corrected', () => {
  assert.equal(parseView('?range=12m&granularity=hourly', NOW).granularity, 'monthly');
});

test('another range ends the zoom; another zone does not', () => {
  const zoomed: View = { ...DEFAULT_VIEW, zoom: [NOW - 7_200_000, NOW] };
  assert.equal(changeView(zoomed, { range: '7d' }, NOW).zoom, null);
  assert.deepEqual(changeView(zoomed, { zone: 'local' }, NOW).zoom, zoomed.zoom);
});

test('a preset removes the dates', () => {
  const dated = changeView(DEFAULT_VIEW, { range: 'custom', from: '2026-10-01', to: '2026-10-31' }, NOW);
  assert.equal(dated.from, '2026-10-01');
  assert.equal(dated.granularity, 'hourly');
  assert.equal(changeView(dated, { range: '30d' }, NOW).from, null);
});
