// Realtime counters and headline figures have the values of the API, and are refreshed on request.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import type { Headline, Realtime } from '../src/api/types.ts';
import { metricNamed } from '../src/model/catalogue.ts';
import { formatExact, formatPercent, formatSigned } from '../src/model/format.ts';
import { DAY } from '../src/model/period.ts';
import { NOW } from './harness/environment.ts';
import {
  button,
  choose,
  hasFocus,
  holdBack,
  openOverview,
  realtimeAge,
  region,
  unmarked,
} from './harness/overview.ts';
import { eventually, scenario } from './harness/scenario.ts';

const FIGURES: Record<string, string> = {
  'Last 5 minutes': 'visitorsLast5Minutes',
  'Last 30 minutes': 'visitorsLast30Minutes',
  Users: 'newUsersLast24Hours',
  Views: 'newViewsLast24Hours',
  Media: 'newMediaLast24Hours',
  Albums: 'newAlbumsLast24Hours',
  Likes: 'newLikesLast24Hours',
  Bookmarks: 'newBookmarksLast24Hours',
  Comments: 'newCommentsLast24Hours',
  Generations: 'newGenerationsLast24Hours',
  Revenue: 'newRevenueLast24Hours',
};

/** The counters of "Right now" by their labels. */
async function rightNow(page: Page): Promise<Record<string, string>> {
  const figures = region(page, 'Right now').locator('.realtime-figure');
  return Object.fromEntries(
    await figures.evaluateAll((all) =>
      all.map((one) => [one.querySelector('dt')?.textContent, one.querySelector('dd strong')?.textContent]),
    ),
  );
}

/** The counter of "Right now" with that label. */
const figure = (page: Page, label: string) =>
  region(page, 'Right now')
    .locator('.realtime-figure')
    .filter({ has: page.getByText(label, { exact: true }) });

scenario('reading the realtime counters', {}, async ({ page }) => {
  // Compared with the response that the page got: another one may be newer.
  let answered: Realtime | undefined;
  page.on('response', async (response) => {
    if (response.url().includes('/realtime')) answered = ((await response.json()) as { data: Realtime }).data;
  });
  await openOverview(page);
  await eventually(async () => {
    const counters = answered?.counters ?? [];
    const expected = Object.entries(FIGURES).map(([label, key]) => {
      const counter = counters.find(({ metricKey }) => metricKey === key);
      assert.ok(counter && typeof counter.value === 'number', `the API has ${key}`);
      return [label, formatExact(counter.value, label === 'Revenue' ? 'usd' : 'count')];
    });
    assert.deepEqual(await rightNow(page), Object.fromEntries(expected));
  });
  await realtimeAge(page).waitFor();

  // Users are as of the last hour that was counted, media as of now.
  const counted = answered?.counters.find(
    ({ metricKey }) => metricKey === 'newUsersLast24Hours',
  )?.lastUpdated;
  await figure(page, 'Users')
    .getByText(`as of ${counted?.slice(11, 16)}`, { exact: true })
    .waitFor();
  assert.equal(await figure(page, 'Media').getByText('as of').count(), 0);
});

scenario('a day without a counted hour has no value', {}, async ({ page }) => {
  const midnight = new Date(Math.floor(NOW / DAY) * DAY).toISOString();
  await page.route('**/realtime', async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { data: Realtime };
    for (const counter of body.data.counters) {
      if (counter.metricKey === 'newUsersToday') Object.assign(counter, { value: 0, lastUpdated: midnight });
    }
    await route.fulfill({ response: answer, json: body });
  });
  await openOverview(page);
  await figure(page, 'Users').getByText('today no data yet').waitFor();
  assert.match((await figure(page, 'Media').textContent()) ?? '', /today [\d,]+/);
});

scenario('the counters appear soon after the first snapshot', {}, async ({ page }) => {
  let asked = 0;
  await page.route('**/realtime', (route) => {
    asked += 1;
    const data = { source: 'kv', refreshing: true, lastUpdated: null, stale: true, counters: [] };
    return asked < 3 ? route.fulfill({ json: { success: true, data } }) : route.continue();
  });
  await openOverview(page);
  await figure(page, 'Users').getByText('no data').waitFor();
  // After twice three seconds, not thirty.
  await realtimeAge(page).waitFor({ timeout: 12_000 });
  assert.ok(asked >= 3);
});

scenario('refreshing by keyboard keeps the focus', {}, async ({ page }) => {
  await openOverview(page);
  await realtimeAge(page).waitFor();
  let asked = 0;
  page.on('request', (request) => {
    if (request.url().includes('fresh=true')) asked += 1;
  });
  const release = await holdBack(page, '**/realtime?fresh=true');
  const refresh = button(region(page, 'Right now'), 'Refresh');
  await refresh.focus();
  await page.keyboard.press('Enter');
  await eventually(async () => assert.equal(await refresh.getAttribute('aria-disabled'), 'true'));
  assert.equal(await hasFocus(refresh), true);
  // During a refresh the button does nothing.
  await page.keyboard.press('Enter');
  assert.equal(asked, 1);
  release();
  await eventually(async () => assert.equal(await refresh.getAttribute('aria-disabled'), null));
  assert.equal(await hasFocus(refresh), true);
  assert.equal(asked, 1);
});

scenario('refreshing the realtime counters', {}, async ({ page }) => {
  await openOverview(page);
  const panel = region(page, 'Right now');
  const before = await realtimeAge(page).getAttribute('datetime');
  // Fresh counters are computed at most once in ten seconds.
  await page.waitForTimeout(10_500);
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith('/realtime?fresh=true')),
    button(panel, 'Refresh').click(),
  ]);
  assert.equal(answer.status(), 200);
  await eventually(async () => {
    const after = await realtimeAge(page).getAttribute('datetime');
    assert.ok(Date.parse(after ?? '') > Date.parse(before ?? ''), `${before} is followed by ${after}`);
  });
});

scenario('reading the headline figures', {}, async ({ page, stage }) => {
  await openOverview(page);
  const { headlines } = await stage.api.dashboard();
  assert.equal(headlines.length, 15);
  const cards = region(page, 'Headline figures').locator('li.card[data-metric]');
  await eventually(async () => assert.equal(await cards.count(), headlines.length));
  for (const headline of headlines) {
    const card = page.locator(`li.card[data-metric="${headline.metric}"]`);
    const { label, unit } = metricNamed(headline.metric, headline.metricType);
    assert.equal(await card.locator('h3').textContent(), label);
    const value = headline.value === null ? 'no data' : formatExact(headline.value, unit);
    assert.equal(unmarked(await card.locator('.card-value').textContent()), value, headline.metric);
    const change = unmarked(await card.locator('.card-change').textContent());
    assert.ok(change.includes(changeOf(headline)), `${headline.metric}: ${change}`);
    await assertSparkline(page, headline, 'last 24 hours', headline.last24Hours);
    // Every hour and day that is due has been counted.
    assert.equal(await card.getByText('outdated').count(), 0, headline.metric);
  }
  await choose(page, 'last 30 days');
  for (const headline of headlines) {
    await assertSparkline(page, headline, 'last 30 days', headline.last30Days);
  }
});

function changeOf({ metric, metricType, change }: Headline): string {
  if (!change) return 'no earlier period to compare with';
  const percent = change.percent === null ? '' : ` (${formatPercent(change.percent)})`;
  return formatSigned(change.absolute, metricNamed(metric, metricType).unit) + percent;
}

/** Its label has the lowest and the highest value, and how many are missing. */
async function assertSparkline(
  page: Page,
  { metric, metricType }: Headline,
  what: string,
  points: Headline['last24Hours'],
): Promise<void> {
  const { unit } = metricNamed(metric, metricType);
  const values = points.flatMap(({ value }) => (value === null ? [] : [Number(value)]));
  const holes = points.length - values.length;
  const reconstructed = points.filter((point) => point.reconstructed !== undefined).length;
  const stale = points.filter((point) => point.stale).length;
  const expected =
    values.length === 0
      ? `no data in the ${what}`
      : `${what}: from ${formatExact(Math.min(...values), unit)} to ${formatExact(Math.max(...values), unit)}` +
        (holes > 0 ? `, ${holes} of ${points.length} without a value` : '') +
        (reconstructed > 0 ? `, ${reconstructed} of ${points.length} reconstructed` : '') +
        (stale > 0 ? `, ${stale} of ${points.length} stale` : '');
  const line = page.locator(`li.card[data-metric="${metric}"] .sparkline`);
  await eventually(async () => {
    const text = (await line.getAttribute('aria-label')) ?? (await line.textContent());
    assert.equal(text, expected, metric);
  });
}
