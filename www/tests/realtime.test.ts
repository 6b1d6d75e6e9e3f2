// What the counters of a snapshot are as of.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Counter, Realtime } from '../src/api/types.ts';
import { hasBegun, isBehind } from '../src/model/realtime.ts';

const counter = (lastUpdated: string): Counter => ({
  metricKey: 'newUsersToday',
  value: 0,
  lastUpdated,
  ttl: 7200,
  ageSeconds: 0,
  stale: false,
});
const snapshot = (lastUpdated: string | null): Realtime => ({
  source: 'kv',
  refreshing: false,
  lastUpdated,
  stale: false,
  counters: [],
});

test('a counter is behind if it is older than its snapshot', () => {
  assert.equal(isBehind(counter('2026-03-01T10:00:00.000Z'), snapshot('2026-03-01T10:20:00.412Z')), true);
  assert.equal(isBehind(counter('2026-03-01T10:20:00.412Z'), snapshot('2026-03-01T10:20:00.412Z')), false);
  assert.equal(isBehind(counter('2026-03-01T10:20:00.412Z'), snapshot(null)), false);
});

test('of a day that has just begun nothing is counted yet', () => {
  const now = Date.parse('2026-03-02T00:40:00Z');
  assert.equal(hasBegun(counter('2026-03-02T00:00:00.000Z'), now), false);
  assert.equal(hasBegun(counter('2026-03-01T23:55:00.000Z'), now), false, 'that is yesterday');
  assert.equal(hasBegun(counter('2026-03-02T00:35:00.000Z'), now), true);
});
