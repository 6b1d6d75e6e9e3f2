// Everything a test stands on, set up once for all of them: the gate, the Worker, a platform whose
// last days are counted, the browser.
import { createHash, randomBytes } from 'node:crypto';
import { type Browser, chromium } from 'playwright-core';
import { DAY, HOUR } from '../../src/model/period.ts';
import { Api } from './api.ts';
import { CHROMIUM, DYNAMODB, END, TABLE } from './environment.ts';
import { Gate } from './gate.ts';
import { Worker } from './worker.ts';

/** How many whole days, and today, are counted hour by hour as in life; those before are caught up with. */
const LIVE_DAYS = 2;

/** How many whole days have records, unless asked for otherwise: enough to compare weeks. */
const DAYS = 16;

export interface Stage {
  token: string;
  gate: Gate;
  worker: Worker;
  api: Api;
  browser: Browser;
}

let stage: Promise<Stage> | null = null;

/** The stage, set up when it is first asked for. */
export function theStage(days = DAYS): Promise<Stage> {
  stage ??= setUp(days);
  return stage;
}

/** Ends all of it. */
export async function strike(): Promise<void> {
  const standing = await stage?.catch(() => null);
  await standing?.browser.close();
  await standing?.worker.stop();
  await standing?.gate.shut();
}

async function setUp(days: number): Promise<Stage> {
  const gate = new Gate(DYNAMODB);
  await gate.open();
  const token = randomBytes(24).toString('hex');
  const worker = await Worker.start({
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    DYNAMODB_TABLE: TABLE,
    DYNAMODB_ENDPOINT: gate.url,
    API_TOKENS: `browser:${createHash('sha256').update(token).digest('hex')}`,
  });
  try {
    await countHistory(worker, days);
    await worker.fire('*/5 * * * *', Date.now());
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      // Without what a browser does on its own, over the network above all.
      args: [
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return { token, gate, worker, api: new Api(worker.url, token), browser };
  } catch (error) {
    await worker.stop();
    await gate.shut();
    throw error;
  }
}

/** Fires the events of the past days as Cloudflare would have, but for what one run catches up with. */
async function countHistory(worker: Worker, days: number): Promise<void> {
  const begun = Date.now();
  const first = Math.floor(END / DAY) * DAY - days * DAY;
  const hour = (start: number) => worker.fire('0 * * * *', start + HOUR);
  const day = (start: number) => worker.fire('5 0 * * *', start + DAY + 5 * 60_000);
  await hour(first);
  const today = Math.floor(END / DAY) * DAY;
  for (let start = today - LIVE_DAYS * DAY; start < END; start += HOUR) await hour(start);
  for (let start = first; start + DAY <= END; start += DAY) {
    await day(start);
    const next = new Date(start + DAY);
    if (next.getUTCDay() === 1) await worker.fire('10 0 * * MON', start + DAY + 10 * 60_000);
    if (next.getUTCDate() === 1) await worker.fire('15 0 1 * *', start + DAY + 15 * 60_000);
  }
  console.log(`history of ${days} days counted in ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}
