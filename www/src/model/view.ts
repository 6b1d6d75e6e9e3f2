// The state of the page in the URL: every control has a parameter. Defaults are left out, and parameters
// that cannot be read are ignored, so that old or edited links still open.
import { GRANULARITIES, type Granularity, RUN_STATUSES, type RunStatus } from '../api/types.ts';
import type { Zone } from './format.ts';
import { chooseGranularity, chooseRange, datesProblem, isoDate, PRESETS, type RangeName } from './range.ts';
import type { Zoom } from './zoom.ts';

export type Page = 'overview' | 'operations';
export type Trend = '24h' | '30d';

export interface View {
  page: Page;
  range: RangeName;
  granularity: Granularity;
  from: string | null;
  to: string | null;
  compare: boolean;
  zone: Zone;
  /** The range of the sparklines on the headline cards. */
  trend: Trend;
  /** Metrics whose visibility is not their chart's default. */
  toggled: ReadonlySet<string>;
  /** Charts shown as tables. */
  tables: ReadonlySet<string>;
  /** The visible part of the range, in epoch milliseconds, on all charts. */
  zoom: Zoom | null;
  /** The period whose most engaged content is listed; null for the latest. */
  engagedPeriod: number | null;
  /** Filters of the ledger. */
  runStatus: RunStatus | null;
  runGranularity: Granularity | null;
  /** The recalculation whose progress is shown. */
  job: string | null;
}

export const DEFAULT_VIEW: View = {
  page: 'overview',
  range: '24h',
  granularity: 'hourly',
  from: null,
  to: null,
  compare: false,
  zone: 'utc',
  trend: '24h',
  toggled: new Set(),
  tables: new Set(),
  zoom: null,
  engagedPeriod: null,
  runStatus: null,
  runGranularity: null,
  job: null,
};

/** The view after a change. Another range or granularity resets the zoom. */
export function changeView(view: View, change: Partial<View>, now: number): View {
  let next = { ...view, ...change };
  if (next.range !== 'custom') next = { ...next, from: null, to: null };
  if (change.granularity !== undefined) next = { ...next, ...chooseGranularity(next, now) };
  else if (change.range !== undefined) next = { ...next, ...chooseRange(next, now) };
  const sameRange =
    next.range === view.range &&
    next.granularity === view.granularity &&
    next.from === view.from &&
    next.to === view.to;
  return sameRange
    ? next
    : { ...next, zoom: change.zoom ?? null, engagedPeriod: change.engagedPeriod ?? null };
}

export function parseView(search: string, now: number): View {
  const query = new URLSearchParams(search);
  const from = query.get('from');
  const to = query.get('to');
  const dated = datesProblem(from ?? '', to ?? '', now) === null;
  const preset = oneOf(PRESETS, query.get('range'));
  const range: RangeName = dated ? 'custom' : (preset ?? DEFAULT_VIEW.range);
  const named = {
    range,
    granularity: oneOf(GRANULARITIES, query.get('granularity')) ?? DEFAULT_VIEW.granularity,
    from: dated ? from : null,
    to: dated ? to : null,
  };
  return {
    ...DEFAULT_VIEW,
    ...chooseRange(named, now),
    page: query.get('page') === 'operations' ? 'operations' : 'overview',
    compare: query.get('compare') === '1',
    zone: query.get('zone') === 'local' ? 'local' : 'utc',
    trend: query.get('trend') === '30d' ? '30d' : '24h',
    toggled: list(query.get('toggled')),
    tables: list(query.get('tables')),
    zoom: parseZoom(query.get('zoom')),
    engagedPeriod: parseInstant(query.get('engaged')),
    runStatus: oneOf(RUN_STATUSES, query.get('status')),
    runGranularity: oneOf(GRANULARITIES, query.get('runs')),
    job: query.get('job'),
  };
}

/** The query with its `?`, or an empty text. Granularity and range are written together. */
export function formatView(view: View): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string | null | undefined | false) => value && query.set(name, value);
  put('page', view.page !== 'overview' && view.page);
  const rangeIsDefault = view.range === DEFAULT_VIEW.range && view.granularity === DEFAULT_VIEW.granularity;
  if (view.range === 'custom') {
    put('from', view.from);
    put('to', view.to);
  } else {
    put('range', !rangeIsDefault && view.range);
  }
  put('granularity', !rangeIsDefault && view.granularity);
  put('compare', view.compare && '1');
  put('zone', view.zone !== 'utc' && view.zone);
  put('trend', view.trend !== '24h' && view.trend);
  put('toggled', [...view.toggled].sort().join(','));
  put('tables', [...view.tables].sort().join(','));
  put('zoom', view.zoom?.map(shortInstant).join('_'));
  put('engaged', view.engagedPeriod !== null && shortInstant(view.engagedPeriod));
  put('status', view.runStatus);
  put('runs', view.runGranularity);
  put('job', view.job);
  // Commas and colons are allowed in a query, and people read links.
  const text = query.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return text && `?${text}`;
}

export function withToggled(set: ReadonlySet<string>, item: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}

function oneOf<T extends string>(allowed: readonly T[], text: string | null): T | null {
  return allowed.find((item) => item === text) ?? null;
}

function list(text: string | null): Set<string> {
  return new Set((text ?? '').split(',').filter(Boolean));
}

function parseZoom(text: string | null): [number, number] | null {
  const [from, to] = (text ?? '').split('_').map(parseInstant);
  return from != null && to != null && from < to ? [from, to] : null;
}

/** `2026-03-01` or `2026-03-01T12:00Z`: periods start at full minutes. */
function shortInstant(instant: number): string {
  const text = new Date(instant).toISOString();
  return text.endsWith('T00:00:00.000Z') ? isoDate(instant) : `${text.slice(0, 16)}Z`;
}

function parseInstant(text: string | null): number | null {
  if (text === null || !/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}Z)?$/.test(text)) return null;
  const instant = Date.parse(text);
  return Number.isNaN(instant) ? null : instant;
}
