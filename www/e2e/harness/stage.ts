// What all tests share: the gate, the Worker, a platform whose last days are counted, the browser.
import { createHash, randomBytes } from 'node:crypto';
import { type Browser, chromium } from 'playwright-core';
import { Api } from './api.ts';
import { CHROMIUM, DYNAMODB, TABLE } from './environment.ts';
import { Gate } from './gate.ts';
import { Worker } from './worker.ts';

export interface Stage {
  token: string;
  gate: Gate;
  worker: Worker;
  api: Api;
  browser: Browser;
}

let stage: Promise<Stage> | null = null;

/** The stage; the first call sets it up. */
export function theStage(): Promise<Stage> {
  stage ??= setUp();
  return stage;
}

/** Ends all of it. */
export async function strike(): Promise<void> {
  const standing = await stage?.catch(() => null);
  await standing?.browser.close();
  await standing?.worker.stop();
  await standing?.gate.shut();
}

async function setUp(): Promise<Stage> {
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
    await worker.fire('*/5 * * * *', Date.now());
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      // Without the browser's own network requests.
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
