// The requests to the API, recorded by a simulated `fetch`.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import {
  dismissJob,
  fetchMetrics,
  fetchSession,
  previewRecalculation,
  startRecalculation,
  writeToken,
} from '../src/api/client.ts';
import { recalculationRequest } from '../src/model/recalculation.ts';

const stored = new Map<string, string>();
Object.assign(globalThis, {
  sessionStorage: {
    getItem: (name: string) => stored.get(name) ?? null,
    setItem: (name: string, value: string) => stored.set(name, value),
    removeItem: (name: string) => stored.delete(name),
  },
});

interface Sent {
  method: string | undefined;
  url: string;
  authorization: string | null;
  body: unknown;
}

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
  stored.clear();
});

/** Responds to every request with this text; returns the requests. */
function answering(text: string, status = 200): Sent[] {
  const sent: Sent[] = [];
  globalThis.fetch = async (url, init) => {
    sent.push({
      method: init?.method,
      url: String(url),
      authorization: new Headers(init?.headers).get('Authorization'),
      body: init?.body === undefined ? undefined : JSON.parse(String(init.body)),
    });
    return new Response(text, { status });
  };
  return sent;
}

const BASE = '/api/admin/analytics';

test('whether there is a session is asked in one call', async () => {
  const sent = answering('{"success":true,"data":{"signedIn":false,"method":null}}');
  assert.deepEqual(await fetchSession(), { signedIn: false, method: null });
  assert.deepEqual(sent, [{ method: 'GET', url: `${BASE}/session`, authorization: null, body: undefined }]);
  writeToken('a-token');
  await fetchSession();
  assert.equal(sent[1]?.authorization, 'Bearer a-token');
});

test('the running period is asked for where the range reaches into it, and else not', async () => {
  const sent = answering('{"success":true,"data":{"allMetrics":[]}}');
  const [from, to] = [Date.parse('2026-11-22T00:00:00Z'), Date.parse('2026-11-22T23:59:59.999Z')];
  const signal = new AbortController().signal;
  await fetchMetrics('hourly', from, to, true, [], signal);
  await fetchMetrics('hourly', from, to, false, [], signal);
  const range =
    'metricType=all&granularity=hourly&startDate=2026-11-22T00%3A00%3A00.000Z&endDate=2026-11-22T23%3A59%3A59.999Z';
  assert.deepEqual(
    sent.map(({ url }) => url),
    [`${BASE}/metrics?${range}&current=true`, `${BASE}/metrics?${range}`],
  );
});

test('a large integer of an answer keeps its digits', async () => {
  answering(
    '{"success":true,"data":{"allMetrics":[{"metricType":"media","missing":[],"dataPoints":[' +
      '{"timestamp":"2026-11-22T00:00:00.000Z","metrics":{"totalMedia":9007199254740993}}]}]}}',
  );
  const { types } = await fetchMetrics('hourly', 0, 1, false, [], new AbortController().signal);
  assert.equal(types[0]?.dataPoints[0]?.metrics.totalMedia, 9007199254740993n);
});

const CHOICE = {
  metricType: 'media',
  granularity: 'hourly',
  from: '2026-11-22',
  to: '2026-11-23',
  overwrite: false,
} as const;

test('a recalculation replaces observed values only if it is told to', async () => {
  const sent = answering('{"success":true,"data":{}}');
  const range = { startDate: '2026-11-22T00:00:00.000Z', endDate: '2026-11-23T23:59:59.999Z' };
  await startRecalculation(recalculationRequest(CHOICE));
  await startRecalculation(recalculationRequest({ ...CHOICE, overwrite: true }));
  await previewRecalculation(recalculationRequest({ ...CHOICE, overwrite: true }));
  const body = { metricType: 'media', granularity: 'hourly', ...range };
  assert.deepEqual(
    sent.map(({ method, url, body }) => ({ method, url, body })),
    [
      { method: 'POST', url: `${BASE}/recalculate`, body },
      { method: 'POST', url: `${BASE}/recalculate`, body: { ...body, overwrite: true } },
      { method: 'POST', url: `${BASE}/recalculate?preview=true`, body: { ...body, overwrite: true } },
    ],
  );
});

test('a job is dismissed by its id', async () => {
  const sent = answering('{"success":true,"data":{"jobId":"a/b","status":"failed"}}');
  assert.equal((await dismissJob('a/b')).status, 'failed');
  assert.deepEqual(sent, [
    { method: 'DELETE', url: `${BASE}/recalculate/a%2Fb`, authorization: null, body: undefined },
  ]);
});
