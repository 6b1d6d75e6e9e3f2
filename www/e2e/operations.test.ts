// The operations page: health, a recalculation from its preview to its end, the ledger.
import assert from 'node:assert/strict';
import type { Locator, Page } from 'playwright-core';
import type { Job, RecalculationPreview, Run, RunPage } from '../src/api/types.ts';
import { formatInstant } from '../src/model/format.ts';
import { button, hasFocus, holdBack, region } from './harness/overview.ts';
import { eventually, query, scenario } from './harness/scenario.ts';
import type { Stage } from './harness/stage.ts';

async function openOperations(page: Page, more = ''): Promise<void> {
  await page.goto(`/?page=operations${more}`);
  await region(page, 'Health').getByText('checked').waitFor();
  await region(page, 'Runs').locator('tbody tr').first().waitFor();
}

async function allRuns(stage: Stage, filter = ''): Promise<Run[]> {
  const runs: Run[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: RunPage = await stage.api.get(`/runs?limit=50${filter}${cursor && `&cursor=${cursor}`}`);
    runs.push(...page.runs);
    cursor = page.nextCursor;
  }
  return runs;
}

const rows = (page: Page): Locator => region(page, 'Runs').locator('tbody tr');
const startedOf = (runs: Run[]) => runs.map(({ startedAt }) => formatInstant(Date.parse(startedAt), 'utc'));

scenario('reading the health of every granularity', {}, async ({ page, stage }) => {
  await openOperations(page);
  const health = await stage.api.health();
  const panel = region(page, 'Health');
  await panel.getByText(health.status, { exact: true }).waitFor();
  const lines = await panel.locator('tbody tr').allTextContents();
  assert.equal(lines.length, health.granularities.length);
  health.granularities.forEach(({ granularity, lastStatus }, at) => {
    assert.ok(lines[at]?.startsWith(granularity), lines[at]);
    assert.ok(lines[at]?.includes(lastStatus ?? 'never'), lines[at]);
  });
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith('/health')),
    button(panel, 'Check again').click(),
  ]);
  assert.equal(answer.status(), 200);
});

scenario('paging through the ledger to its end', {}, async ({ page, stage }) => {
  await openOperations(page);
  const expected = await allRuns(stage);
  const older = button(page, 'Show older runs');
  while ((await rows(page).count()) < expected.length) {
    const before = await rows(page).count();
    await older.click();
    await eventually(async () => assert.ok((await rows(page).count()) > before));
  }
  assert.deepEqual(await rows(page).locator('th').allTextContents(), startedOf(expected));
  assert.equal(await older.count(), 0);
});

scenario(
  'older runs that are loaded late are not shown under another filter',
  {},
  async ({ page, stage }) => {
    await openOperations(page);
    const release = await holdBack(page, '**/runs?*cursor=*');
    const first = await rows(page).count();
    await button(page, 'Show older runs').click();
    await button(page, 'Loading…').waitFor();
    await page.getByLabel('Granularity of runs').selectOption('daily');
    const daily = (await stage.api.get<RunPage>('/runs?granularity=daily')).runs;
    const shown = () => rows(page).locator('th').allTextContents();
    await eventually(async () => assert.deepEqual(await shown(), startedOf(daily)));
    release();
    await page.getByLabel('Granularity of runs').selectOption('any');
    await eventually(async () => assert.equal(await rows(page).count(), first));
    await button(page, 'Show older runs').click();
    await eventually(async () => assert.ok((await rows(page).count()) > first));
  },
);

scenario(
  'a session that expires before older runs are loaded is named as the reason',
  { provokes: [401] },
  async ({ page }) => {
    await openOperations(page);
    await page.route('**/runs?*cursor=*', (route) =>
      route.fulfill({ status: 401, json: { success: false, error: 'Unauthorized', message: 'Sign in.' } }),
    );
    await button(page, 'Show older runs').click();
    await page.getByRole('alert').filter({ hasText: 'Your session has expired' }).waitFor();
  },
);

scenario('filtering the ledger', {}, async ({ page, stage }) => {
  await openOperations(page);
  await page.getByLabel('Granularity of runs').selectOption('daily');
  const daily = (await stage.api.get<RunPage>('/runs?granularity=daily')).runs;
  await eventually(async () =>
    assert.deepEqual(await rows(page).locator('th').allTextContents(), startedOf(daily)),
  );
  await page.getByLabel('Status', { exact: true }).selectOption('complete');
  const complete = daily.filter(({ status }) => status === 'complete');
  await eventually(async () =>
    assert.deepEqual(await rows(page).locator('th').allTextContents(), startedOf(complete)),
  );
  await page.getByLabel('Status', { exact: true }).selectOption('held');
  await region(page, 'Runs').getByText('No run matches these filters.').waitFor();
});

const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);

async function ask(page: Page, metrics: string, day: string): Promise<void> {
  const form = page.getByRole('form', { name: 'Recalculation' });
  await form.getByLabel('Metrics').selectOption(metrics);
  await form.getByLabel('Periods').selectOption('hourly');
  await form.getByLabel('First day').fill(day);
  await form.getByLabel('Last day').fill(day);
  await button(form, 'Preview').click();
}

scenario('recalculating a day, from the preview to the end', {}, async ({ page, stage }) => {
  await openOperations(page);
  const previewed = page.waitForResponse((response) => response.url().includes('preview=true'));
  await ask(page, 'all', yesterday);
  const preview = ((await (await previewed).json()) as { data: RecalculationPreview }).data;
  assert.equal(preview.periods, 24);
  await page.getByText('24 hourly periods').waitFor();
  await page.getByText(`Also refreshed: ${preview.refreshed.daily} daily`).waitFor();

  const title = page.getByRole('heading', { name: 'Recalculate', exact: true });
  await button(page, 'Start recalculation').focus();
  await page.keyboard.press('Enter');
  await eventually(() => assert.ok(query(page).job));
  // The button is gone; the focus is still at the same place.
  await eventually(async () => assert.equal(await hasFocus(title), true));
  const progress = page.getByRole('progressbar', { name: 'Recalculation of all, hourly' });
  await progress.waitFor();
  // Its progress is shown to its end, also after a reload: the URL names the job.
  await page.reload();
  await progress.waitFor();
  await page.locator('[data-job="complete"]').waitFor({ timeout: 45_000 });
  await page.getByText('24 of 24 periods done, finished').waitFor();
  assert.equal(await progress.evaluate((element) => (element as HTMLProgressElement).value), 24);
  const job = await stage.api.get<Job>(`/recalculate/${query(page).job}`);
  assert.deepEqual([job.status, job.done, job.failed], ['complete', 24, 0]);

  await button(page, 'Dismiss').focus();
  await page.keyboard.press('Enter');
  await eventually(() => assert.equal(query(page).job, undefined));
  await eventually(async () => assert.equal(await hasFocus(title), true));
  // The ledger has it, as every run.
  await page.reload();
  await rows(page).filter({ hasText: 'recalculate' }).first().waitFor();
});

scenario('overwriting must be selected, and is sent', {}, async ({ page }) => {
  const bodies: unknown[] = [];
  await page.route('**/recalculate?preview=true', (route) => {
    bodies.push(route.request().postDataJSON());
    return route.continue();
  });
  await openOperations(page);
  await ask(page, 'users', yesterday);
  await button(page, 'Start recalculation').waitFor();
  await page.getByLabel('Overwrite').check();
  // Another choice needs another preview.
  await button(page, 'Start recalculation').waitFor({ state: 'detached' });
  await button(page, 'Preview').click();
  await page.getByText('Observed values are replaced.').waitFor();
  const body = {
    metricType: 'users',
    granularity: 'hourly',
    startDate: `${yesterday}T00:00:00.000Z`,
    endDate: `${yesterday}T23:59:59.999Z`,
  };
  assert.deepEqual(bodies, [body, { ...body, overwrite: true }]);
});

scenario('ending a recalculation that makes no progress', {}, async ({ page }) => {
  const jobId = '0123456789abcdef0123456789abcdef';
  const range = { startDate: `${yesterday}T00:00:00.000Z`, endDate: `${yesterday}T23:59:59.999Z` };
  const running = {
    ...{ jobId, status: 'running', metricType: 'all', granularity: 'hourly', ...range },
    ...{ periods: 24, done: 3, failed: 0, reasons: [], lastReason: 'DynamoDB is overloaded' },
    ...{ startedAt: range.startDate, finishedAt: null },
  };
  const reasons = ['dismissed by an administrator'];
  const ended = { ...running, status: 'failed', reasons, lastReason: null, finishedAt: range.endDate };
  // The response is simulated: a real job would not wait for the button.
  let dismissed = false;
  await page.route(`**/recalculate/${jobId}`, (route) => {
    dismissed ||= route.request().method() === 'DELETE';
    return route.fulfill({ json: { success: true, data: dismissed ? ended : running } });
  });
  await openOperations(page, `&job=${jobId}`);
  await page.getByText('Last attempt failed: DynamoDB is overloaded').waitFor();
  await button(page, 'End recalculation').click();
  await button(page, 'Keep running').click();
  assert.equal(dismissed, false);
  await button(page, 'End recalculation').click();
  await button(page, 'Confirm').click();
  await page.locator('[data-job="failed"]').getByText('dismissed by an administrator').waitFor();
  await button(page, 'Dismiss').click();
  await eventually(() => assert.equal(query(page).job, undefined));
});

scenario('a preview of earlier choices is not shown', {}, async ({ page }) => {
  await openOperations(page);
  const release = await holdBack(page, '**/recalculate?preview=true', 1);
  await ask(page, 'users', yesterday);
  await page.getByLabel('Metrics').selectOption('media');
  // A new preview does not wait for an earlier one.
  await button(page, 'Preview').click();
  await page.getByText('24 hourly periods of Media from').waitFor();
  const late = page.waitForResponse((response) => response.url().includes('preview=true'));
  release();
  await late;
  await page.getByText('24 hourly periods of Media from').waitFor();
  assert.equal(await page.getByText('24 hourly periods of Users').count(), 0);
});

scenario('cancelling a preview, which starts nothing', {}, async ({ page }) => {
  await openOperations(page);
  await ask(page, 'users', yesterday);
  await button(page, 'Start recalculation').waitFor();
  await button(page, 'Cancel').click();
  assert.equal(await button(page, 'Start recalculation').count(), 0);
  // Another choice needs another preview.
  await button(page, 'Preview').click();
  await button(page, 'Start recalculation').waitFor();
  await page.getByLabel('Metrics').selectOption('media');
  assert.equal(await button(page, 'Start recalculation').count(), 0);
  assert.equal(query(page).job, undefined);
});

scenario(
  'asking for too much, or for the future, is refused with the reason',
  { provokes: [400] },
  async ({ page }) => {
    await openOperations(page);
    const alert = region(page, 'Recalculate').getByRole('alert');
    await ask(page, 'all', '2999-01-01');
    await alert.filter({ hasText: 'The first date is in the future.' }).waitFor();
    await page.getByLabel('First day').fill('2020-01-01');
    await page.getByLabel('Last day').fill(yesterday);
    await button(page, 'Preview').click();
    await alert.filter({ hasText: /2,000|2000/ }).waitFor();
  },
);

scenario('an unknown recalculation is reported as unknown', { provokes: [404] }, async ({ page }) => {
  await openOperations(page, '&job=0123456789abcdef0123456789abcdef');
  await page.getByText('The recalculation could not be loaded.').waitFor();
  await button(page, 'Dismiss').click();
  await eventually(() => assert.equal(query(page).job, undefined));
});
