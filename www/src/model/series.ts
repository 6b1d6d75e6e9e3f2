// The series of a chart from records. Every period of the range has an entry: its value, or null and the
// reason. Gaps are never filled.
import type { DataPoint, EngagedTarget, MetricValue, Reconstruction, TypeMetrics } from '../api/types.ts';
import { CHARTS, type ChartSpec, isKnown, type Metric, metricNamed, typeOf } from './catalogue.ts';
import { humanise } from './format.ts';
import { claimOf, type Marks, together, UNMARKED } from './marks.ts';
import { isNumeric, type Numeric } from './numeric.ts';
import type { Range } from './range.ts';

/** Why a period has no value. */
export type Gap =
  /** A record should exist and does not. */
  | 'missing'
  /** Before the first record, past retention, or being calculated. */
  | 'no record'
  /** The record lacks finer periods, so this metric has no value. */
  | 'incomplete'
  /** The record does not have this metric. */
  | 'no value';

export interface Series {
  metric: Metric;
  values: (Numeric | null)[];
  gaps: (Gap | null)[];
  /** By period: what the value is, if it is reconstructed. */
  reconstructed: (Reconstruction | null)[];
  /** The value of the running period so far. Values of the range do not include it. */
  running: Numeric | null;
}

/** A metric whose values are rankings: it has no line, only a column in the CSV. */
export interface ListColumn {
  name: string;
  values: (EngagedTarget[] | null)[];
  reconstructed: (Reconstruction | null)[];
  running: EngagedTarget[] | null;
}

export interface ChartData {
  spec: ChartSpec;
  periods: number[];
  series: Series[];
  /** The rankings of the type, on one of its charts. */
  lists: ListColumn[];
  /** By period: when its record was calculated, whether it lacks finer periods, whether it is stale. */
  calculatedAt: (number | null)[];
  coverage: (DataPoint['coverage'] | null)[];
  stale: boolean[];
  /** Starts of the periods without a record that should have one. */
  missing: number[];
  /** The running period so far. */
  running: { start: number; asOf: number; calculatedAt: number } | null;
}

export function chartData(
  spec: ChartSpec,
  types: TypeMetrics[],
  periods: number[],
  runningStart: number | null = null,
): ChartData {
  const type = types.find((candidate) => candidate.metricType === typeOf(spec));
  const all = type?.dataPoints ?? [];
  // A period that was running at the time of the request has not ended, whatever this clock says.
  const byStart = new Map(
    all.filter(({ complete }) => complete !== false).map((point) => [Date.parse(point.timestamp), point]),
  );
  const running = all.find(
    ({ complete, timestamp }) => complete === false && Date.parse(timestamp) === runningStart,
  );
  const known = new Set(periods);
  const missing = (type?.missing ?? []).map((text) => Date.parse(text)).filter((start) => known.has(start));
  const missed = new Set(missing);
  const points = periods.map((start) => byStart.get(start) ?? null);
  return {
    spec,
    periods,
    series: spec.metrics.map((metric) =>
      seriesOf(metric, points, running, (at) => missed.has(periods[at] ?? 0)),
    ),
    lists: isMainChart(spec) ? listsOf(points, running) : [],
    calculatedAt: points.map((point) => (point ? Date.parse(point.calculatedAt) : null)),
    coverage: points.map((point) => point?.coverage ?? null),
    stale: points.map((point) => point?.stale === true),
    missing: missing.sort((a, b) => a - b),
    running: running
      ? {
          start: Date.parse(running.timestamp),
          asOf: Date.parse(running.asOf ?? running.calculatedAt),
          calculatedAt: Date.parse(running.calculatedAt),
        }
      : null,
  };
}

function seriesOf(
  metric: Metric,
  points: (DataPoint | null)[],
  running: DataPoint | undefined,
  isMissing: (at: number) => boolean,
): Series {
  const values = points.map((point) => (point ? numberOf(point, metric.name) : null));
  const gaps = values.map((value, at): Gap | null => {
    if (value !== null) return null;
    const point = points[at];
    if (point) return point.coverage ? 'incomplete' : 'no value';
    return isMissing(at) ? 'missing' : 'no record';
  });
  const reconstructed = points.map((point, at) =>
    point && values[at] !== null ? claimOn(point, metric.name) : null,
  );
  return { metric, values, gaps, reconstructed, running: running ? numberOf(running, metric.name) : null };
}

/** The value of `name`, or of its group for `name.group`. */
function numberOf(point: DataPoint, name: string): Numeric | null {
  const [base = name, group] = name.split('.');
  const value: MetricValue | undefined = point.metrics[base];
  if (group === undefined) return isNumeric(value) ? value : null;
  if (typeof value !== 'object' || Array.isArray(value)) return null;
  return value[group] ?? null;
}

/** What the metric's value is, if it is reconstructed; the name may be that of a group. */
function claimOn(point: DataPoint, name: string): Reconstruction | null {
  return claimOf(point.reconstructed?.[name.split('.')[0] ?? name]);
}

function listsOf(points: (DataPoint | null)[], running: DataPoint | undefined): ListColumn[] {
  const all = running ? [...points, running] : points;
  const names = new Set(
    all.flatMap((point) =>
      Object.entries(point?.metrics ?? {}).flatMap(([name, value]) => (Array.isArray(value) ? [name] : [])),
    ),
  );
  const listIn = (point: DataPoint | null | undefined, name: string) => {
    const value = point?.metrics[name];
    return Array.isArray(value) ? value : null;
  };
  return [...names].sort().map((name) => ({
    name,
    values: points.map((point) => listIn(point, name)),
    reconstructed: points.map((point) => (point && listIn(point, name) ? claimOn(point, name) : null)),
    running: listIn(running, name),
  }));
}

/** The chart of a type that gets what no chart of the type lists. */
function isMainChart(spec: ChartSpec): boolean {
  const type = typeOf(spec);
  if (spec.id === type) return true;
  const own = CHARTS.filter((chart) => typeOf(chart) === type);
  return !own.some(({ id }) => id === type) && own[0]?.id === spec.id;
}

/** The periods that have a point on the picture: those that have ended and, if it has values, the running one. */
export function drawnPeriods({ periods, running }: ChartData): number[] {
  return running ? [...periods, running.start] : periods;
}

/** The marks of one value; a gap has none. */
export function marksAt(data: ChartData, { values, reconstructed }: Series, at: number): Marks {
  if (values[at] == null) return UNMARKED;
  return { stale: data.stale[at] === true, reconstructed: reconstructed[at] ?? null };
}

/** The marks of the value of a range: of all its values, or of the latest for a stock. */
export function marksOfRange(data: ChartData, series: Series): Marks {
  const there = series.values.flatMap((value, at) => (value === null ? [] : [at]));
  const counted = series.metric.kind === 'stock' ? there.slice(-1) : there;
  return together(counted.map((at) => marksAt(data, series, at)));
}

/** How many periods have a value with each mark in any of the series, or lack finer periods. */
export function countMarks(data: ChartData, shown: Series[]) {
  const count = (has: (at: number) => boolean) => data.periods.filter((_, at) => has(at)).length;
  return {
    reconstructed: count((at) => shown.some(({ reconstructed }) => reconstructed[at] !== null)),
    stale: count((at) => shown.some((series) => marksAt(data, series, at).stale)),
    short: count((at) => data.coverage[at] != null),
  };
}

/**
 * The charts for a response: the known ones, each with the unknown metrics of its type, and one chart for
 * each unknown type. Storage is left out if it certainly has no records.
 */
export function chartsOf(types: TypeMetrics[], failed: Record<string, string> = {}): ChartSpec[] {
  const charts = CHARTS.filter(
    (chart) => chart.id !== 'storage' || 'storage' in failed || hasRecords(types, 'storage'),
  ).map((chart) => ({ ...chart, metrics: [...chart.metrics] }));
  for (const type of types) {
    const own = charts.find((chart) => typeOf(chart) === type.metricType);
    const unknown = unknownMetrics(type);
    if (own) own.metrics.push(...unknown);
    else if (unknown.length > 0) {
      charts.push({
        id: type.metricType,
        title: humanise(type.metricType),
        description: `Metrics of the type ${type.metricType}.`,
        metrics: unknown.map((metric) => ({ ...metric, shown: true })),
      });
    }
  }
  return charts;
}

function hasRecords(types: TypeMetrics[], name: string): boolean {
  return types.some(
    (type) =>
      type.metricType === name && type.dataPoints.some(({ metrics }) => Object.keys(metrics).length > 0),
  );
}

function unknownMetrics(type: TypeMetrics): Metric[] {
  const names = new Set<string>();
  for (const point of type.dataPoints) {
    for (const [name, value] of Object.entries(point.metrics)) {
      if (isNumeric(value)) names.add(name);
      else if (!Array.isArray(value)) for (const group of Object.keys(value)) names.add(`${name}.${group}`);
    }
  }
  return [...names]
    .filter((name) => !isKnown(name))
    .sort()
    .map((name) => metricNamed(name, type.metricType));
}

/** Which series a chart shows: its defaults, but for those that were toggled. */
export function shownSeries(data: ChartData, toggled: ReadonlySet<string>): Series[] {
  return data.series.filter(({ metric }) => metric.shown !== toggled.has(metric.name));
}

/** What happens in a period is measured on the left, totals to date on the right, if both are shown. */
export function onRightAxis(metric: Metric, shown: Series[]): boolean {
  return metric.kind === 'stock' && shown.some((other) => other.metric.kind !== 'stock');
}

/** The last index with a value in any of the series, or -1. */
export function latestIndex(series: Series[]): number {
  return Math.max(-1, ...series.map(({ values }) => values.findLastIndex((value) => value !== null)));
}

export interface EngagedPeriod {
  start: number;
  calculatedAt: number;
  targets: EngagedTarget[];
  marks: Marks;
}

/** The periods that have a list of the most engaged content, newest first. */
export function engagedPeriods(types: TypeMetrics[], range: Range): EngagedPeriod[] {
  const inRange = new Set(range.periods);
  const points = types.find((type) => type.metricType === 'interactions')?.dataPoints ?? [];
  return points
    .flatMap((point) => {
      const targets = point.metrics.mostEngaged;
      const start = Date.parse(point.timestamp);
      if (!Array.isArray(targets) || !inRange.has(start) || point.complete === false) return [];
      const marks = { stale: point.stale === true, reconstructed: claimOn(point, 'mostEngaged') };
      return [{ start, calculatedAt: Date.parse(point.calculatedAt), targets, marks }];
    })
    .sort((a, b) => b.start - a.start);
}
