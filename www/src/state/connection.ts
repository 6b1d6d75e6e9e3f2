// The current outage over all requests: one banner instead of the same message in every card.
import type { ApiError } from '../api/client.ts';
import { createStore } from './store.ts';

export interface Outage {
  kind: 'network' | 'unavailable';
  retryAt: number | null;
}

const outages = new Map<string, Outage>();
const worst = createStore<Outage | null>(null);

export function reportConnection(key: string, error: ApiError | null, retryAt: number | null): void {
  if (error?.kind === 'network' || error?.kind === 'unavailable') {
    outages.set(key, { kind: error.kind, retryAt });
  } else if (!outages.delete(key)) return;
  const all = [...outages.values()].sort((a, b) => (a.retryAt ?? Infinity) - (b.retryAt ?? Infinity));
  worst.set(all.find(({ kind }) => kind === 'network') ?? all[0] ?? null);
}

export const useOutage = worst.use;

/** Every waiting request is sent again at once. */
export const TRY_NOW = 'edge-analytics:try-now';

export function tryNow(): void {
  window.dispatchEvent(new Event(TRY_NOW));
}
