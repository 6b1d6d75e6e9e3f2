// The exported CSV has the values of the API: every period, every metric, and empty fields for gaps.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import type { DataPoint, Granularity } from '../src/api/types.ts';
import { CHARTS } from '../src/model/catalogue.ts';
import { addPeriods } from '../src/model/period.ts';
import type { Api } from './harness/api.ts';
import { NOW } from './harness/environment.ts';
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
  const [header = [], ...lines] = text.trimEnd().split('\r\n').map(fieldsOf);
  const rows = lines.map((line) => Object.fromEntries(header.map((column, at) => [column, line[at] ?? ''])));
  return { name: download.suggestedFilename(), header, rows };
}

/** The fields of a line; only lists are quoted, and no text of the sample has a line break. */
function fieldsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

/** The rows of the periods that have ended; the running one, if it has values, comes last. */
function overRows({ rows }: Csv): Csv['rows'] {
  const over = rows.filter((row) => Date.parse(row.period_end ?? '') < NOW);
  assert.ok(rows.length - over.length <= 1);
  for (const row of rows.slice(over.length)) assert.equal(row.complete, 'false');
  return over;
}

const TYPES = new Map(CHARTS.flatMap(({ metrics }) => metrics).map(({ name, type }) => [name, type]));

async function assertIsTheApis(csv: Csv, granularity: Granularity, api: Api): Promise<void> {
  const rows = overRows(csv);
  assert.deepEqual(csv.header.slice(-4), ['stale', 'reconstructed', 'complete', 'calculated_at']);
  const metrics = csv.header.slice(2, -4).filter((name) => name !== LIST);
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
    const points = [...types].flatMap((type) => ofPeriod(type) ?? []);
    const calculated = points.map(({ calculatedAt }) => calculatedAt).sort();
    assert.equal(row.calculated_at, calculated.at(-1) ?? '');
    const is = (yes: boolean) => (points.length === 0 ? '' : `${yes}`);
    assert.equal(row.stale, is(points.some(({ stale }) => stale)));
    assert.equal(row.complete, is(points.every(({ coverage }) => !coverage)));
    if (!csv.header.includes(LIST)) return;
    const list = ofPeriod('interactions')?.metrics[LIST];
    assert.deepEqual(row[LIST] ? JSON.parse(row[LIST]) : undefined, list, row.period_start);
  });
  assert.ok(values > rows.length, 'there is something in it');
}

const LIST = 'mostEngaged';

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
  assert.equal(overRows(csv).length, 24);
  const expected = CHARTS.filter(({ id }) => id !== 'storage').flatMap(({ metrics }) => metrics);
  assert.deepEqual(csv.header, [
    'period_start',
    'period_end',
    ...expected.map(({ name }) => name),
    'mostEngaged',
    'stale',
    'reconstructed',
    'complete',
    'calculated_at',
  ]);
  await assertIsTheApis(csv, 'hourly', stage.api);
});

scenario('exporting 30 days, most of them before the first record', {}, async ({ page, stage }) => {
  await openOverview(page, '?range=30d&granularity=daily');
  const csv = await exported(page, 'Export CSV');
  assert.equal(overRows(csv).length, 30);
  assert.ok(csv.rows.some((row) => row.newUsers === ''));
  await assertIsTheApis(csv, 'daily', stage.api);
});

scenario('exporting one chart, independent of zoom and hidden series', {}, async ({ page, stage }) => {
  await openOverview(page, '?toggled=newLikes&zone=local');
  await button(page, 'Zoom in on Interactions').click();
  const csv = await exported(page, 'Export Interactions as CSV');
  assert.match(csv.name, /^interactions-hourly-/);
  assert.equal(overRows(csv).length, 24);
  assert.ok(csv.header.includes('newLikes'));
  await assertIsTheApis(csv, 'hourly', stage.api);
});
