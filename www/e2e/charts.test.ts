// Using a chart: comparing, pointing, zooming, reading it as a table, and gaps.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import type { MetricValue } from '../src/api/types.ts';
import { formatPeriod } from '../src/model/format.ts';
import { DAY, HOUR } from '../src/model/period.ts';
import { takeHourAway } from './harness/dynamodb.ts';
import { END } from './harness/environment.ts';
import {
  button,
  chart,
  chartsLoaded,
  hasFocus,
  openOverview,
  picture,
  type Table,
  tableOf,
  unmarked,
} from './harness/overview.ts';
import { addressed, eventually, query, scenario } from './harness/scenario.ts';

const iso = (instant: number) => new Date(instant).toISOString();
const named = (hour: number) => formatPeriod(hour, 'hourly', 'utc');
const TODAY = Math.floor(END / DAY) * DAY;

/** A number as the page writes it, read back. */
const numberIn = (text: string) => Number(unmarked(text).replaceAll(',', ''));

scenario('comparing with the previous period shows both and the change', {}, async ({ page, stage }) => {
  const [from, to] = [TODAY - 8 * DAY, TODAY - 5 * DAY];
  const range = `from=${iso(from).slice(0, 10)}&to=${iso(to).slice(0, 10)}&granularity=daily`;
  await openOverview(page, `?${range}&tables=users`);
  await page.getByLabel('Compare with the previous period').check();
  const users = (await stage.api.records('daily', from - 4 * DAY, to)).get('users');
  const days = [3, 2, 1, 0].map((day) => from + day * DAY);
  await page.getByRole('columnheader', { name: 'New users, previous' }).waitFor();
  const { header, rows } = await tableOf(page, 'Users');
  const column = (name: string) => rows.map((row) => numberIn(row[header.indexOf(name)] ?? ''));
  const values = (start: (day: number) => number) =>
    days.map((day) => users?.get(iso(start(day)))?.metrics.newUsers as number);
  const now = values((day) => day);
  const before = values((day) => day - 4 * DAY);
  assert.deepEqual(column('New users'), now);
  assert.deepEqual(column('New users, previous'), before);

  const sum = (of: number[]) => of.reduce((total, value) => total + value, 0);
  const percent = ((sum(now) - sum(before)) / sum(before)) * 100;
  const item = chart(page, 'users').locator('.legend-item', { hasText: 'New users' });
  const text = unmarked(await item.textContent());
  const shown = /([+−]?[\d.,]+)% vs previous/.exec(text)?.[1]?.replace('−', '-').replaceAll(',', '');
  assert.ok(
    Math.abs(Number(shown) - percent) < (Math.abs(percent) < 100 ? 0.06 : 0.6),
    `${text}: ${percent}`,
  );
});

scenario('pointing at a chart shows the values of that period', {}, async ({ page, stage }) => {
  await openOverview(page);
  const users = chart(page, 'users');
  await users.scrollIntoViewIfNeeded();
  const box = await users.locator('.u-over').boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + box.width * 0.4, box.y + box.height / 2);
  const readout = users.locator('[data-readout]');
  await readout.waitFor();
  const title = (await readout.locator('strong').textContent())?.replace(' UTC', '');
  const hour = [...Array(26).keys()].map((ago) => END - ago * HOUR).find((start) => named(start) === title);
  assert.ok(hour, `${title} is one of the last hours`);
  const record = (await stage.api.records('hourly', hour, hour + 1)).get('users')?.get(iso(hour));
  const legend = users.locator('.legend-item', { hasText: 'Visitors' }).locator('.legend-value');
  assert.equal(numberIn((await legend.textContent()) ?? ''), record?.metrics.visitors);

  await page.mouse.move(0, 0);
  await readout.waitFor({ state: 'detached' });
});

scenario('moving along a chart and zooming with the keyboard', {}, async ({ page, stage }) => {
  await openOverview(page);
  const users = chart(page, 'users');
  const spoken = users.locator('[aria-live]');
  const title = users.locator('[data-readout] strong');
  const at = async () => (await title.allTextContents()).join().replace(' UTC', '');
  await picture(page, 'Users').focus();
  await page.keyboard.press('End');
  // The running hour is the last point, if it has values.
  if ((await at()) === named(END)) await page.keyboard.press('ArrowLeft');
  await eventually(async () => assert.notEqual(await at(), named(END)));
  const last = await at();
  await page.keyboard.press('ArrowLeft');
  await eventually(async () => assert.notEqual(await at(), last));
  await page.keyboard.press('ArrowRight');
  await eventually(async () => assert.equal(await at(), last));

  const hour = [END, END - HOUR].find((start) => named(start) === last) ?? Number.NaN;
  const record = (await stage.api.records('hourly', hour, hour + 1)).get('users')?.get(iso(hour));
  assert.match((await spoken.textContent()) ?? '', new RegExp(`Visitors: ${record?.metrics.visitors}\\b`));

  await page.keyboard.press('+');
  await eventually(() => assert.ok(query(page).zoom));
  const wide = zoomOf(page);
  // Zoomed in, and still at the same period.
  await eventually(async () => assert.equal(await at(), last));
  // Typed without a pause: the drawing after one key must not lose the next.
  await Promise.all([page.keyboard.press('+'), page.keyboard.press('ArrowLeft')]);
  await eventually(() => assert.ok(width(zoomOf(page)) < width(wide)));
  await eventually(async () => assert.equal(await at(), named(hour - HOUR)));
  await page.keyboard.press('Home');
  await eventually(async () => assert.equal(await at(), named(zoomOf(page)[0])));
  const narrow = zoomOf(page);
  await page.keyboard.press('-');
  await eventually(() => assert.ok(width(zoomOf(page)) > width(narrow)));
  await page.keyboard.press('Escape');
  await addressed(page, {});
});

scenario('zooming with buttons, on all charts, kept in the URL', {}, async ({ page }) => {
  await openOverview(page);
  await button(page, 'Zoom in on Users').click();
  await eventually(() => assert.ok(query(page).zoom));
  const zoom = query(page).zoom;
  await button(page, 'Reset zoom of Views').waitFor();
  await page.reload();
  await chartsLoaded(page);
  assert.equal(query(page).zoom, zoom);
  await chart(page, 'users').getByText('values of the whole range').waitFor();
  await button(page, 'Reset zoom of Users').focus();
  await page.keyboard.press('Enter');
  await addressed(page, {});
  // That button is gone; the one beside it is where it was.
  await eventually(async () => assert.equal(await hasFocus(button(page, 'Zoom in on Users')), true));
});

scenario('zooming by dragging over a chart, and out by a double click', {}, async ({ page }) => {
  await openOverview(page);
  const users = chart(page, 'users');
  await users.scrollIntoViewIfNeeded();
  const over = users.locator('.u-over');
  const box = await over.boundingBox();
  assert.ok(box);
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + box.width * 0.25, y);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, y, { steps: 8 });
  await page.mouse.up();
  await eventually(() => assert.ok(query(page).zoom));
  const hours = width(zoomOf(page)) / HOUR;
  assert.ok(hours >= 9 && hours <= 14, `half of a day was dragged over, ${hours} hours were zoomed in on`);
  await picture(page, 'Users').focus();
  await page.keyboard.press('Home');
  const first = users.locator('[data-readout] strong');
  assert.equal(await first.textContent(), `${named(zoomOf(page)[0])} UTC`);
  await over.dblclick();
  await addressed(page, {});
});

scenario('reading a chart as a table: every value is that of the API', {}, async ({ page, stage }) => {
  await openOverview(page);
  await button(page, 'Table of Generations').click();
  const { header, rows } = await tableOf(page, 'Generations');
  assert.deepEqual(header, ['Period', 'New generations', 'Successful', 'Failed', 'Calculated']);
  assert.equal(rows.length, 24);
  const records = (await stage.api.records('hourly', END - 26 * HOUR, END)).get('generations');
  const byName = new Map([...(records ?? [])].map(([start, record]) => [named(Date.parse(start)), record]));
  for (const [period = '', ...values] of rows) {
    const metrics: Record<string, MetricValue> = byName.get(period)?.metrics ?? {};
    const expected = ['newGenerations', 'successfulGenerations', 'failedGenerations'].map(
      (name) => metrics[name],
    );
    assert.deepEqual(values.slice(0, 3).map(numberIn), expected, period);
  }
});

scenario('a missing record is a gap, never a zero', {}, async ({ page }) => {
  // Dates that no other test requests, so that no response to them is cached.
  const first = TODAY - 4 * DAY;
  const dates = (from: number) =>
    `?from=${iso(from).slice(0, 10)}&to=${iso(first).slice(0, 10)}&granularity=hourly`;
  const hour = first + 10 * HOUR;
  const ofHour = ({ rows }: Table) => rows.find(([period]) => period === named(hour))?.slice(1);
  const putBack = await takeHourAway('users', hour);
  try {
    await openOverview(page, dates(first));
    const users = chart(page, 'users');
    await users.getByText('1 missing').waitFor();
    const summary = (await page.locator('#summary-users').textContent()) ?? '';
    assert.match(summary, /Visitors: .*?1 of 24 periods have no value\./);

    // The keyboard reaches the gap, and its reason is announced.
    await picture(page, 'Users').focus();
    await page.keyboard.press('Home');
    const title = users.locator('[data-readout] strong');
    for (let at = first; at < hour; at += HOUR) {
      await eventually(async () => assert.equal(await title.textContent(), `${named(at)} UTC`));
      await page.keyboard.press('ArrowRight');
    }
    await users.getByText('no record').waitFor();
    assert.match((await users.locator('[aria-live]').textContent()) ?? '', /Visitors: missing/);

    await button(page, 'Table of Users').click();
    assert.deepEqual(ofHour(await tableOf(page, 'Users')), ['missing', 'missing', 'missing', '–']);
    // The other types have their records.
    await button(page, 'Table of Views').click();
    assert.match(ofHour(await tableOf(page, 'Views'))?.[0] ?? '', /^[\d,]+$/);
  } finally {
    await putBack();
  }
  await openOverview(page, `${dates(first - DAY)}&tables=users`);
  assert.match(ofHour(await tableOf(page, 'Users'))?.[0] ?? '', /^[\d,]+$/);
});

function zoomOf(page: Page): [number, number] {
  const [from = '', to = ''] = (query(page).zoom ?? '').split('_');
  return [Date.parse(from), Date.parse(to)];
}

const width = ([from, to]: [number, number]) => to - from;
