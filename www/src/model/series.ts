// From records to what is drawn: every period of the range has its place, and where there is no
// value there is null and the reason. Nothing is ever filled in.
import type { DataPoint, EngagedTarget, MetricValue, TypeMetrics } from '../api/types.ts';
import { CHARTS, type ChartSpec, isKnown, type Metric, metricNamed, typeOf } from './catalogue.ts';
import { humanise } from './format.ts';
import type { Range } from './range.ts';

/** Why a period has no value. */
export type Gap =
  /** The record ought to be there and is not. */
  | 'missing'
  /** Before the first record, past retention, or being calculated right now. */
  | 'no record'
  /** The record is there and has no such metric. */
  | 'no value';

export interface Series {
  metric: Metric;
  values: (number | null)[];
  gaps: (Gap | null)[];
}

export interface ChartData {
  spec: ChartSpec;
  periods: number[];
  series: Series[];
  /** By period: when its record was calculated, and whether it is short of finer periods. */
  calculatedAt: (number | null)[];
  coverage: (DataPoint['coverage'] | null)[];
  /** Starts of the periods that ought to have a record and have none. */
  missing: number[];
}

export function chartData(spec: ChartSpec, types: TypeMetrics[], periods: number[]): ChartData {
  const type = types.find((candidate) => candidate.metricType === typeOf(spec));
  const byStart = new Map(type?.dataPoints.map((point) => [Date.parse(point.timestamp), point]));
  const known = new Set(periods);
  const missing = (type?.missing ?? []).map((text) => Date.parse(text)).filter((start) => known.has(start));
  const missed = new Set(missing);
  const points = periods.map((start) => byStart.get(start) ?? null);
  return {
    spec,
    periods,
    series: spec.metrics.map((metric) => {
      const values = points.map((point) => (point ? numberOf(point, metric.name) : null));
      const gaps = values.map((value, at): Gap | null => {
        if (value !== null) return null;
        if (points[at]) return 'no value';
        return missed.has(periods[at] ?? Number.NaN) ? 'missing' : 'no record';
      });
      return { metric, values, gaps };
    }),
    calculatedAt: points.map((point) => (point ? Date.parse(point.calculatedAt) : null)),
    coverage: points.map((point) => point?.coverage ?? null),
    missing: missing.sort((a, b) => a - b),
  };
}

/** The value of `name`, or of a group of it for `name.group`. */
function numberOf(point: DataPoint, name: string): number | null {
  const [base = name, group] = name.split('.');
  const value: MetricValue | undefined = point.metrics[base];
  if (group === undefined) return typeof value === 'number' ? value : null;
  if (typeof value !== 'object' || Array.isArray(value)) return null;
  return value[group] ?? null;
}

/**
 * The charts of what the answer holds: the known ones, each with the metrics of its type that the
 * dashboard was not told of; a chart of its own for a type it does not know. Storage is left out
 * until something is recorded for it; not if that could not be found out.
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
      if (typeof value === 'number') names.add(name);
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
}

/** The periods that have a list of the most engaged content, newest first. */
export function engagedPeriods(types: TypeMetrics[], range: Range): EngagedPeriod[] {
  const inRange = new Set(range.periods);
  const points = types.find((type) => type.metricType === 'interactions')?.dataPoints ?? [];
  return points
    .flatMap((point) => {
      const targets = point.metrics.mostEngaged;
      const start = Date.parse(point.timestamp);
      return Array.isArray(targets) && inRange.has(start)
        ? [{ start, calculatedAt: Date.parse(point.calculatedAt), targets }]
        : [];
    })
    .sort((a, b) => b.start - a.start);
}
