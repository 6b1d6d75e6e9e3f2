// What is exported says what the API says: every period, every metric, nothing where nothing is.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import type { DataPoint, Granularity } from '../src/api/types.ts';
import { CHARTS } from '../src/model/catalogue.ts';
import { addPeriods } from '../src/model/period.ts';
import type { Api } from './harness/api.ts';
import { button, openOverview } from './harness/overview.ts';
import { scenario } from './harness/scenario.ts';

interface Csv {
  name: string;
  header: string[];
  rows: Record<string, string>[];
}

async function exported(page: Page, name: string): Promise<Csv> {
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, name).click()]);
  const text = await readFile(await download.path(), 'utf8');
  assert.ok(text.endsWith('\r\n'));
  // No name and no value of the sample needs quotes.
  assert.ok(!text.includes('"'));
  const [header = [], ...lines] = text
    .trimEnd()
    .split('\r\n')
    .map((line) => line.split(','));
  const rows = lines.map((line) => Object.fromEntries(header.map((column, at) => [column, line[at] ?? ''])));
  return { name: download.suggestedFilename(), header, rows };
}

const TYPES = new Map(CHARTS.flatMap(({ metrics }) => metrics).map(({ name, type }) => [name, type]));

async function assertIsTheApis({ header, rows }: Csv, granularity: Granularity, api: Api): Promise<void> {
  const metrics = header.slice(2, -1);
  const starts = rows.map((row) => Date.parse(row.period_start ?? ''));
  const last = starts.at(-1) ?? Number.NaN;
  const records = await api.records(granularity, starts[0] ?? Number.NaN, last);
  const types = new Set(metrics.map((metric) => TYPES.get(metric) ?? assert.fail(`${metric} is no metric`)));
  let values = 0;
  rows.forEach((row, at) => {
    const start = starts[at] ?? Number.NaN;
    if (at > 0)
      assert.equal(start, addPeriods(granularity, starts[at - 1] ?? Number.NaN, 1), 'no period is left out');
    assert.equal(Date.parse(row.period_end ?? ''), addPeriods(granularity, start, 1) - 1);
    const ofPeriod = (type: string) => records.get(type)?.get(row.period_start ?? '');
    for (const metric of metrics) {
      const expected = valueIn(ofPeriod(TYPES.get(metric) ?? ''), metric);
      assert.equal(row[metric], expected === null ? '' : `${expected}`, `${metric} of ${row.period_start}`);
      if (expected !== null) values += 1;
    }
    const calculated = [...types].map((type) => ofPeriod(type)?.calculatedAt ?? '').sort();
    assert.equal(row.calculated_at, calculated.at(-1));
  });
  assert.ok(values > rows.length, 'there is something in it');
}

function valueIn(record: DataPoint | undefined, metric: string): number | null {
  const [name = '', group] = metric.split('.');
  const value = record?.metrics[name];
  if (group !== undefined) return (value as Record<string, number> | undefined)?.[group] ?? null;
  return typeof value === 'number' ? value : null;
}

scenario('exporting everything of the last 24 hours', {}, async ({ page, stage }) => {
  await openOverview(page);
  const csv = await exported(page, 'Export CSV');
  assert.match(csv.name, /^analytics-hourly-\d{4}-\d\d-\d\d-\d{4}-\d\d-\d\d\.csv$/);
  assert.equal(csv.rows.length, 24);
  const expected = CHARTS.filter(({ id }) => id !== 'storage').flatMap(({ metrics }) => metrics);
  assert.deepEqual(csv.header, [
    'period_start',
    'period_end',
    ...expected.map(({ name }) => name),
    'calculated_at',
  ]);
  await assertIsTheApis(csv, 'hourly', stage.api);
});

scenario('exporting 30 days, most of them before the first record', {}, async ({ page, stage }) => {
  await openOverview(page, '?range=30d&granularity=daily');
  const csv = await exported(page, 'Export CSV');
  assert.equal(csv.rows.length, 30);
  assert.ok(csv.rows.some((row) => row.newUsers === ''));
  await assertIsTheApis(csv, 'daily', stage.api);
});

scenario('exporting one chart, whatever is zoomed in on or hidden', {}, async ({ page, stage }) => {
  await openOverview(page, '?toggled=newLikes&zone=local');
  await button(page, 'Zoom in on Interactions').click();
  const csv = await exported(page, 'Export Interactions as CSV');
  assert.match(csv.name, /^interactions-hourly-/);
  assert.equal(csv.rows.length, 24);
  assert.ok(csv.header.includes('newLikes'));
  await assertIsTheApis(csv, 'hourly', stage.api);
});
