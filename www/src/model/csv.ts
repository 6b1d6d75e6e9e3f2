// The CSV of a range: one row a period, one column a metric, an empty field where there is no
// value. Times are UTC whatever the page shows, so that files fit together.

import { addPeriods } from './period.ts';
import type { Range } from './range.ts';
import type { ChartData } from './series.ts';

export function csvOf(charts: ChartData[], range: Range): string {
  const columns = charts.flatMap((chart) => chart.series);
  // The types are calculated one by one: of several times the last is when the row was whole.
  const calculatedAt = (at: number) =>
    charts.map((chart) => chart.calculatedAt[at] ?? null).reduce(latest, null);
  const header = ['period_start', 'period_end', ...columns.map(({ metric }) => metric.name), 'calculated_at'];
  const rows = range.periods.map((start, at) => [
    iso(start),
    iso(addPeriods(range.granularity, start, 1) - 1),
    ...columns.map(({ values }) => values[at]?.toString() ?? ''),
    iso(calculatedAt(at)),
  ]);
  return [header, ...rows].map((fields) => `${fields.map(escapeField).join(',')}\r\n`).join('');
}

function latest(a: number | null, b: number | null): number | null {
  return a === null || (b !== null && b > a) ? b : a;
}

function iso(instant: number | null): string {
  return instant === null ? '' : new Date(instant).toISOString();
}

function escapeField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvName(what: string, range: Range): string {
  const day = (instant: number) => new Date(instant).toISOString().slice(0, 10);
  const first = range.periods[0];
  return first === undefined
    ? `${what}.csv`
    : `${what}-${range.granularity}-${day(first)}-${day(range.end - 1)}.csv`;
}
