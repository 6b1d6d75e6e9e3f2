// The shapes of the API's responses, as docs/api.md describes them.
import type { Numeric } from '../model/numeric.ts';

export const GRANULARITIES = ['hourly', 'daily', 'weekly', 'monthly'] as const;
export type Granularity = (typeof GRANULARITIES)[number];

/** The value of any metric, also of one that this page does not know. */
export type MetricValue = Numeric | Record<string, Numeric> | EngagedTarget[];

/** What a reconstructed value is: a count without deleted items, or an estimate. */
export type Reconstruction = 'lowerBound' | 'estimate';

export interface EngagedTarget {
  targetType: string;
  targetId: string;
  likes: Numeric;
  bookmarks: Numeric;
  comments: Numeric;
  total: Numeric;
}

export interface DataPoint {
  timestamp: string;
  endTimestamp: string;
  metrics: Record<string, MetricValue>;
  calculatedAt: string;
  /** Present only if a coarser period was rolled up from fewer finer ones than it has. */
  coverage?: { present: number; expected: number };
  /** A finer record has changed since this one was computed. */
  stale?: boolean;
  /** The metrics whose values are reconstructed, and what the values are. */
  reconstructed?: Record<string, string>;
  /** false for the running period, with the instant that it is as of. */
  complete?: boolean;
  asOf?: string;
}

export interface TypeMetrics {
  metricType: string;
  dataPoints: DataPoint[];
  missing: string[];
}

export interface AllMetrics {
  allMetrics: TypeMetrics[];
}

/** Whether this tab is signed in, and how. */
export interface Session {
  signedIn: boolean;
  method: 'token' | 'session' | null;
}

export interface Counter {
  metricKey: string;
  value: Numeric | Record<string, Numeric>;
  lastUpdated: string;
  ttl: number;
  ageSeconds: number;
  stale: boolean;
}

export interface Realtime {
  source: 'kv' | 'dynamodb';
  refreshing: boolean;
  lastUpdated: string | null;
  stale: boolean;
  counters: Counter[];
}

/** Marks of a value that was computed from records; present only where they apply. */
export interface Marked {
  stale?: boolean;
  reconstructed?: string;
}

export interface TimedValue extends Marked {
  timestamp: string;
  value: Numeric | null;
}

export interface Headline extends Marked {
  metricType: string;
  metric: string;
  value: Numeric | null;
  asOf: string | null;
  change: ({ absolute: Numeric; percent: number | null; comparedTo: string } & Marked) | null;
  last24Hours: TimedValue[];
  last30Days: TimedValue[];
}

export interface Dashboard {
  generatedAt: string;
  source: string;
  stale: boolean;
  headlines: Headline[];
}

export const RUN_STATUSES = ['complete', 'partial', 'failed', 'held'] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

export interface Run {
  runId: string;
  granularity: Granularity;
  trigger: string;
  attempt: number;
  status: RunStatus;
  timestamp: string;
  endTimestamp: string;
  periods: number;
  typesWritten: string[];
  typesUnchanged: string[];
  typesSuperseded: string[];
  typesFailed: Record<string, string>;
  problems: string[];
  malformed: Record<string, number>;
  left: number;
  startedAt: string;
  finishedAt: string;
  milliseconds: number;
  requests: number;
  pages: number;
  readUnits: number;
  writeUnits: number;
  estimatedCostUsd: number;
  jobId?: string;
}

export interface RunPage {
  runs: Run[];
  nextCursor: string | null;
}

export type HealthStatus = 'ok' | 'degraded' | 'failing';

export interface Health {
  status: HealthStatus;
  checkedAt: string;
  reasons: { severity: 'degraded' | 'failing'; granularity: Granularity | null; reason: string }[];
  granularities: GranularityHealth[];
}

export interface GranularityHealth {
  granularity: Granularity;
  lastRunAt: string | null;
  lastSuccessAt: string | null;
  lastStatus: RunStatus | null;
  watermark: string | null;
  lag: number;
  holes: string[];
  failingTypes: Record<string, string>;
  stale: number;
}

export interface RecalculationRequest {
  metricType: string;
  granularity: Granularity;
  startDate: string;
  endDate: string;
  /** Whether observed values are replaced too. */
  overwrite?: true;
}

export interface RecalculationPreview {
  metricType: string;
  granularity: Granularity;
  periods: number;
  first: string | null;
  last: string | null;
  refreshed: Partial<Record<Granularity, number>>;
}

export interface Job {
  jobId: string;
  status: 'queued' | 'running' | 'complete' | 'failed';
  metricType: string;
  granularity: Granularity;
  startDate: string;
  endDate: string;
  periods: number;
  done: number;
  failed: number;
  reasons: string[];
  /** Why the last attempt failed; another one follows. */
  lastReason: string | null;
  startedAt: string;
  finishedAt: string | null;
}
