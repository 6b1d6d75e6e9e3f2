// The overview as its visitors find their way on it: by what things are called.
import type { Locator, Page } from 'playwright-core';

export const region = (page: Page, name: string): Locator => page.getByRole('region', { name, exact: true });

/** When the figures of "Right now" are as of, once they are there. */
export const realtimeAge = (page: Page): Locator =>
  region(page, 'Right now').locator('.realtime-age').getByText('as of').locator('time');

export const chart = (page: Page, id: string): Locator => page.locator(`figure[data-chart="${id}"]`);

export const picture = (page: Page, title: string): Locator =>
  page.getByRole('img', { name: new RegExp(`^${title}, chart`) });

export const button = (within: Page | Locator, name: string): Locator =>
  within.getByRole('button', { name, exact: true });

/** Opens the overview and waits until its charts have figures. */
export async function openOverview(page: Page, query = ''): Promise<void> {
  await page.goto(`/${query}`);
  await chartsLoaded(page);
}

/** Waits until the charts have figures, or it is said that there are none. */
export async function chartsLoaded(page: Page, timeout?: number): Promise<void> {
  const figures = page.locator('.charts[aria-busy="false"] figure[data-chart="users"][aria-busy="false"]');
  const nothing = page.getByRole('heading', {
    name: /^(No records in this range|No period of this range has ended yet)$/,
  });
  await figures.or(nothing).waitFor(timeout === undefined ? {} : { timeout });
}

/** Which radio of a group is chosen. */
export function chosen(page: Page, group: string): Promise<string[]> {
  return page
    .getByRole('group', { name: group, exact: true })
    .locator('input:checked + span')
    .allTextContents();
}

export const hasFocus = (element: Locator): Promise<boolean> =>
  element.evaluate((found) => found === document.activeElement);

/** Presses a radio of a group by what is written beside it. */
export async function choose(page: Page, name: string): Promise<void> {
  await page.getByRole('radio', { name, exact: true }).check();
}

/** Holds back the requests to those addresses, or the first `most`, until what it answers is called. */
export async function holdBack(page: Page, address: string, most = Infinity): Promise<() => void> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held = 0;
  await page.route(address, async (route) => {
    held += 1;
    if (held <= most) await released;
    // Nobody may be waiting for it any more.
    await route.continue().catch(() => {});
  });
  return release;
}

/** What is written without the signs of marks. */
export const unmarked = (text: string | null): string => (text ?? '').replace(/[≥≈↻]/g, '');

export interface Table {
  header: string[];
  rows: string[][];
}

/** The texts of a chart's table, the running period left out. */
export async function tableOf(page: Page, title: string): Promise<Table> {
  const table = region(page, `Table of ${title}`);
  await table.waitFor();
  return {
    header: await table.locator('thead th').allTextContents(),
    rows: await table
      .locator('tbody tr:not(.running)')
      .evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent ?? ''))),
  };
}
