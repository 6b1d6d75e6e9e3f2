// What happens right now and the headline figures: they are the API's, and renew themselves on request.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import type { Headline } from '../src/api/types.ts';
import { metricNamed } from '../src/model/catalogue.ts';
import { formatExact, formatPercent, formatSigned } from '../src/model/format.ts';
import { button, choose, openOverview, region } from './harness/overview.ts';
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

/** The figures of "Right now" by their labels. */
async function rightNow(page: Page): Promise<Record<string, string>> {
  const figures = region(page, 'Right now').locator('.realtime-figure');
  return Object.fromEntries(
    await figures.evaluateAll((all) =>
      all.map((one) => [one.querySelector('dt')?.textContent, one.querySelector('dd strong')?.textContent]),
    ),
  );
}

scenario('seeing what happens right now', {}, async ({ page, stage }) => {
  await openOverview(page);
  // Both may be renewed between the two looks: what counts is that they come to agree.
  await eventually(async () => {
    const { counters } = await stage.api.realtime();
    const expected = Object.entries(FIGURES).map(([label, key]) => {
      const counter = counters.find(({ metricKey }) => metricKey === key);
      assert.ok(counter && typeof counter.value === 'number', `the API has ${key}`);
      return [label, formatExact(counter.value, label === 'Revenue' ? 'usd' : 'count')];
    });
    assert.deepEqual(await rightNow(page), Object.fromEntries(expected));
  });
  await region(page, 'Right now').getByText('as of').waitFor();
});

scenario('counting anew what happens right now', {}, async ({ page }) => {
  await openOverview(page);
  const panel = region(page, 'Right now');
  const before = await panel.getByText('as of').locator('time').getAttribute('datetime');
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith('/realtime?fresh=true')),
    button(panel, 'Refresh').click(),
  ]);
  assert.equal(answer.status(), 200);
  await eventually(async () => {
    const after = await panel.getByText('as of').locator('time').getAttribute('datetime');
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
    assert.equal(await card.locator('.card-value').textContent(), value, headline.metric);
    const change = (await card.locator('.card-change').textContent()) ?? '';
    assert.ok(change.includes(changeOf(headline)), `${headline.metric}: ${change}`);
    await assertSparkline(page, headline, 'last 24 hours', headline.last24Hours);
    // Everything that is due has been counted, hours and days.
    assert.equal(await card.getByText('stale').count(), 0, headline.metric);
  }
  await choose(page, 'last 30 days');
  for (const headline of headlines) {
    await assertSparkline(page, headline, 'last 30 days', headline.last30Days);
  }
});

function changeOf({ metric, metricType, change }: Headline): string {
  if (!change) return 'no period before to compare';
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
  const values = points.flatMap(({ value }) => (value === null ? [] : [value]));
  const holes = points.length - values.length;
  const expected =
    values.length === 0
      ? `no data in the ${what}`
      : `${what}: from ${formatExact(Math.min(...values), unit)} to ${formatExact(Math.max(...values), unit)}` +
        (holes > 0 ? `, ${holes} of ${points.length} without a value` : '');
  const line = page.locator(`li.card[data-metric="${metric}"] .sparkline`);
  await eventually(async () => {
    const text = (await line.getAttribute('aria-label')) ?? (await line.textContent());
    assert.equal(text, expected, metric);
  });
}
