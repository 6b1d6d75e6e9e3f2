// The built Worker in `wrangler dev`, with its own state, log and variables. It ends, with every process
// that it started, when this process ends in any way.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { FOLDER, NODE, ROOT, WRANGLER } from './environment.ts';

const START_LIMIT = 60_000;

/** Ends its process group when its standard input is closed, by this process or by the system. */
const KEEPER = readFileSync(join(ROOT, 'tests/end_to_end/keep.sh'), 'utf8');

const ENVIRONMENT = {
  ...process.env,
  CI: '1',
  NO_COLOR: '1',
  WRANGLER_SEND_METRICS: 'false',
  // Its own log would otherwise be in the home directory.
  WRANGLER_LOG_PATH: join(FOLDER, 'wrangler-logs'),
};

export type Cron = '*/5 * * * *' | '0 * * * *' | '5 0 * * *' | '10 0 * * MON' | '15 0 1 * *';

export class Worker {
  readonly url: string;
  readonly #keeper: ChildProcess;
  readonly #log: string;

  private constructor(url: string, keeper: ChildProcess, log: string) {
    this.url = url;
    this.#keeper = keeper;
    this.#log = log;
  }

  static async start(variables: Record<string, string>): Promise<Worker> {
    const settings = join(FOLDER, 'worker.env');
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(settings, lines.join(''), { mode: 0o600 });
    const log = join(FOLDER, 'wrangler.log');
    const output = openSync(log, 'a');
    const port = await freePort();
    const options = ['--config', join(ROOT, 'wrangler.toml'), '--env-file', settings];
    const place = ['--persist-to', STATE, '--ip', '127.0.0.1', '--port', `${port}`, '--inspector-port', '0'];
    const keeper = spawn('sh', ['-c', KEEPER, 'sh', '', NODE, WRANGLER, 'dev', ...options, ...place], {
      cwd: ROOT,
      env: ENVIRONMENT,
      // The process group that the keeper ends.
      detached: true,
      stdio: ['pipe', output, output],
    });
    closeSync(output);
    const worker = new Worker(`http://127.0.0.1:${port}`, keeper, log);
    await worker.#answers();
    return worker;
  }

  async #answers(): Promise<void> {
    const deadline = Date.now() + START_LIMIT;
    for (;;) {
      const answer = await fetch(`${this.url}/api`).catch(() => null);
      if (answer?.headers.has('x-request-id')) return;
      const ended = this.log().includes('wrangler ended with status');
      if (ended || Date.now() > deadline) {
        throw new Error(`wrangler dev ${ended ? 'ended by itself' : 'does not answer'}:\n${this.log()}`);
      }
      await pause(100);
    }
  }

  /** Sends the event of `cron` at `time`, and waits until its run has ended. */
  async fire(cron: Cron, time: number): Promise<void> {
    const query = new URLSearchParams({ cron, time: `${time}` });
    const answer = await fetch(`${this.url}/cdn-cgi/handler/scheduled?${query}`);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the event ${cron} of ${new Date(time).toISOString()}: ${text}`);
  }

  log(): string {
    return readFileSync(this.#log, 'utf8');
  }

  /** Deletes everything in the Worker's KV namespace while it runs; returns how many values there were. */
  async emptyCache(): Promise<number> {
    const listed = JSON.parse(await kv('key', 'list')) as { name: string }[];
    for (const { name } of listed) await kv('key', 'delete', name);
    return listed.length;
  }

  async stop(): Promise<void> {
    const ended = once(this.#keeper, 'exit');
    this.#keeper.stdin?.end();
    await ended;
  }
}

const STATE = join(FOLDER, 'state');

async function kv(...command: string[]): Promise<string> {
  const place = ['--binding', 'CACHE', '--local', '--persist-to', STATE];
  const config = ['--config', join(ROOT, 'wrangler.toml')];
  const options = { cwd: ROOT, env: ENVIRONMENT };
  const { stdout } = await promisify(execFile)(
    NODE,
    [WRANGLER, 'kv', ...command, ...place, ...config],
    options,
  );
  return stdout;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || !address) throw new Error('no free port');
  return address.port;
}
