// Gaps stay gaps, with their reason, from the records to the CSV.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TypeMetrics } from '../src/api/types.ts';
import { CHARTS } from '../src/model/catalogue.ts';
import { csvName, csvOf } from '../src/model/csv.ts';
import { describeChart, describePoint } from '../src/model/describe.ts';
import { HOUR } from '../src/model/period.ts';
import { type Range, resolveRange } from '../src/model/range.ts';
import { chartData, chartsOf, engagedPeriods, shownSeries } from '../src/model/series.ts';

const RANGE: Range = resolveRange(
  { range: '24h', granularity: 'hourly', from: null, to: null },
  Date.parse('2026-11-23T04:30:00Z'),
);
const FIRST = RANGE.periods[0] ?? 0;
const iso = (instant: number) => new Date(instant).toISOString();

function record(hour: number, metrics: TypeMetrics['dataPoints'][number]['metrics']) {
  const start = FIRST + hour * HOUR;
  return {
    timestamp: iso(start),
    endTimestamp: iso(start + HOUR - 1),
    metrics,
    calculatedAt: iso(start + HOUR + 2_000),
  };
}

const GENERATIONS: TypeMetrics = {
  metricType: 'generations',
  dataPoints: [
    record(3, { newGenerations: 5 }),
    record(2, { newGenerations: 0, averageGenerationTime: 30 }),
    record(0, { newGenerations: 7, averageGenerationTime: 41.5 }),
  ],
  missing: [iso(FIRST + HOUR)],
};

function generationTime() {
  const spec = CHARTS.find(({ id }) => id === 'generation-time');
  assert.ok(spec);
  return chartData(spec, [GENERATIONS], RANGE.periods);
}

test('every period has its place; a hole is null with its reason, a zero is a zero', () => {
  const spec = CHARTS.find(({ id }) => id === 'generations');
  assert.ok(spec);
  const [created] = chartData(spec, [GENERATIONS], RANGE.periods).series;
  assert.equal(created?.values.length, 24);
  assert.deepEqual(created?.values.slice(0, 5), [7, null, 0, 5, null]);
  assert.deepEqual(created?.gaps.slice(0, 5), [null, 'missing', null, null, 'no record']);
});

test('a metric that a record does not have is no value, not a missing record', () => {
  const [time] = generationTime().series;
  assert.deepEqual(time?.values.slice(0, 4), [41.5, null, 30, null]);
  assert.deepEqual(time?.gaps.slice(0, 4), [null, 'missing', null, 'no value']);
});

test('groups of a value are series of their own', () => {
  const spec = CHARTS.find(({ id }) => id === 'media-status');
  assert.ok(spec);
  const media = {
    metricType: 'media',
    dataPoints: [record(0, { mediaByStatus: { processing: 2, completed: 9 } })],
    missing: [],
  };
  const values = chartData(spec, [media], RANGE.periods).series.map(({ values }) => values[0]);
  assert.deepEqual(values, [2, null, 9]);
});

test('metrics and types that the dashboard was not told of are shown', () => {
  const charts = chartsOf([
    { metricType: 'media', dataPoints: [record(0, { newMedia: 1, newVideos: 1 })], missing: [] },
    { metricType: 'downloads', dataPoints: [record(0, { newDownloads: 4 })], missing: [] },
  ]);
  const media = charts.find(({ id }) => id === 'media');
  assert.equal(media?.metrics.at(-1)?.label, 'New videos');
  assert.equal(media?.metrics.at(-1)?.shown, false);
  assert.equal(charts.find(({ id }) => id === 'downloads')?.metrics[0]?.shown, true);
});

test('storage has no chart until something is recorded', () => {
  const empty = { metricType: 'storage', dataPoints: [], missing: [] };
  assert.ok(!chartsOf([empty]).some(({ id }) => id === 'storage'));
  const recorded = { ...empty, dataPoints: [record(0, { totalStorageBytes: 1 })] };
  assert.ok(chartsOf([recorded]).some(({ id }) => id === 'storage'));
});

test('toggling turns a default around', () => {
  const spec = CHARTS.find(({ id }) => id === 'generations');
  assert.ok(spec);
  const data = chartData(spec, [GENERATIONS], RANGE.periods);
  const names = (toggled: string[]) => shownSeries(data, new Set(toggled)).map(({ metric }) => metric.name);
  assert.deepEqual(names([]), ['newGenerations', 'successfulGenerations', 'failedGenerations']);
  assert.deepEqual(names(['newGenerations', 'totalGenerations']), [
    'successfulGenerations',
    'failedGenerations',
    'totalGenerations',
  ]);
});

test('the CSV has the whole range, one column a metric, and nothing where there is nothing', () => {
  const lines = csvOf([generationTime()], RANGE).split('\r\n');
  assert.equal(lines.length, 26);
  assert.equal(
    lines[0],
    'period_start,period_end,averageGenerationTime,stale,reconstructed,complete,calculated_at',
  );
  assert.equal(
    lines[1],
    '2026-11-22T04:00:00.000Z,2026-11-22T04:59:59.999Z,41.5,false,,true,2026-11-22T05:00:02.000Z',
  );
  assert.equal(lines[2], '2026-11-22T05:00:00.000Z,2026-11-22T05:59:59.999Z,,,,,');
  assert.equal(csvName('generation-time', RANGE), 'generation-time-hourly-2026-11-22-2026-11-23.csv');
});

test('a chart is told in words, with what is missing', () => {
  const data = generationTime();
  const words = describeChart(data, data.series, 'hourly', 'utc');
  assert.match(words, /lowest 30 s \(22 Nov 2026, 06:00–07:00\), highest 41.5 s/);
  assert.match(words, /22 of 24 periods have no value/);
  assert.equal(
    describePoint(data, data.series, 1, 'hourly', 'utc'),
    '22 Nov 2026, 05:00–06:00. Average time: missing',
  );
});

test('lists of engaged content are found, newest first', () => {
  const target = { targetType: 'media', targetId: 'media-1', likes: 2, bookmarks: 1, comments: 0, total: 3 };
  const interactions = {
    metricType: 'interactions',
    dataPoints: [
      record(0, { mostEngaged: [] }),
      record(2, { mostEngaged: [target] }),
      record(1, { newLikes: 1 }),
    ],
    missing: [],
  };
  const periods = engagedPeriods([interactions], RANGE);
  assert.deepEqual(
    periods.map(({ targets }) => targets.length),
    [1, 0],
  );
});
