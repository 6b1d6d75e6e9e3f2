// The CSV of a range: one row for each period, one column for each metric, an empty field without a value.
// Times are always UTC, so that files can be combined.
import { jsonText } from './numeric.ts';
import { addPeriods } from './period.ts';
import type { Range } from './range.ts';
import type { ChartData, ListColumn, Series } from './series.ts';

/** A text for a spreadsheet, or a field that is written as it is. */
type Field = { text: string } | string;

/**
 * Every period that has ended and, as the last row, the running one so far. After the metrics:
 * `stale`, `reconstructed` (`metric:lowerBound` or `metric:estimate`, separated by spaces), `complete`
 * (false for the running period and for one that lacks finer periods). They are empty without a record.
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
  // Types are calculated separately: the latest time is when the row was complete.
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

/** Which of the row's values are reconstructed: each metric once, not once for each group. */
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

/** A text that a spreadsheet would read as a formula gets an apostrophe; numbers may be negative. */
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
