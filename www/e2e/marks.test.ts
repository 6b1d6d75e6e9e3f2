// Marks of values that are not final (reconstructed, stale, running), and that no digit is lost.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import type { AllMetrics, DataPoint } from '../src/api/types.ts';
import { formatExact, formatPeriod, formatTime } from '../src/model/format.ts';
import { DAY, HOUR, MINUTE } from '../src/model/period.ts';
import { markDay } from './harness/dynamodb.ts';
import { END } from './harness/environment.ts';
import { button, chart, openOverview, picture, region, tableOf } from './harness/overview.ts';
import { eventually, scenario } from './harness/scenario.ts';

const TODAY = Math.floor(END / DAY) * DAY;
const iso = (instant: number) => new Date(instant).toISOString();
const date = (instant: number) => iso(instant).slice(0, 10);

/** The queries of all calls of /metrics from now on. */
function metricsAsked(page: Page): URLSearchParams[] {
  const asked: URLSearchParams[] = [];
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.pathname.endsWith('/metrics')) asked.push(url.searchParams);
  });
  return asked;
}

async function exportedLines(page: Page, name: string): Promise<string[]> {
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, name).click()]);
  return (await readFile(await download.path(), 'utf8')).trimEnd().split('\r\n');
}

scenario(
  'a reconstructed value and a stale day are marked in picture, table and CSV',
  {},
  async ({ page }) => {
    // Dates that no other test requests.
    const [from, to] = [TODAY - 7 * DAY, TODAY - 3 * DAY];
    const day = from + DAY;
    const takeBack = await markDay('users', day, { visitors: 'lowerBound', newUsers: 'estimate' });
    try {
      await openOverview(page, `?from=${date(from)}&to=${date(to)}&granularity=daily`);
      const users = chart(page, 'users');
      await users.getByText('reconstructed, 1').waitFor();
      await users.getByText('↻ stale: 1').waitFor();
      assert.match(
        (await page.locator('#summary-users').textContent()) ?? '',
        /Reconstructed values in 1 period\. Stale: 1 period\./,
      );
      // Every value that is computed from the day has its mark.
      const total = users.locator('.legend-item', { hasText: 'New users' }).locator('.legend-value');
      await total.getByRole('img', { name: 'reconstructed: an estimate' }).waitFor();

      await picture(page, 'Users').focus();
      await page.keyboard.press('Home');
      await page.keyboard.press('ArrowRight');
      const readout = users.locator('[data-readout]');
      await readout.getByText('≥ reconstructed: a lower bound').waitFor();
      await readout.getByText('≈ reconstructed: an estimate').waitFor();
      await readout
        .getByText('↻ stale: a finer period has changed, so this value will be recomputed')
        .waitFor();
      assert.match(
        (await users.locator('[aria-live]').textContent()) ?? '',
        /Visitors: [\d,]+ \(reconstructed: a lower bound; stale: /,
      );

      const lines = await exportedLines(page, 'Export Users as CSV');
      const row = lines.find((line) => line.startsWith(iso(day)));
      assert.match(row ?? '', /,true,visitors:lowerBound newUsers:estimate,true,/);
      assert.match(lines.find((line) => line.startsWith(iso(day + DAY))) ?? '', /,false,,true,/);

      await button(page, 'Table of Users').click();
      const { header, rows } = await tableOf(page, 'Users');
      const cells = rows.find(([period]) => period === formatPeriod(day, 'daily', 'utc')) ?? [];
      assert.match(cells[header.indexOf('Visitors')] ?? '', /^≥↻[\d,]+$/);
      assert.match(cells[header.indexOf('New users')] ?? '', /^≈↻[\d,]+$/);
      assert.match(
        cells.at(-1) ?? '',
        /\(stale: a finer period has changed, so this value will be recomputed\)$/,
      );
    } finally {
      await takeBack();
    }
  },
);

const RUNNING: DataPoint = {
  timestamp: iso(END),
  endTimestamp: iso(END + HOUR - 1),
  metrics: { newMedia: 1234 },
  calculatedAt: iso(END + 20 * MINUTE),
  complete: false,
  asOf: iso(END + 19 * MINUTE),
};

scenario(
  'the running hour is the last point, and a past range does not request it',
  {},
  async ({ page, stage }) => {
    const asked = metricsAsked(page);
    // The Worker's clock runs, and may be in a later hour than the page's clock.
    await page.route('**/metrics?*current=true*', async (route) => {
      const answer = await route.fetch();
      const body = (await answer.json()) as { data: AllMetrics };
      for (const { metricType, dataPoints } of body.data.allMetrics) {
        if (dataPoints[0]?.complete === false) dataPoints.shift();
        if (metricType === 'media') dataPoints.unshift(RUNNING);
      }
      await route.fulfill({ response: answer, json: body });
    });
    await openOverview(page);
    assert.deepEqual(
      asked.map((query) => query.get('current')),
      ['true'],
    );
    const media = chart(page, 'media');
    await media.scrollIntoViewIfNeeded();
    await picture(page, 'Media').focus();
    await page.keyboard.press('End');
    const readout = media.locator('[data-readout]');
    await readout.getByText(`${formatPeriod(END, 'hourly', 'utc')} UTC`).waitFor();
    assert.match((await readout.textContent()) ?? '', /so far, as of \d\d:19 UTC$/);
    const value = media.locator('.legend-item', { hasText: 'New media' }).locator('.legend-value');
    assert.equal(await value.textContent(), '1,234 so far');

    // Values of the range do not include it.
    await page.keyboard.press('Escape');
    const records = (await stage.api.records('hourly', END - 24 * HOUR, END - 1)).get('media');
    const sum = [...(records ?? [])].reduce((total, [, record]) => total + newMediaOf(record), 0);
    await eventually(async () =>
      assert.equal(await value.textContent(), `${formatExact(sum, 'count')} total`),
    );

    await button(page, 'Table of Media').click();
    const row = region(page, 'Table of Media').locator('tr.running');
    assert.match((await row.textContent()) ?? '', /1,234.*running: so far, as of \d\d:19 UTC$/);

    asked.length = 0;
    await openOverview(page, `?from=${date(TODAY - 5 * DAY)}&to=${date(TODAY - 2 * DAY)}&granularity=daily`);
    assert.deepEqual(
      asked.map((query) => query.get('current')),
      [null],
    );
  },
);

function newMediaOf({ metrics }: DataPoint): number {
  assert.equal(typeof metrics.newMedia, 'number');
  return metrics.newMedia as number;
}

scenario('a count beyond 2^53 keeps all its digits', {}, async ({ page }) => {
  const start = END - 3 * HOUR;
  await page.route('**/metrics?*', async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { data: AllMetrics };
    const media = body.data.allMetrics.find(({ metricType }) => metricType === 'media');
    const point = media?.dataPoints.find(({ timestamp }) => timestamp === iso(start));
    assert.ok(point);
    point.metrics.totalMedia = -1;
    // No number of this script can represent it.
    await route.fulfill({
      response: answer,
      body: JSON.stringify(body).replace('"totalMedia":-1', '"totalMedia":9007199254740993'),
    });
  });
  await openOverview(page);
  const lines = await exportedLines(page, 'Export Media as CSV');
  assert.match(lines.find((line) => line.startsWith(iso(start))) ?? '', /,9007199254740993,/);
  await button(page, 'Table of Media').click();
  const { header, rows } = await tableOf(page, 'Media');
  const cells = rows.find(([period]) => period?.includes(`${formatTime(start, 'utc')}–`)) ?? [];
  assert.equal(cells[header.indexOf('Total media')], '9,007,199,254,740,993');
});
