// Every call of the API: paths, the token or the cookie, and errors as one type.
import { parseJson } from '../model/numeric.ts';
import type {
  AllMetrics,
  Dashboard,
  Granularity,
  Health,
  Job,
  Realtime,
  RecalculationPreview,
  RecalculationRequest,
  RunPage,
  RunStatus,
  Session,
  TypeMetrics,
} from './types.ts';

const BASE = '/api/admin/analytics';
const TOKEN_KEY = 'edge-analytics.token';

/** The ways a call can fail, by what the admin can do. */
export type FailureKind =
  /** No response: offline, or the Worker cannot be reached. */
  | 'network'
  /** 503: works again later. */
  | 'unavailable'
  | 'unauthenticated'
  | 'forbidden'
  /** 400: the request is wrong. */
  | 'rejected'
  /** 404: it does not exist. */
  | 'missing'
  | 'failed';

export class ApiError extends Error {
  readonly kind: FailureKind;
  /** The stable text of the API's `error`. */
  readonly code: string;
  readonly details: unknown;
  readonly requestId: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(
    kind: FailureKind,
    code: string,
    message: string,
    from?: { details: unknown; response: Response },
  ) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.details = from?.details;
    this.requestId = from?.response.headers.get('X-Request-Id') ?? null;
    const seconds = Number.parseInt(from?.response.headers.get('Retry-After') ?? '', 10);
    this.retryAfterSeconds = Number.isNaN(seconds) ? null : seconds;
  }

  get retriable(): boolean {
    return this.kind === 'network' || this.kind === 'unavailable';
  }
}

/** What was thrown, as an error that the page can show. */
export function asApiError(problem: unknown): ApiError {
  return problem instanceof ApiError ? problem : new ApiError('failed', 'unexpected', String(problem));
}

export function readToken(): string | null {
  return sessionStorage.getItem(TOKEN_KEY);
}

export function writeToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, token);
}

type Query = Record<string, string | number | null | undefined>;

function path(endpoint: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value != null) search.set(name, String(value));
  const text = search.toString();
  return `${BASE}${endpoint}${text && `?${text}`}`;
}

interface Envelope {
  success?: boolean;
  data?: unknown;
  error?: string;
  message?: string;
  details?: unknown;
}

async function call<T>(
  url: string,
  signal: AbortSignal | null,
  body?: unknown,
  method = body === undefined ? 'GET' : 'POST',
): Promise<T> {
  const token = readToken();
  const headers = new Headers({ Accept: 'application/json' });
  // A header cannot contain other characters.
  if (token && !/^[\x21-\x7e]+$/.test(token)) {
    throw new ApiError(
      'unauthenticated',
      'Unauthorized',
      'The token contains characters that no API token has. Copy the token again.',
    );
  }
  if (token) headers.set('Authorization', `Bearer ${token}`);
  const init: RequestInit = { method, headers, signal, credentials: 'same-origin' };
  if (body !== undefined) {
    headers.set('Content-Type', 'application/json');
    init.body = JSON.stringify(body);
  }
  let response: Response;
  let envelope: Envelope | null;
  try {
    response = await fetch(url, init);
    const text = await response.text();
    envelope = parse(text);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('network', 'offline', 'The server cannot be reached.');
  }
  if (response.ok && envelope?.success) return envelope.data as T;
  throw failureOf(response, envelope);
}

function parse(text: string): Envelope | null {
  try {
    return parseJson(text) as Envelope;
  } catch {
    return null;
  }
}

function failureOf(response: Response, envelope: Envelope | null): ApiError {
  const code = envelope?.error ?? `HTTP ${response.status}`;
  const message =
    envelope?.message ?? 'The server sent a response that is not from the API. Try again later.';
  return new ApiError(kindOf(response.status), code, message, { details: envelope?.details, response });
}

function kindOf(status: number): FailureKind {
  switch (status) {
    case 400:
      return 'rejected';
    case 401:
      return 'unauthenticated';
    case 403:
      return 'forbidden';
    case 404:
      return 'missing';
    case 502:
    case 503:
    case 504:
      return 'unavailable';
    default:
      return 'failed';
  }
}

interface TypeAnswer extends TypeMetrics {
  granularity: Granularity;
}

export interface MetricsAnswer {
  types: TypeMetrics[];
  /** The types that could not be read, each with the reason. */
  failed: Record<string, string>;
}

/**
 * All types of a range in one call. If the server fails at that, each type is requested separately, so
 * that the others are shown.
 */
export async function fetchMetrics(
  granularity: Granularity,
  from: number,
  to: number,
  /** Whether to request the running period as well, with its values so far. */
  current: boolean,
  knownTypes: readonly string[],
  signal: AbortSignal,
): Promise<MetricsAnswer> {
  const range = {
    granularity,
    startDate: iso(from),
    endDate: iso(to),
    current: current ? 'true' : null,
  };
  try {
    const all = await call<AllMetrics>(path('/metrics', { metricType: 'all', ...range }), signal);
    return { types: all.allMetrics, failed: {} };
  } catch (error) {
    if (!(error instanceof ApiError) || error.kind !== 'failed') throw error;
    const answers = await Promise.allSettled(
      knownTypes.map((metricType) => call<TypeAnswer>(path('/metrics', { metricType, ...range }), signal)),
    );
    const types = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    if (types.length === 0) throw error;
    const failed: Record<string, string> = {};
    answers.forEach((answer, at) => {
      const type = knownTypes[at];
      if (answer.status === 'rejected' && type !== undefined) failed[type] = (answer.reason as Error).message;
    });
    return { types, failed };
  }
}

/** The first call: here, unlike in other calls, being signed out is not an error. */
export function fetchSession(): Promise<Session> {
  return call(path('/session'), null);
}

export function fetchDashboard(signal: AbortSignal): Promise<Dashboard> {
  return call(path('/dashboard'), signal);
}

export function fetchRealtime(signal: AbortSignal, fresh = false): Promise<Realtime> {
  return call(path('/realtime', { fresh: fresh ? 'true' : null }), signal);
}

/** The status `failing` comes as 503 with the health in `details`. */
export async function fetchHealth(signal: AbortSignal): Promise<Health> {
  try {
    return await call<Health>(path('/health'), signal);
  } catch (error) {
    if (error instanceof ApiError && error.code === 'failing' && isHealth(error.details))
      return error.details;
    throw error;
  }
}

function isHealth(details: unknown): details is Health {
  return (
    typeof details === 'object' && details !== null && 'granularities' in details && 'reasons' in details
  );
}

export interface RunFilter {
  status: RunStatus | null;
  granularity: Granularity | null;
}

export function fetchRuns(filter: RunFilter, cursor: string | null, signal: AbortSignal): Promise<RunPage> {
  return call(path('/runs', { ...filter, cursor }), signal);
}

export function previewRecalculation(request: RecalculationRequest): Promise<RecalculationPreview> {
  return call(path('/recalculate', { preview: 'true' }), null, request);
}

export function startRecalculation(request: RecalculationRequest): Promise<Job> {
  return call(path('/recalculate'), null, request);
}

export function fetchJob(jobId: string, signal: AbortSignal): Promise<Job> {
  return call(path(`/recalculate/${encodeURIComponent(jobId)}`), signal);
}

/** Ends a job that is not finished. Records that it has written are kept. */
export function dismissJob(jobId: string): Promise<Job> {
  return call(path(`/recalculate/${encodeURIComponent(jobId)}`), null, undefined, 'DELETE');
}

function iso(instant: number): string {
  return new Date(instant).toISOString();
}
