// Parts of the overview, found by their accessible names.
import type { Locator, Page } from 'playwright-core';

export const region = (page: Page, name: string): Locator => page.getByRole('region', { name, exact: true });

/** The time that the counters of "Right now" are as of, once they are loaded. */
export const realtimeAge = (page: Page): Locator =>
  region(page, 'Right now').locator('.realtime-age').getByText('as of').locator('time');

export const chart = (page: Page, id: string): Locator => page.locator(`figure[data-chart="${id}"]`);

export const picture = (page: Page, title: string): Locator =>
  page.getByRole('img', { name: new RegExp(`^${title}, chart`) });

export const button = (within: Page | Locator, name: string): Locator =>
  within.getByRole('button', { name, exact: true });

/** Opens the overview and waits until its charts have values. */
export async function openOverview(page: Page, query = ''): Promise<void> {
  await page.goto(`/${query}`);
  await chartsLoaded(page);
}

/** Waits until the charts have values or the page shows that there are none. */
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

/** Selects a radio of a group by its label. */
export async function choose(page: Page, name: string): Promise<void> {
  await page.getByRole('radio', { name, exact: true }).check();
}

/** Delays the requests to those URLs, or the first `most`, until the function that it returns is called. */
export async function holdBack(page: Page, address: string, most = Infinity): Promise<() => void> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held = 0;
  await page.route(address, async (route) => {
    held += 1;
    if (held <= most) await released;
    // The request may have been aborted.
    await route.continue().catch(() => {});
  });
  return release;
}

/** The text without the signs of marks. */
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
