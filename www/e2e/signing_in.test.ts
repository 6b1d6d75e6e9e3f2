// Signing in: by token, by the platform's session, and every rejection.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { SESSIONS } from './harness/environment.ts';
import { button, chartsLoaded, openOverview, region } from './harness/overview.ts';
import { eventually, scenario } from './harness/scenario.ts';
import { bring } from './harness/scene.ts';

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name, exact: true });
const field = (page: Page) => page.getByLabel('API token');

async function signIn(page: Page, token: string): Promise<void> {
  await field(page).fill(token);
  await button(page, 'Sign in').click();
}

async function isRefused(page: Page, reason: RegExp): Promise<void> {
  await heading(page, 'Sign in').waitFor();
  await page.getByRole('alert').filter({ hasText: reason }).waitFor();
}

scenario(
  'signing in with a token, which stays after a reload, and signing out',
  // No request is rejected: the page sends none that would be.
  { as: 'nobody' },
  async ({ page, stage }) => {
    const asked: string[] = [];
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (pathname.startsWith('/api/')) asked.push(pathname);
    });
    await page.goto('/');
    await heading(page, 'Sign in').waitFor();
    assert.deepEqual(asked, ['/api/admin/analytics/session']);
    // There is no error before the first attempt.
    assert.equal(await page.getByRole('alert').count(), 0);
    await eventually(async () => assert.equal(await page.title(), 'Sign in · Analytics'));

    await signIn(page, stage.token);
    await heading(page, 'Overview').waitFor();
    await chartsLoaded(page);
    await page.reload();
    await chartsLoaded(page);

    await button(page, 'Sign out').click();
    await heading(page, 'Sign in').waitFor();
    assert.equal(await page.getByRole('alert').count(), 0);
    assert.equal(await region(page, 'Over time').count(), 0);
    await page.reload();
    await heading(page, 'Sign in').waitFor();
  },
);

scenario(
  'a wrong token is rejected with a reason, and the right one works afterwards',
  { as: 'nobody', provokes: [401] },
  async ({ page, stage }) => {
    await page.goto('/?page=operations');
    await signIn(page, `${stage.token}x`);
    await isRefused(page, /^This API token is not valid/);
    // So is a token with characters that no request can contain.
    await signIn(page, 'пароль');
    await isRefused(page, /^This API token is not valid/);
    // The page that was requested is shown after signing in.
    await signIn(page, stage.token);
    await heading(page, 'Operations').waitFor();
    await region(page, 'Health').getByText('checked').waitFor();
  },
);

scenario('an administrator of the platform is signed in without a token', {}, async ({ page }) => {
  await openOverview(page);
  assert.equal(await field(page).count(), 0);
  await button(page, 'Sign out').click();
  await heading(page, 'Sign in').waitFor();
  await button(page, 'Use the platform’s session').click();
  await heading(page, 'Overview').waitFor();
  await chartsLoaded(page);
});

scenario(
  'an ordinary user of the platform is asked to sign in as an administrator',
  { as: 'ordinary', provokes: [403] },
  async ({ page }) => {
    await page.goto('/');
    await heading(page, 'Sign in').waitFor();
    // There is no error before the first attempt.
    assert.equal(await page.getByRole('alert').count(), 0);
    await button(page, 'Use the platform’s session').click();
    await isRefused(page, /not as an administrator/);
  },
);

scenario(
  'a session that expires while the page is open is named as the reason',
  { provokes: [401] },
  async ({ page, context, stage }) => {
    await openOverview(page);
    await bring(context, stage, SESSIONS.expired);
    await page.getByRole('link', { name: 'Operations' }).click();
    await isRefused(page, /^Your session has expired/);
    await signIn(page, stage.token);
    await heading(page, 'Operations').waitFor();
  },
);

scenario(
  'a token that is removed while the page is open is named as the reason',
  { as: 'nobody', provokes: [401] },
  async ({ page, stage }) => {
    await page.goto('/');
    await signIn(page, stage.token);
    await chartsLoaded(page);
    await page.evaluate(() => sessionStorage.setItem('edge-analytics.token', 'withdrawn'));
    await page.getByRole('link', { name: 'Operations' }).click();
    await isRefused(page, /^This API token is no longer valid/);
  },
);

scenario(
  'a token that was removed before the page is opened again is named as the reason',
  { as: 'nobody' },
  async ({ page, stage }) => {
    await page.goto('/');
    await signIn(page, stage.token);
    await chartsLoaded(page);
    await page.evaluate(() => sessionStorage.setItem('edge-analytics.token', 'withdrawn'));
    await page.reload();
    await isRefused(page, /^This API token is no longer valid/);
  },
);
