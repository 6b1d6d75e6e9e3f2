// Visitors: a browser context of Chromium for each.
import type { BrowserContext, BrowserContextOptions } from 'playwright-core';
import { SESSIONS } from './environment.ts';
import type { Stage } from './stage.ts';

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** The time limit of every wait. */
export const PATIENCE = 15_000;

export interface Visitor {
  /** Who visits; by default the platform's administrator. */
  as?: 'admin' | 'ordinary' | 'nobody';
  /** HTTP statuses of failures that this test causes; `offline` for requests without a response. */
  provokes?: readonly (number | 'offline')[];
  browser?: BrowserContextOptions;
}

/** A browser context that belongs to the visitor. */
export async function visit(stage: Stage, { as = 'admin', browser }: Visitor): Promise<BrowserContext> {
  const context = await stage.browser.newContext({
    baseURL: stage.worker.url,
    viewport: DESKTOP,
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    ...browser,
  });
  context.setDefaultTimeout(PATIENCE);
  if (as !== 'nobody') await bring(context, stage, SESSIONS[as]);
  return context;
}

/** Gives the context the cookie of a session of the platform, instead of any it had. */
export async function bring(context: BrowserContext, stage: Stage, session: string): Promise<void> {
  await context.addCookies([{ name: 'user_session', value: session, url: stage.worker.url, httpOnly: true }]);
}
