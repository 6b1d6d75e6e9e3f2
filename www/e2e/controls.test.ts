// Every control is in the address: it changes there, survives a reload, and is undone by going back.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { button, chart, chartsLoaded, choose, openOverview, region } from './harness/overview.ts';
import { addressed, eventually, query, scenario } from './harness/scenario.ts';

interface Control {
  does: string;
  /** Where it starts. */
  from?: string;
  act: (page: Page) => Promise<unknown>;
  /** The parameters after it. */
  address: Record<string, string>;
  /** Passes when the control shows it. */
  shows: (page: Page) => Promise<void>;
}

const isChecked = (name: string) => async (page: Page) =>
  assert.equal(await page.getByRole('radio', { name, exact: true }).isChecked(), true, name);

const all =
  (...checks: ((page: Page) => Promise<void>)[]) =>
  async (page: Page) => {
    for (const check of checks) await check(page);
  };

const isSelected = (label: string, value: string) => async (page: Page) =>
  assert.equal(await page.getByLabel(label, { exact: true }).inputValue(), value);

const isPressed = (name: string, pressed: boolean) => async (page: Page) =>
  assert.equal(await button(page, name).getAttribute('aria-pressed'), `${pressed}`, name);

/** Two weeks ago to a week ago: always two dates of the past. */
const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
const DATES = { from: day(14), to: day(7) };

const CONTROLS: Control[] = [
  {
    does: 'choosing 7 days',
    act: (page) => choose(page, '7 days'),
    address: { range: '7d', granularity: 'hourly' },
    shows: all(isChecked('7 days'), isChecked('Hourly')),
  },
  {
    does: 'choosing 30 days makes the charts daily',
    from: '?range=12m&granularity=monthly',
    act: (page) => choose(page, '30 days'),
    address: { range: '30d', granularity: 'daily' },
    shows: all(isChecked('30 days'), isChecked('Daily')),
  },
  {
    does: 'choosing 90 days',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, '90 days'),
    address: { range: '90d', granularity: 'daily' },
    shows: isChecked('90 days'),
  },
  {
    does: 'choosing 12 months',
    from: '?range=30d&granularity=daily',
    act: (page) => choose(page, '12 months'),
    address: { range: '12m', granularity: 'daily' },
    shows: isChecked('12 months'),
  },
  {
    does: 'choosing weekly widens the range to 90 days',
    act: (page) => choose(page, 'Weekly'),
    address: { range: '90d', granularity: 'weekly' },
    shows: all(isChecked('Weekly'), isChecked('90 days')),
  },
  {
    does: 'choosing monthly widens the range to 12 months',
    act: (page) => choose(page, 'Monthly'),
    address: { range: '12m', granularity: 'monthly' },
    shows: all(isChecked('Monthly'), isChecked('12 months')),
  },
  {
    does: 'comparing with the period before',
    act: (page) => page.getByLabel('Compare with the period before').check(),
    address: { compare: '1' },
    shows: async (page) =>
      assert.equal(await page.getByLabel('Compare with the period before').isChecked(), true),
  },
  {
    does: 'telling times in the local zone',
    act: (page) => page.getByLabel('Times in').selectOption('local'),
    address: { zone: 'local' },
    shows: isSelected('Times in', 'local'),
  },
  {
    does: 'choosing the sparklines of 30 days',
    act: (page) => choose(page, 'last 30 days'),
    address: { trend: '30d' },
    shows: isChecked('last 30 days'),
  },
  {
    does: 'showing a series that is hidden',
    act: (page) => button(page, 'Total users').click(),
    address: { toggled: 'totalUsers' },
    shows: isPressed('Total users', true),
  },
  {
    does: 'hiding a series that is shown',
    act: (page) => button(page, 'New views').click(),
    address: { toggled: 'newViews' },
    shows: all(isPressed('New views', false), async (page) =>
      assert.match((await chart(page, 'views').textContent()) ?? '', /No series is shown/),
    ),
  },
  {
    does: 'looking at a chart as a table',
    act: (page) => button(page, 'Table of Albums').click(),
    address: { tables: 'albums' },
    shows: all(isPressed('Table of Albums', true), async (page) =>
      assert.equal(await region(page, 'Table of Albums').isVisible(), true),
    ),
  },
  {
    does: 'going to the operations',
    act: (page) => page.getByRole('link', { name: 'Operations' }).click(),
    address: { page: 'operations' },
    shows: async (page) =>
      assert.equal(await page.getByRole('link', { name: 'Operations' }).getAttribute('aria-current'), 'page'),
  },
  {
    does: 'filtering the ledger by status',
    from: '?page=operations',
    act: (page) => page.getByLabel('Status', { exact: true }).selectOption('failed'),
    address: { page: 'operations', status: 'failed' },
    shows: isSelected('Status', 'failed'),
  },
  {
    does: 'filtering the ledger by granularity',
    from: '?page=operations',
    act: (page) => page.getByLabel('Granularity of runs').selectOption('daily'),
    address: { page: 'operations', runs: 'daily' },
    shows: isSelected('Granularity of runs', 'daily'),
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
    shows: all(isChecked('Custom'), isSelected('From', DATES.from), isSelected('To', DATES.to)),
  },
];

for (const { does, from = '', act, address, shows } of CONTROLS) {
  scenario(`${does} is in the address`, {}, async ({ page }) => {
    await page.goto(`/${from}`);
    await loaded(page);
    const before = query(page);
    await act(page);
    await addressed(page, address);
    await eventually(() => shows(page));
    await page.reload();
    await loaded(page);
    await eventually(() => shows(page));
    assert.deepEqual(query(page), address);
    await page.goBack();
    await addressed(page, before);
    await loaded(page);
    await assert.rejects(() => shows(page), 'the control is as it was before');
  });
}

async function loaded(page: Page): Promise<void> {
  if (query(page).page === 'operations') await region(page, 'Health').getByText('checked').waitFor();
  else await chartsLoaded(page);
}

scenario('dates that cannot be are refused with the reason', {}, async ({ page }) => {
  await openOverview(page);
  await choose(page, 'Custom');
  const from = page.getByLabel('From', { exact: true });
  const to = page.getByLabel('To', { exact: true });
  const alert = page.getByRole('form', { name: 'Custom dates' }).getByRole('alert');
  for (const [first, last, reason] of [
    [DATES.to, DATES.from, 'The first date is after the last one.'],
    ['2999-01-01', '2999-01-02', 'These dates are in the future.'],
    ['', DATES.to, 'Give both dates.'],
  ] as const) {
    await from.fill(first);
    await to.fill(last);
    await button(page, 'Apply').click();
    await alert.filter({ hasText: reason }).waitFor();
  }
  assert.deepEqual(query(page), {});
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

scenario('a range before the first record says so, and leads to what makes records', {}, async ({ page }) => {
  await openOverview(page, '?from=2020-01-01&to=2020-01-31&granularity=daily');
  await page.getByRole('heading', { name: 'Nothing is recorded for this range' }).waitFor();
  assert.equal(await button(page, 'Export CSV').isDisabled(), true);
  await button(page, 'Go to operations').click();
  await region(page, 'Recalculate').waitFor();
});

scenario('choosing a theme, which is kept for the browser', {}, async ({ page }) => {
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
  // Without a choice of its own the page follows the system.
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
