// Every control is in the URL: it changes there, stays after a reload, and going back undoes it.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { NOW } from './harness/environment.ts';
import { button, chart, chartsLoaded, choose, chosen, openOverview, region } from './harness/overview.ts';
import { addressed, eventually, query, scenario } from './harness/scenario.ts';

interface Control {
  does: string;
  /** Where it starts. */
  from?: string;
  act: (page: Page) => Promise<unknown>;
  /** The parameters after it. */
  address: Record<string, string>;
  /** What can be seen of the control. */
  seen: (page: Page) => Promise<unknown>;
  /** Its state after the change; before it and after going back, it must differ. */
  becomes: unknown;
  /** The current time, where it matters. */
  now?: number;
}

const rangeAndGranularity = async (page: Page) => [
  ...(await chosen(page, 'Range')),
  ...(await chosen(page, 'Granularity')),
];

const fieldValue = (label: string) => (page: Page) =>
  page
    .getByLabel(label, { exact: true })
    .evaluateAll((controls) => controls.map((control) => (control as HTMLInputElement).value));

const pressed = (name: string) => (page: Page) => button(page, name).getAttribute('aria-pressed');

/** Two weeks ago to a week ago: always two dates of the past. */
const day = (ago: number) => new Date(NOW - ago * 86_400_000).toISOString().slice(0, 10);
const DATES = { from: day(14), to: day(7) };
const MIDDLE_OF_MONTH = Date.parse(`${day(0).slice(0, 8)}15T12:00:00Z`);

const CONTROLS: Control[] = [
  {
    does: 'choosing 24 hours makes the charts hourly',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, '24 hours'),
    address: {},
    seen: rangeAndGranularity,
    becomes: ['24 hours', 'Hourly'],
  },
  {
    does: 'choosing 7 days',
    act: (page) => choose(page, '7 days'),
    address: { range: '7d', granularity: 'hourly' },
    seen: rangeAndGranularity,
    becomes: ['7 days', 'Hourly'],
  },
  {
    does: 'choosing 30 days makes the charts daily',
    from: '?range=12m&granularity=monthly',
    act: (page) => choose(page, '30 days'),
    address: { range: '30d', granularity: 'daily' },
    seen: rangeAndGranularity,
    becomes: ['30 days', 'Daily'],
  },
  {
    does: 'choosing 90 days',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, '90 days'),
    address: { range: '90d', granularity: 'daily' },
    seen: rangeAndGranularity,
    becomes: ['90 days', 'Daily'],
  },
  {
    does: 'choosing 12 months',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, '12 months'),
    address: { range: '12m', granularity: 'daily' },
    seen: rangeAndGranularity,
    becomes: ['12 months', 'Daily'],
  },
  {
    does: 'choosing this month',
    from: '?range=30d&granularity=daily',
    now: MIDDLE_OF_MONTH,
    act: (page) => choose(page, 'This month'),
    address: { range: 'month', granularity: 'daily' },
    seen: rangeAndGranularity,
    becomes: ['This month', 'Daily'],
  },
  {
    does: 'choosing hourly',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, 'Hourly'),
    address: { range: '30d', granularity: 'hourly' },
    seen: rangeAndGranularity,
    becomes: ['30 days', 'Hourly'],
  },
  {
    does: 'choosing daily widens the range to 30 days',
    act: (page) => choose(page, 'Daily'),
    address: { range: '30d', granularity: 'daily' },
    seen: rangeAndGranularity,
    becomes: ['30 days', 'Daily'],
  },
  {
    does: 'choosing weekly widens the range to 90 days',
    act: (page) => choose(page, 'Weekly'),
    address: { range: '90d', granularity: 'weekly' },
    seen: rangeAndGranularity,
    becomes: ['90 days', 'Weekly'],
  },
  {
    does: 'choosing monthly widens the range to 12 months',
    act: (page) => choose(page, 'Monthly'),
    address: { range: '12m', granularity: 'monthly' },
    seen: rangeAndGranularity,
    becomes: ['12 months', 'Monthly'],
  },
  {
    does: 'comparing with the previous period',
    act: (page) => page.getByLabel('Compare with the previous period').check(),
    address: { compare: '1' },
    seen: (page) => page.getByLabel('Compare with the previous period').isChecked(),
    becomes: true,
  },
  {
    does: 'telling times in the local zone',
    act: (page) => page.getByLabel('Times in').selectOption('local'),
    address: { zone: 'local' },
    seen: fieldValue('Times in'),
    becomes: ['local'],
  },
  {
    does: 'choosing the sparklines of 30 days',
    act: (page) => choose(page, 'last 30 days'),
    address: { trend: '30d' },
    seen: (page) => chosen(page, 'Sparklines'),
    becomes: ['last 30 days'],
  },
  {
    does: 'showing a series that is hidden',
    act: (page) => button(page, 'Total users').click(),
    address: { toggled: 'totalUsers' },
    seen: pressed('Total users'),
    becomes: 'true',
  },
  {
    does: 'hiding a series that is shown',
    act: (page) => button(page, 'New views').click(),
    address: { toggled: 'newViews' },
    seen: async (page) => [
      await pressed('New views')(page),
      await chart(page, 'views').getByText('No series is selected').count(),
    ],
    becomes: ['false', 1],
  },
  {
    does: 'looking at a chart as a table',
    act: (page) => button(page, 'Table of Albums').click(),
    address: { tables: 'albums' },
    seen: async (page) => [
      await pressed('Table of Albums')(page),
      await region(page, 'Table of Albums').count(),
    ],
    becomes: ['true', 1],
  },
  {
    does: 'going to the operations',
    act: (page) => page.getByRole('link', { name: 'Operations' }).click(),
    address: { page: 'operations' },
    seen: (page) => page.getByRole('link', { name: 'Operations' }).getAttribute('aria-current'),
    becomes: 'page',
  },
  {
    does: 'filtering the ledger by status',
    from: '?page=operations',
    act: (page) => page.getByLabel('Status', { exact: true }).selectOption('failed'),
    address: { page: 'operations', status: 'failed' },
    seen: fieldValue('Status'),
    becomes: ['failed'],
  },
  {
    does: 'filtering the ledger by granularity',
    from: '?page=operations',
    act: (page) => page.getByLabel('Granularity of runs').selectOption('daily'),
    address: { page: 'operations', runs: 'daily' },
    seen: fieldValue('Granularity of runs'),
    becomes: ['daily'],
  },
  {
    does: 'choosing dates',
    act: async (page) => {
      await choose(page, 'Custom');
      await page.getByLabel('From', { exact: true }).fill(DATES.from);
      await page.getByLabel('To', { exact: true }).fill(DATES.to);
      await button(page, 'Apply').click();
    },
    address: { ...DATES, granularity: 'hourly' },
    seen: async (page) => [
      ...(await chosen(page, 'Range')),
      ...(await fieldValue('From')(page)),
      ...(await fieldValue('To')(page)),
    ],
    becomes: ['Custom', DATES.from, DATES.to],
  },
];

for (const { does, from = '', act, address, seen, becomes, now } of CONTROLS) {
  scenario(`${does} is in the address`, {}, async ({ page }) => {
    if (now !== undefined) await page.clock.setFixedTime(now);
    const showing = (expected: unknown) =>
      eventually(async () => assert.deepEqual(await seen(page), expected));
    await page.goto(`/${from}`);
    await loaded(page);
    const [addressBefore, seenBefore] = [query(page), await seen(page)];
    assert.notDeepEqual(seenBefore, becomes);
    await act(page);
    await addressed(page, address);
    await showing(becomes);
    await page.reload();
    await loaded(page);
    await showing(becomes);
    assert.deepEqual(query(page), address);
    await page.goBack();
    await addressed(page, addressBefore);
    await loaded(page);
    await showing(seenBefore);
  });
}

async function loaded(page: Page): Promise<void> {
  if (query(page).page === 'operations') await region(page, 'Health').getByText('checked').waitFor();
  else await chartsLoaded(page);
}

scenario('wrong dates are rejected with the reason', {}, async ({ page }) => {
  await openOverview(page);
  await choose(page, 'Custom');
  const from = page.getByLabel('From', { exact: true });
  const to = page.getByLabel('To', { exact: true });
  const alert = page.getByRole('form', { name: 'Custom dates' }).getByRole('alert');
  for (const [first, last, reason] of [
    [DATES.to, DATES.from, 'The first date is after the last date.'],
    ['2999-01-01', '2999-01-02', 'The first date is in the future.'],
    ['', DATES.to, 'Enter both dates.'],
    [`0202${DATES.from.slice(4)}`, DATES.to, 'The dates are too far apart'],
  ] as const) {
    await from.fill(first);
    await to.fill(last);
    await button(page, 'Apply').click();
    await alert.filter({ hasText: reason }).waitFor();
  }
  assert.deepEqual(query(page), {});
});

scenario('another choice ends the selection of dates', {}, async ({ page }) => {
  await openOverview(page);
  for (const [name, becomes] of [
    ['Daily', ['30 days', 'Daily']],
    ['7 days', ['7 days', 'Daily']],
  ] as const) {
    await choose(page, 'Custom');
    assert.deepEqual(await chosen(page, 'Range'), ['Custom']);
    await choose(page, name);
    await eventually(async () => assert.deepEqual(await rangeAndGranularity(page), becomes));
    assert.equal(await page.getByRole('form', { name: 'Custom dates' }).count(), 0);
  }
  await choose(page, 'Custom');
  await page.goBack();
  await eventually(async () => assert.deepEqual(await rangeAndGranularity(page), ['30 days', 'Daily']));
});

scenario('dates in the URL that cannot be shown are ignored', {}, async ({ page }) => {
  for (const dates of ['from=0202-11-01&to=2026-11-20', 'from=2999-01-01&to=2999-01-02']) {
    await openOverview(page, `?${dates}&granularity=daily`);
    assert.deepEqual(await rangeAndGranularity(page), ['24 hours', 'Hourly']);
  }
});

scenario('a month without an hour that has ended shows a note until there is one', {}, async ({ page }) => {
  const date = new Date(NOW);
  const month = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
  await page.clock.setFixedTime(month + 10 * 60_000);
  await openOverview(page, '?range=month&granularity=daily');
  await page.getByRole('heading', { name: 'No period of this range has ended yet' }).waitFor();
  assert.equal(await page.locator('.charts').count(), 0);
  assert.equal(await button(page, 'Export CSV').isDisabled(), true);
  // The page reads its clock every 15 seconds.
  await page.clock.setFixedTime(month + 70 * 60_000);
  await page.getByText('1 hourly period:').waitFor({ timeout: 30_000 });
});

scenario('choosing which period’s most engaged content is listed', {}, async ({ page, stage }) => {
  await openOverview(page);
  const engaged = region(page, 'Most engaged content');
  const select = engaged.getByLabel('Period');
  const starts = await select
    .locator('option')
    .evaluateAll((options) => options.map((option) => Number((option as HTMLOptionElement).value)));
  const chosen = starts[3] ?? Number.NaN;
  await select.selectOption(`${chosen}`);
  await eventually(() => assert.equal(Date.parse(query(page).engaged ?? ''), chosen));

  const records = await stage.api.records('hourly', chosen, chosen + 1);
  const targets = records.get('interactions')?.get(new Date(chosen).toISOString())?.metrics.mostEngaged;
  assert.ok(Array.isArray(targets));
  const ids = engaged.locator('tbody th');
  await eventually(async () =>
    assert.deepEqual(
      await ids.allTextContents(),
      targets.map(({ targetId }) => targetId),
    ),
  );
  await page.reload();
  await chartsLoaded(page);
  assert.equal(await select.inputValue(), `${chosen}`);
});

scenario(
  'a range before the first record shows a note with a link to the operations page',
  {},
  async ({ page }) => {
    await openOverview(page, '?from=2020-01-01&to=2020-01-31&granularity=daily');
    await page.getByRole('heading', { name: 'No records in this range' }).waitFor();
    assert.equal(await button(page, 'Export CSV').isDisabled(), true);
    await button(page, 'Go to operations').click();
    await region(page, 'Recalculate').waitFor();
  },
);

scenario('choosing a theme, which the browser stores', {}, async ({ page }) => {
  await openOverview(page);
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.getByLabel('Theme').selectOption('dark');
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await chartsLoaded(page);
  assert.equal(await background(), dark);
  assert.deepEqual(query(page), {});
  // Without a choice the page has the theme of the system.
  await page.getByLabel('Theme').selectOption('system');
  assert.equal(await background(), light);
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await background(), dark);
});

scenario('skipping to the content by keyboard', {}, async ({ page }) => {
  await openOverview(page);
  await page.keyboard.press('Tab');
  const link = page.getByRole('link', { name: 'Skip to content' });
  assert.equal(await link.evaluate((element) => element === document.activeElement), true);
  await page.keyboard.press('Enter');
  await eventually(async () =>
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'content'),
  );
});
