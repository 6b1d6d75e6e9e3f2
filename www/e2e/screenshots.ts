// Screenshots of every page for people to check: both themes, wide and narrow, with data of five weeks.
// Written to the folder in the argument, by default .edge-analytics/screenshots.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { ROOT } from './harness/environment.ts';
import { chartsLoaded, realtimeAge, region } from './harness/overview.ts';
import { DESKTOP, PHONE, visit } from './harness/scene.ts';
import { strike, theStage } from './harness/stage.ts';

const folder = resolve(process.argv[2] ?? join(ROOT, '.edge-analytics/screenshots'));

async function overview(page: Page): Promise<void> {
  await chartsLoaded(page);
  await page.locator('li.card[data-metric]').first().waitFor();
  await realtimeAge(page).waitFor();
}

async function operations(page: Page): Promise<void> {
  await region(page, 'Health').getByText('checked').waitFor();
  await region(page, 'Runs').locator('tbody tr').first().waitFor();
}

const PAGES = [
  { name: 'overview', address: '/', ready: overview },
  { name: 'overview-30-days', address: '/?range=30d&granularity=daily&trend=30d', ready: overview },
  { name: 'overview-compared', address: '/?range=7d&granularity=daily&compare=1', ready: overview },
  { name: 'overview-tables', address: '/?tables=users,views&compare=1', ready: overview },
  { name: 'operations', address: '/?page=operations', ready: operations },
];
/** The picture of the README: the top of the overview with the first charts. */
const README = { width: 1280, height: 1440 };

const SIZES = { desktop: DESKTOP, phone: PHONE };

try {
  const stage = await theStage();
  mkdirSync(folder, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      const context = await visit(stage, { browser: { viewport, colorScheme } });
      const page = await context.newPage();
      for (const { name, address, ready } of PAGES) {
        await page.goto(address);
        await ready(page);
        const path = join(folder, `${name}-${colorScheme}-${size}.png`);
        await page.screenshot({ path, fullPage: true, animations: 'disabled' });
      }
      await context.close();
    }
  }
  const context = await visit(stage, { browser: { viewport: README, colorScheme: 'light' } });
  const page = await context.newPage();
  await page.goto('/');
  await overview(page);
  await page.screenshot({ path: join(folder, 'readme.png'), animations: 'disabled' });
  await context.close();
  console.log(`pictures are in ${folder}`);
} finally {
  await strike();
}
