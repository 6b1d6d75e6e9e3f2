// The CSV of a range: one row a period, one column a metric, an empty field where there is no
// value. Times are UTC whatever the page shows, so that files fit together.
import { jsonText } from './numeric.ts';
import { addPeriods } from './period.ts';
import type { Range } from './range.ts';
import type { ChartData, ListColumn, Series } from './series.ts';

/** A field: what a spreadsheet must take for a text, or what is written as it is. */
type Field = { text: string } | string;

/**
 * Every period that is over and, as the last row, the running one as far as it is known. Behind the
 * metrics: `stale`, `reconstructed` (`metric:lowerBound` or `metric:estimate`, by spaces), `complete`
 * (false for the running period and one that lacks finer periods). They are empty without a record.
 */
export function csvOf(charts: ChartData[], range: Range): string {
  const columns = charts.flatMap((chart) => chart.series);
  const lists = charts.flatMap((chart) => chart.lists);
  const header: Field[] = [
    'period_start',
    'period_end',
    ...[...columns.map(({ metric }) => metric.name), ...lists.map(({ name }) => name)].map((text) => ({
      text,
    })),
    'stale',
    'reconstructed',
    'complete',
    'calculated_at',
  ];
  const rows = range.periods.map((start, at) => overRow(charts, columns, lists, range, start, at));
  const running = runningRow(charts, columns, lists, range);
  const all = running ? [header, ...rows, running] : [header, ...rows];
  return all.map((fields) => `${fields.map(written).join(',')}\r\n`).join('');
}

function overRow(
  charts: ChartData[],
  columns: Series[],
  lists: ListColumn[],
  range: Range,
  start: number,
  at: number,
): Field[] {
  // The types are calculated one by one: of several times the last is when the row was whole.
  const calculatedAt = latest(charts.map((chart) => chart.calculatedAt[at] ?? null));
  const is = (yes: boolean) => (calculatedAt === null ? '' : String(yes));
  return [
    iso(start),
    iso(addPeriods(range.granularity, start, 1) - 1),
    ...columns.map(({ values }) => values[at]?.toString() ?? ''),
    ...lists.map(({ values }) => listField(values[at])),
    is(charts.some(({ stale }) => stale[at] === true)),
    { text: claimsAt(columns, lists, at) },
    is(charts.every(({ coverage }) => coverage[at] == null)),
    iso(calculatedAt),
  ];
}

function runningRow(
  charts: ChartData[],
  columns: Series[],
  lists: ListColumn[],
  range: Range,
): Field[] | null {
  const running = charts.flatMap((chart) => chart.running ?? []);
  const [first] = running;
  if (!first) return null;
  return [
    iso(first.start),
    iso(addPeriods(range.granularity, first.start, 1) - 1),
    ...columns.map((series) => series.running?.toString() ?? ''),
    ...lists.map((list) => listField(list.running)),
    'false',
    '',
    'false',
    iso(latest(running.map(({ calculatedAt }) => calculatedAt))),
  ];
}

function listField(list: ListColumn['running'] | undefined): Field {
  return list ? { text: jsonText(list) } : '';
}

/** Which of the row's values were computed later: each metric once, though its groups are columns. */
function claimsAt(columns: Series[], lists: ListColumn[], at: number): string {
  const named = [
    ...columns.map(({ metric, reconstructed }) => ({ name: metric.name, claim: reconstructed[at] })),
    ...lists.map(({ name, reconstructed }) => ({ name, claim: reconstructed[at] })),
  ];
  const claims = named.flatMap(({ name, claim }) => (claim ? [`${name.split('.')[0]}:${claim}`] : []));
  return [...new Set(claims)].join(' ');
}

function latest(instants: (number | null)[]): number | null {
  const there = instants.filter((instant) => instant !== null);
  return there.length === 0 ? null : Math.max(...there);
}

function iso(instant: number | null): string {
  return instant === null ? '' : new Date(instant).toISOString();
}

/** A text that a spreadsheet would take for a formula gets an apostrophe; numbers may be negative. */
function written(field: Field): string {
  const text = typeof field === 'string' ? field : field.text.replace(/^[=+\-@\t\r]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvName(what: string, range: Range): string {
  const day = (instant: number) => new Date(instant).toISOString().slice(0, 10);
  const first = range.periods[0];
  return first === undefined
    ? `${what}.csv`
    : `${what}-${range.granularity}-${day(first)}-${day(range.end - 1)}.csv`;
}
