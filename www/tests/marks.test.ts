// A value that is stale, reconstructed or running is marked everywhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataPoint, TypeMetrics } from '../src/api/types.ts';
import { CHARTS } from '../src/model/catalogue.ts';
import { csvOf } from '../src/model/csv.ts';
import { describeChart, describePoint } from '../src/model/describe.ts';
import { changeOf, figureOf } from '../src/model/figure.ts';
import { provisionalValues, settledValues } from '../src/model/lines.ts';
import { claimOf, kindsOf, meaningsOf, together, UNMARKED } from '../src/model/marks.ts';
import { HOUR } from '../src/model/period.ts';
import { type Range, resolveRange } from '../src/model/range.ts';
import {
  chartData,
  chartsOf,
  countMarks,
  drawnPeriods,
  engagedPeriods,
  marksAt,
  marksOfRange,
} from '../src/model/series.ts';

// 20:00 to 24:00 has ended, 00:00 to 01:00 is running.
const NOW = Date.parse('2026-11-23T00:30:00Z');
const RANGE: Range = {
  ...resolveRange({ range: 'custom', granularity: 'hourly', from: '2026-11-22', to: '2026-11-23' }, NOW),
  periods: [20, 21, 22, 23].map((hour) => Date.parse(`2026-11-22T${hour}:00:00Z`)),
};
const FIRST = Date.parse('2026-11-22T20:00:00Z');
const MIDNIGHT = Date.parse('2026-11-23T00:00:00Z');
const iso = (instant: number) => new Date(instant).toISOString();

function record(hour: number, metrics: DataPoint['metrics'], more: Partial<DataPoint> = {}): DataPoint {
  const start = FIRST + hour * HOUR;
  return {
    timestamp: iso(start),
    endTimestamp: iso(start + HOUR - 1),
    metrics,
    calculatedAt: iso(start + HOUR + 2_000),
    ...more,
  };
}

const RUNNING = record(
  4,
  { newMedia: 3 },
  { calculatedAt: iso(NOW), complete: false, asOf: '2026-11-23T00:29:00.000Z' },
);

const MEDIA: TypeMetrics = {
  metricType: 'media',
  dataPoints: [
    RUNNING,
    record(3, { newMedia: 5, totalMedia: 40 }),
    record(2, { totalMedia: 35 }, { coverage: { present: 3, expected: 4 } }),
    record(1, { newMedia: 7, totalMedia: 31 }, { stale: true, reconstructed: { totalMedia: 'estimate' } }),
    record(0, { newMedia: 6, totalMedia: 24 }, { reconstructed: { newMedia: 'lowerBound' } }),
  ],
  missing: [],
};

function media(types = [MEDIA]) {
  const spec = CHARTS.find(({ id }) => id === 'media');
  assert.ok(spec);
  const data = chartData(spec, types, RANGE.periods, RANGE.running?.start);
  const [created, total] = data.series;
  assert.ok(created && total);
  return { data, created, total };
}

test('the marks of a value are its own', () => {
  const { data, created, total } = media();
  assert.deepEqual(
    [0, 1, 2, 3].map((at) => marksAt(data, created, at)),
    [{ stale: false, reconstructed: 'lowerBound' }, { stale: true, reconstructed: null }, UNMARKED, UNMARKED],
  );
  assert.deepEqual(marksAt(data, total, 1), { stale: true, reconstructed: 'estimate' });
  assert.deepEqual(
    [0, 1, 2, 4].map((at) => kindsOf([marksAt(data, created, at), marksAt(data, total, at)])),
    [['lowerBound'], ['estimate', 'stale'], [], []],
  );
  assert.deepEqual(countMarks(data, [created]), { reconstructed: 1, stale: 1, short: 1 });
  assert.deepEqual(countMarks(data, [created, total]), { reconstructed: 2, stale: 1, short: 1 });
});

test('a figure has the weakest mark of what it is made from', () => {
  const { data, created, total } = media();
  assert.deepEqual(marksOfRange(data, created), { stale: true, reconstructed: 'lowerBound' });
  // The value of a range is the latest value of the stock, which is not marked.
  assert.deepEqual(marksOfRange(data, total), UNMARKED);
  assert.deepEqual(
    together([
      { stale: false, reconstructed: 'lowerBound' },
      { stale: true, reconstructed: 'estimate' },
    ]),
    { stale: true, reconstructed: 'estimate' },
  );
  assert.deepEqual(together([]), UNMARKED);
});

test('a claim that this page does not know is taken for the weakest', () => {
  assert.equal(claimOf('lowerBound'), 'lowerBound');
  assert.equal(claimOf('upperBound'), 'estimate');
  assert.equal(claimOf(undefined), null);
});

test('the marks are told in words', () => {
  assert.deepEqual(meaningsOf({ stale: true, reconstructed: 'lowerBound' }), [
    'reconstructed: a lower bound',
    'stale: a finer period has changed, so this value will be recomputed',
  ]);
  assert.deepEqual(meaningsOf({ stale: false, reconstructed: 'estimate' }), ['reconstructed: an estimate']);
  assert.deepEqual(meaningsOf(UNMARKED), []);
});

test('a value without all finer periods is a gap with the reason incomplete', () => {
  const { created } = media();
  assert.deepEqual(created.values, [6, 7, null, 5]);
  assert.deepEqual(created.gaps, [null, null, 'incomplete', null]);
});

test('the running period is a point of its own and in no figure', () => {
  const { data, created, total } = media();
  assert.deepEqual(data.running, {
    start: MIDNIGHT,
    asOf: Date.parse('2026-11-23T00:29:00Z'),
    calculatedAt: NOW,
  });
  assert.equal(created.running, 3);
  assert.equal(total.running, null);
  assert.deepEqual(drawnPeriods(data), [...RANGE.periods, MIDNIGHT]);
  assert.equal(created.values.length, 4);
  assert.deepEqual(figureOf(created.values, 'sum'), { value: 18, what: 'total' });
  assert.equal(changeOf(created.values, [1, 1, 1, 1], 'sum')?.absolute, 15);
});

test('what was running when it was asked for is no record of a period that is over', () => {
  const late = { ...MEDIA, dataPoints: [{ ...record(3, { newMedia: 2 }), complete: false }] };
  const { data, created } = media([late]);
  assert.deepEqual(created.values, [null, null, null, null]);
  assert.deepEqual(created.gaps[3], 'no record');
  assert.equal(data.running, null);
});

test('what is not final is drawn dashed, from the last observed value on', () => {
  const { created, total } = media();
  assert.deepEqual(settledValues(created, 5), [null, 7, null, 5, null]);
  assert.deepEqual(provisionalValues(created, 5), [6, 7, null, 5, 3]);
  assert.deepEqual(settledValues(total, 5), [24, null, 35, 40, null]);
  assert.deepEqual(provisionalValues(total, 5), [24, 31, 35, null, null]);
});

test('a chart and its points are described in words', () => {
  const { data, created, total } = media();
  const words = describeChart(data, [created], 'hourly', 'utc');
  assert.match(words, /Reconstructed values in 1 period\./);
  assert.match(words, /Stale: 1 period\./);
  assert.match(words, /Incomplete: 1 period\./);
  assert.match(words, /The last point is the running period so far, as of 00:29 UTC\./);
  assert.equal(
    describePoint(data, [created, total], 0, 'hourly', 'utc'),
    '22 Nov 2026, 20:00–21:00. New media: 6 (reconstructed: a lower bound), Total media: 24',
  );
  assert.equal(
    describePoint(data, [created], 4, 'hourly', 'utc'),
    '23 Nov 2026, 00:00–01:00, so far, as of 00:29 UTC. New media: 3',
  );
});

test('the CSV has the marks, and the running period as a row that is not complete', () => {
  const { data } = media();
  const lines = csvOf([data], RANGE).split('\r\n');
  assert.deepEqual(lines, [
    'period_start,period_end,newMedia,totalMedia,publicMedia,privateMedia,stale,reconstructed,complete,calculated_at',
    '2026-11-22T20:00:00.000Z,2026-11-22T20:59:59.999Z,6,24,,,false,newMedia:lowerBound,true,2026-11-22T21:00:02.000Z',
    '2026-11-22T21:00:00.000Z,2026-11-22T21:59:59.999Z,7,31,,,true,totalMedia:estimate,true,2026-11-22T22:00:02.000Z',
    '2026-11-22T22:00:00.000Z,2026-11-22T22:59:59.999Z,,35,,,false,,false,2026-11-22T23:00:02.000Z',
    '2026-11-22T23:00:00.000Z,2026-11-22T23:59:59.999Z,5,40,,,false,,true,2026-11-23T00:00:02.000Z',
    '2026-11-23T00:00:00.000Z,2026-11-23T00:59:59.999Z,3,,,,false,,false,2026-11-23T00:30:00.000Z',
    '',
  ]);
});

const TARGET = {
  targetType: 'media',
  targetId: 'm "1"',
  likes: 2n ** 53n + 1n,
  bookmarks: 1,
  comments: 0,
  total: 3,
};
const INTERACTIONS: TypeMetrics = {
  metricType: 'interactions',
  dataPoints: [
    record(1, { mostEngaged: [], newLikes: 1 }, { stale: true }),
    record(
      0,
      { mostEngaged: [TARGET], newLikes: 2 },
      { reconstructed: { mostEngaged: 'lowerBound', newLikes: 'lowerBound' } },
    ),
  ],
  missing: [],
};

test('the most engaged content is one column of JSON, with all digits', () => {
  const charts = chartsOf([INTERACTIONS])
    .filter(({ metrics }) => metrics[0]?.type === 'interactions')
    .map((spec) => chartData(spec, [INTERACTIONS], RANGE.periods, null));
  assert.deepEqual(
    charts.map(({ lists }) => lists.map(({ name }) => name)),
    [[], ['mostEngaged']],
  );
  const [header, first, second, third] = csvOf(charts, RANGE).split('\r\n');
  assert.equal(
    header,
    'period_start,period_end,newViews,totalViews,newLikes,newBookmarks,newComments,totalLikes,totalBookmarks,' +
      'totalComments,mostEngaged,stale,reconstructed,complete,calculated_at',
  );
  const json =
    '[{""targetType"":""media"",""targetId"":""m \\""1\\"""",""likes"":9007199254740993,' +
    '""bookmarks"":1,""comments"":0,""total"":3}]';
  assert.equal(
    first,
    `2026-11-22T20:00:00.000Z,2026-11-22T20:59:59.999Z,,,2,,,,,,"${json}",false,` +
      'newLikes:lowerBound mostEngaged:lowerBound,true,2026-11-22T21:00:02.000Z',
  );
  assert.match(second ?? '', /,1,,,,,,\[\],true,,true,/);
  assert.equal(third, '2026-11-22T22:00:00.000Z,2026-11-22T22:59:59.999Z,,,,,,,,,,,,,');
});

test('a list of the most engaged content has its marks', () => {
  const periods = engagedPeriods([INTERACTIONS], RANGE);
  assert.deepEqual(
    periods.map(({ marks }) => marks),
    [
      { stale: true, reconstructed: null },
      { stale: false, reconstructed: 'lowerBound' },
    ],
  );
});

test('a spreadsheet takes no text for a formula, and a negative number stays one', () => {
  const metrics = { '=cmd': -1, '+a': -2.5, '-b': 3, '@c': 4, 'd,"e': 5 };
  const type = { metricType: 'downloads', dataPoints: [record(0, metrics)], missing: [] };
  const spec = chartsOf([type]).find(({ id }) => id === 'downloads');
  assert.ok(spec);
  const [header, first] = csvOf([chartData(spec, [type], RANGE.periods, null)], RANGE).split('\r\n');
  assert.equal(
    header,
    `period_start,period_end,'+a,'-b,'=cmd,'@c,"d,""e",stale,reconstructed,complete,calculated_at`,
  );
  assert.match(first ?? '', /,-2\.5,3,-1,4,5,false,,true,/);
});
