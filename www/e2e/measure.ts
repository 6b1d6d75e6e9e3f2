// When the warm overview is painted, and how many bytes it loads: the measurements in the README.
import type { Page } from 'playwright-core';
import { openOverview, realtimeAge } from './harness/overview.ts';
import { visit } from './harness/scene.ts';
import { strike, theStage } from './harness/stage.ts';

const RUNS = 10;

interface Paints {
  firstContentful: number;
  largestContentful: number;
  figures: number;
}

/** Milliseconds from the start of the navigation; the last is when all parts have their values. */
async function load(page: Page): Promise<Paints> {
  await openOverview(page);
  await page.locator('li.card[data-metric]').first().waitFor();
  await realtimeAge(page).waitFor();
  return await page.evaluate(async () => {
    const figures = performance.now();
    const latest = (type: string) =>
      new Promise<number>((resolve) => {
        new PerformanceObserver((list) => resolve(list.getEntries().at(-1)?.startTime ?? Number.NaN)).observe(
          {
            type,
            buffered: true,
          },
        );
      });
    return {
      firstContentful: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN,
      largestContentful: await latest('largest-contentful-paint'),
      figures,
    };
  });
}

const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
};

try {
  const stage = await theStage();
  const context = await visit(stage, {});
  const page = await context.newPage();

  // Bytes on the network with an empty browser cache, by type.
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  const kinds = new Map<string, string>();
  const bytes = new Map<string, { answers: number; transferred: number }>();
  session.on('Network.responseReceived', ({ requestId, type }) => void kinds.set(requestId, type));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const kind = kinds.get(requestId) ?? 'other';
    const { answers, transferred } = bytes.get(kind) ?? { answers: 0, transferred: 0 };
    bytes.set(kind, { answers: answers + 1, transferred: transferred + encodedDataLength });
  });
  await load(page);
  console.table(Object.fromEntries(bytes));
  const total = [...bytes.values()].reduce((sum, { transferred }) => sum + transferred, 0);
  console.log(`${total} bytes transferred, headers included`);
  await session.detach();

  await load(page);
  const runs: Paints[] = [];
  for (let run = 0; run < RUNS; run += 1) runs.push(await load(page));
  console.table(runs);
  const of = (what: keyof Paints) => `${median(runs.map((run) => run[what])).toFixed(0)} ms`;
  console.log(
    `median of ${RUNS}, warm: first contentful paint ${of('firstContentful')}, ` +
      `largest contentful paint ${of('largestContentful')}, all figures there ${of('figures')}`,
  );
} finally {
  await strike();
}
