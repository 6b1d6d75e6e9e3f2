// One test in its own browser context. It fails if the page logs an error, throws, sends a request to
// another origin, or gets an error response that the test does not expect.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { BrowserContext, Page } from 'playwright-core';
import { NOW, ROOT } from './environment.ts';
import { PATIENCE, type Visitor, visit } from './scene.ts';
import { type Stage, strike, theStage } from './stage.ts';

export interface Scene {
  page: Page;
  context: BrowserContext;
  stage: Stage;
}

const FAILURES = join(ROOT, '.edge-analytics/browser-failures');
before(async () => {
  await theStage();
});
after(strike);

/** A test: `name` says what the visitor does. */
export function scenario(name: string, visitor: Visitor, play: (scene: Scene) => Promise<void>): void {
  test(name, async () => {
    const stage = await theStage();
    const context = await visit(stage, visitor);
    // Timers run; the page's current time stands still.
    await context.clock.setFixedTime(NOW);
    const problems = watch(context, stage.worker.url, visitor.provokes ?? []);
    try {
      const page = await context.newPage();
      try {
        await play({ page, context, stage });
      } catch (error) {
        throw new Error(await testimony(page, name, problems), { cause: error });
      }
      assert.deepEqual(problems, [], 'what the page should not have done');
    } finally {
      await context.close();
    }
  });
}

const FAILED_RESOURCE =
  /^Failed to load resource: (?:the server responded with a status of (\d+)|(net::\S+))/;

function watch(context: BrowserContext, origin: string, provokes: readonly (number | 'offline')[]): string[] {
  const problems: string[] = [];
  context.on('request', (request) => {
    const url = new URL(request.url());
    const isLocal = ['about:', 'blob:', 'data:'].includes(url.protocol);
    if (url.origin !== origin && !isLocal) problems.push(`it asked ${url.origin}`);
  });
  context.on('response', (response) => {
    const status = response.status();
    if (status >= 400 && !provokes.includes(status)) problems.push(`${status} from ${response.url()}`);
  });
  context.on('weberror', (error) => problems.push(`it threw ${error.error().stack}`));
  context.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    const [, status, network] = FAILED_RESOURCE.exec(message.text()) ?? [];
    if (status !== undefined && provokes.includes(Number(status))) return;
    if (network !== undefined && provokes.includes('offline')) return;
    problems.push(`it logged: ${message.text()} (${message.location().url})`);
  });
  return problems;
}

/** Saves what the page shows when a test fails. */
async function testimony(page: Page, name: string, problems: string[]): Promise<string> {
  mkdirSync(FAILURES, { recursive: true });
  const picture = join(FAILURES, `${name.replace(/[^a-z0-9]+/gi, '-')}.png`);
  await page.screenshot({ path: picture, fullPage: true }).catch(() => {});
  return `failed at ${page.url()}; its picture: ${picture}${problems.map((one) => `\n${one}`).join('')}`;
}

/** Waits until `check` passes, where no locator can wait. */
export async function eventually(check: () => Promise<void> | void, patience = PATIENCE): Promise<void> {
  const deadline = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await pause(50);
  }
}

export function query(page: Page): Record<string, string> {
  return Object.fromEntries(new URL(page.url()).searchParams);
}

/** Waits until the URL has exactly these parameters. */
export async function addressed(page: Page, expected: Record<string, string>): Promise<void> {
  await eventually(() => assert.deepEqual(query(page), expected));
}
