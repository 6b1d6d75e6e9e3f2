// No page in any state has a violation of WCAG 2.2 AA or of axe's best practices, or needs horizontal
// scrolling.
import assert from 'node:assert/strict';
import AxeBuilder from '@axe-core/playwright';
import type { Page } from 'playwright-core';
import { button, chartsLoaded, choose, realtimeAge, region } from './harness/overview.ts';
import { scenario } from './harness/scenario.ts';
import { DESKTOP, PHONE, type Visitor } from './harness/scene.ts';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'];

/** A page must fit into 320 CSS pixels without scrolling in two directions. */
const NARROWEST = { width: 320, height: 640 };

async function assertAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze();
  const found = violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n  ${nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ''}`).join('\n  ')}`,
  );
  assert.deepEqual(found, []);
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok((content ?? 0) <= (window ?? 0), `${content} pixels of content in a window of ${window}`);
}

interface State {
  name: string;
  visitor?: Visitor;
  open: (page: Page) => Promise<unknown>;
}

async function overview(page: Page): Promise<void> {
  await page.goto('/');
  await chartsLoaded(page);
  await page.locator('li.card[data-metric]').first().waitFor();
  await realtimeAge(page).waitFor();
}

async function operations(page: Page): Promise<void> {
  await page.goto('/?page=operations');
  await region(page, 'Health').getByText('checked').waitFor();
  await region(page, 'Runs').locator('tbody tr').first().waitFor();
}

const STATES: State[] = [
  { name: 'the overview', open: overview },
  { name: 'the operations', open: operations },
  {
    name: 'signing in',
    visitor: { as: 'nobody' },
    open: (page) => page.goto('/').then(() => page.getByLabel('API token').waitFor()),
  },
];

for (const { name, visitor, open } of STATES) {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      scenario(
        `${name} in ${colorScheme} on a ${size} is accessible`,
        { ...visitor, browser: { colorScheme, viewport } },
        async ({ page }) => {
          await open(page);
          await assertAccessible(page);
        },
      );
    }
  }
}

scenario(
  'everything opened on the overview is accessible',
  { browser: { viewport: NARROWEST } },
  async ({ page }) => {
    await page.goto(
      '/?range=7d&granularity=hourly&compare=1&tables=users,media&toggled=totalUsers&zone=local',
    );
    await chartsLoaded(page);
    await button(page, 'Zoom in on Views').click();
    await choose(page, 'Custom');
    await page.getByLabel('From', { exact: true }).fill('2999-01-01');
    await button(page, 'Apply').click();
    await page.getByRole('form', { name: 'Custom dates' }).getByRole('alert').waitFor();
    await assertAccessible(page);
  },
);

scenario(
  'everything opened on the operations is accessible',
  { browser: { viewport: NARROWEST } },
  async ({ page }) => {
    await operations(page);
    await button(page, 'Preview').click();
    await button(page, 'Start recalculation').waitFor();
    await assertAccessible(page);
  },
);

scenario('a rejected sign-in is accessible', { as: 'ordinary', provokes: [403] }, async ({ page }) => {
  await page.goto('/');
  await button(page, 'Use the platform’s session').click();
  await page.getByRole('alert').filter({ hasText: 'not as an administrator' }).waitFor();
  await assertAccessible(page);
});

scenario(
  'parts that failed are accessible',
  { provokes: [500], browser: { viewport: PHONE } },
  async ({ page }) => {
    // The responses are simulated: no real fault makes all parts fail at the same time.
    await page.route('**/api/**', (route) =>
      route.fulfill({
        status: 500,
        headers: { 'x-request-id': '0123456789abcdef0123456789abcdef' },
        json: { success: false, error: 'Database error', message: 'DynamoDB refused.' },
      }),
    );
    await page.goto('/');
    await page.getByText('The charts could not be loaded.').waitFor();
    await assertAccessible(page);
  },
);

/** The smallest window with a sticky toolbar; on a phone only the banner is sticky. */
const STICKING = { width: 1100, height: 700 };

for (const [size, viewport] of Object.entries({ window: STICKING, phone: PHONE })) {
  scenario(
    `what has the focus on a ${size} is not under what sticks to the top`,
    { provokes: ['offline'], browser: { viewport } },
    async ({ page, context }) => {
      await overview(page);
      await choose(page, 'Custom');
      const end = region(page, 'Table of the most engaged content');
      for (const banner of [false, true]) {
        if (banner) {
          await context.setOffline(true);
          await button(region(page, 'Right now'), 'Refresh').click();
          await page.getByText('Offline.').waitFor();
        }
        await end.focus();
        // In reverse order, each element appears at the top.
        for (let step = 0; step < 60; step += 1) {
          await page.keyboard.press('Shift+Tab');
          const hidden = await page.evaluate(() => {
            const focused = document.activeElement as HTMLElement;
            const { left, top, width } = focused.getBoundingClientRect();
            const seen = document.elementFromPoint(left + width / 2, top + 2);
            const cover = seen?.closest('.toolbar, .banner-place');
            return cover && !cover.contains(focused) ? `${focused.outerHTML.slice(0, 90)} at ${top}` : null;
          });
          assert.equal(hidden, null);
        }
      }
    },
  );
}
