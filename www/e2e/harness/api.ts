// The API without a browser: what the dashboard shows is compared with its responses.
import { setTimeout as pause } from 'node:timers/promises';
import type { AllMetrics, Dashboard, DataPoint, Granularity, Health, Realtime } from '../../src/api/types.ts';

const BASE = '/api/admin/analytics';

export class Api {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url + BASE;
    this.#token = token;
  }

  async get<T>(pathAndQuery: string): Promise<T> {
    const headers = { authorization: `Bearer ${this.#token}` };
    const answer = await fetch(this.#url + pathAndQuery, { headers });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`GET ${pathAndQuery}: ${answer.status} ${text}`);
    return (JSON.parse(text) as { data: T }).data;
  }

  realtime(): Promise<Realtime> {
    return this.get('/realtime');
  }

  /** Requests fresh counters until they are in KV, which gets a new snapshot every ten seconds. */
  async fillCache(): Promise<void> {
    const deadline = Date.now() + 30_000;
    while ((await this.realtime()).lastUpdated === null) {
      if (Date.now() > deadline) throw new Error('the snapshot does not get into KV');
      await this.get('/realtime?fresh=true');
      await pause(500);
    }
  }

  dashboard(): Promise<Dashboard> {
    return this.get('/dashboard');
  }

  health(): Promise<Health> {
    return this.get('/health');
  }

  /** The records of all types by type and period's start, as the API writes it. */
  async records(
    granularity: Granularity,
    from: number,
    to: number,
  ): Promise<Map<string, Map<string, DataPoint>>> {
    const range = { startDate: new Date(from).toISOString(), endDate: new Date(to).toISOString() };
    const query = new URLSearchParams({ metricType: 'all', granularity, ...range });
    const all = await this.get<AllMetrics>(`/metrics?${query}`);
    return new Map(
      all.allMetrics.map(({ metricType, dataPoints }) => [
        metricType,
        new Map(dataPoints.map((point) => [point.timestamp, point])),
      ]),
    );
  }
}
