// Outages and recoveries of the cache, the database and the network.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { HOUR } from '../src/model/period.ts';
import { END } from './harness/environment.ts';
import { button, chart, chartsLoaded, choose, openOverview, region } from './harness/overview.ts';
import { eventually, scenario } from './harness/scenario.ts';

const banner = (page: Page, text: string | RegExp) => page.getByRole('status').filter({ hasText: text });
const card = (page: Page) => page.locator('li.card[data-metric="totalUsers"] .card-value');
const views = (page: Page) => region(page, 'Right now').locator('.realtime-figure', { hasText: 'Views' });

/** Slightly longer than the Worker retries a request to DynamoDB. */
const WORKER_PATIENCE = 45_000;

scenario(
  'KV is emptied under the page: what is in records stays, the rest is counted anew',
  {},
  async ({ page, stage }) => {
    await openOverview(page);
    await views(page).locator('strong').waitFor();
    const headline = await card(page).textContent();
    const newest = chart(page, 'users').locator('.legend-value').first();
    const figure = await newest.textContent();
    assert.ok((await stage.worker.emptyCache()) > 0, 'there was something in it');

    await page.reload();
    await chartsLoaded(page);
    await eventually(async () => assert.equal(await card(page).textContent(), headline));
    assert.equal(await newest.textContent(), figure);

    // Counted for each request until KV can be written again.
    const refresh = button(region(page, 'Right now'), 'Refresh');
    await eventually(async () => {
      await refresh.click();
      await views(page).locator('strong').waitFor({ timeout: 1_000 });
    });
    await stage.api.fillCache();
    await page.reload();
    await views(page).locator('strong').waitFor();
  },
);

scenario(
  'DynamoDB stops under the page and comes back: what was loaded stays, the rest comes by itself',
  { provokes: [503] },
  async ({ page, context, stage }) => {
    await openOverview(page);
    const newest = (on: Page) => chart(on, 'users').locator('.legend-value').first();
    const figure = await newest(page).textContent();
    const other = await context.newPage();
    await stage.gate.shut();
    try {
      // What was not loaded before is reported once for the page, and in its place.
      await choose(page, '7 days');
      await other.goto('/?range=30d&granularity=daily');
      for (const on of [page, other]) {
        await banner(on, 'Database unavailable.').waitFor({ timeout: WORKER_PATIENCE });
        await on.getByText('The charts could not be loaded.').waitFor({ timeout: WORKER_PATIENCE });
      }
      await banner(other, /Next attempt in|Trying/).waitFor();
      // What was loaded is still shown.
      await choose(page, '24 hours');
      await chartsLoaded(page);
      assert.equal(await newest(page).textContent(), figure);
      await choose(page, '7 days');
    } finally {
      await stage.gate.open();
    }
    // On one page the button is pressed, on the other it is not.
    await button(other, 'Try now').click();
    for (const on of [other, page]) {
      await chartsLoaded(on, WORKER_PATIENCE);
      await banner(on, 'Database unavailable.').waitFor({ state: 'detached', timeout: WORKER_PATIENCE });
      assert.match((await newest(on).textContent()) ?? '', /\d/);
      await views(on).locator('strong').waitFor();
      await card(on).waitFor();
    }
  },
);

scenario('the network fails and recovers', { provokes: ['offline'] }, async ({ page, context }) => {
  await openOverview(page);
  const figure = await chart(page, 'views').locator('.legend-value').first().textContent();
  await context.setOffline(true);
  await button(region(page, 'Right now'), 'Refresh').click();
  await banner(page, 'Offline.').waitFor();
  assert.equal(await chart(page, 'views').locator('.legend-value').first().textContent(), figure);
  await context.setOffline(false);
  await banner(page, 'Offline.').waitFor({ state: 'detached' });
});

/** Makes the types that `fails` selects fail with the Worker's response; others succeed. */
async function failTypes(page: Page, fails: (type: string, start: string) => boolean): Promise<void> {
  await page.route('**/metrics?*', (route) => {
    const query = new URL(route.request().url()).searchParams;
    return fails(query.get('metricType') ?? '', query.get('startDate') ?? '')
      ? route.fulfill({
          status: 500,
          json: { success: false, error: 'Internal error', message: 'It was refused.' },
        })
      : route.continue();
  });
}

scenario('a type that cannot be read is not shown as absent', { provokes: [500] }, async ({ page }) => {
  await failTypes(page, (type) => type === 'all' || type === 'interactions');
  await openOverview(page);
  await chart(page, 'interactions').getByText('Interactions could not be loaded.').waitFor();
  const engaged = region(page, 'Most engaged content');
  await engaged.getByText('The most engaged content could not be loaded.').waitFor();
  assert.equal(await engaged.getByText('No ranking is recorded').count(), 0);
  await page.getByText('Not loaded, and not in the exported CSV: Interactions.').waitFor();

  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Export CSV').click()]);
  const header = (await readFile(await download.path(), 'utf8')).split('\r\n')[0]?.split(',') ?? [];
  assert.ok(header.includes('newUsers'));
  for (const metric of ['newViews', 'newLikes', 'totalComments']) assert.ok(!header.includes(metric), metric);
});

scenario(
  'a type that cannot be read of the previous period is not shown as zero',
  { provokes: [500] },
  async ({ page }) => {
    const first = new Date(END - 24 * HOUR).toISOString();
    await failTypes(page, (type, start) => start < first && (type === 'all' || type === 'users'));
    await openOverview(page, '?compare=1');
    await chart(page, 'users').getByText('previous: not loaded').first().waitFor();
    await page.getByText('Users of the previous period could not be loaded: It was refused.').waitFor();
    assert.equal(await chart(page, 'users').getByText('no earlier values').count(), 0);
    await chart(page, 'media')
      .getByText(/vs previous|on \d+ of \d+/)
      .first()
      .waitFor();
  },
);
