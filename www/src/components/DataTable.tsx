// A chart's data as a table, newest first: exact values, and the reason for each gap.
import { soFar } from '../model/describe.ts';
import { ABSENT, formatExact, formatInstant, formatPeriod, zoneNames } from '../model/format.ts';
import { kindsOf, MEANINGS } from '../model/marks.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, marksAt, type Series, shownSeries } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { MarkKey, Marks } from './Marks.tsx';

interface Props {
  data: ChartData;
  before: ChartData | null;
  range: Range;
}

export function DataTable({ data, before, range }: Props) {
  const [view] = useView();
  const shown = shownSeries(data, view.toggled);
  const shownBefore = before && shownSeries(before, view.toggled);
  const newestFirst = data.periods.map((_, at) => at).reverse();
  const name = (start: number) => formatPeriod(start, range.granularity, view.zone);
  const columns = 2 + shown.length * (shownBefore ? 2 : 1);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard.
    <section class="table-scroll chart-table" tabIndex={0} aria-label={`Table of ${data.spec.title}`}>
      <table>
        <caption>
          {data.spec.title}, {range.granularity}, times in{' '}
          {zoneNames(view.zone, [...data.periods, range.running?.end ?? range.end])}
          <MarkKey
            kinds={kindsOf([...marksIn(data, shown), ...(before ? marksIn(before, shownBefore ?? []) : [])])}
          />
        </caption>
        <thead>
          <tr>
            <th scope="col">Period</th>
            {shown.map(({ metric }) => (
              <th key={metric.name} scope="col" class="number">
                {metric.label}
              </th>
            ))}
            {shownBefore?.map(({ metric }) => (
              <th key={metric.name} scope="col" class="number">
                {metric.label}, previous
              </th>
            ))}
            <th scope="col">Calculated</th>
          </tr>
        </thead>
        <tbody>
          {range.running && !data.running && (
            <tr class="running">
              <th scope="row">{name(range.running.start)}</th>
              <td colSpan={columns - 1}>running: no values yet</td>
            </tr>
          )}
          {data.running && (
            <tr class="running">
              <th scope="row">{name(data.running.start)}</th>
              {shown.map(({ metric, running }) => (
                <td key={metric.name} class={running === null ? 'number absent' : 'number'}>
                  {formatExact(running, metric.unit)}
                </td>
              ))}
              {shownBefore?.map(({ metric }) => (
                <td key={metric.name} class="number absent">
                  {ABSENT}
                </td>
              ))}
              <td>running: {soFar(data.running.asOf, view.zone)}</td>
            </tr>
          )}
          {newestFirst.map((at) => (
            <tr key={data.periods[at]}>
              <th scope="row">{name(data.periods[at] ?? 0)}</th>
              {shown.map((series) => (
                <Cell key={series.metric.name} data={data} series={series} at={at} />
              ))}
              {shownBefore?.map((series) => (
                <Cell key={series.metric.name} data={before ?? data} series={series} at={at} />
              ))}
              <td>
                <Calculated data={data} at={at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function marksIn(data: ChartData, shown: Series[]) {
  return shown.flatMap((series) => data.periods.map((_, at) => marksAt(data, series, at)));
}

function Cell({ data, series, at }: { data: ChartData; series: Series; at: number }) {
  const value = series.values[at];
  return value == null ? (
    <td class="number absent">{series.gaps[at] ?? ABSENT}</td>
  ) : (
    <td class="number">
      <Marks marks={marksAt(data, series, at)} />
      {formatExact(value, series.metric.unit)}
    </td>
  );
}

function Calculated({ data, at }: { data: ChartData; at: number }) {
  const [view] = useView();
  const calculatedAt = data.calculatedAt[at];
  const coverage = data.coverage[at];
  if (calculatedAt == null) return <>{ABSENT}</>;
  return (
    <>
      {formatInstant(calculatedAt, view.zone)}
      {coverage && ` (incomplete: ${coverage.present} of ${coverage.expected} finer periods)`}
      {data.stale[at] && ` (${MEANINGS.stale})`}
    </>
  );
}
