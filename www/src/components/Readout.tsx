// The line under the legend: the period of the values, when they were calculated, and what is incomplete.
// It always has its space, so that nothing moves with the cursor.
import { soFar } from '../model/describe.ts';
import { formatInstant, formatPeriod, formatPeriodInZone } from '../model/format.ts';
import { kindsOf, SIGNS } from '../model/marks.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, countMarks, drawnPeriods, marksAt, shownSeries } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { MarkKey } from './Marks.tsx';

interface Props {
  data: ChartData;
  before: ChartData | null;
  range: Range;
  cursor: number | null;
}

export function Readout(props: Props) {
  const { data, cursor } = props;
  const [view] = useView();
  const { reconstructed, stale, short } = countMarks(data, shownSeries(data, view.toggled));
  const kind = [
    'readout',
    view.compare && 'readout-compared',
    reconstructed + stale + short > 0 && 'readout-marked',
  ]
    .filter(Boolean)
    .join(' ');
  return cursor === null ? (
    <p class={kind}>
      <WholeRange {...props} />
    </p>
  ) : (
    <p class={kind} data-readout>
      <OnePeriod {...props} cursor={cursor} />
    </p>
  );
}

/** What the marks on the picture mean. */
function WholeRange({ data, before, range }: Props) {
  const [view] = useView();
  const { reconstructed, stale, short } = countMarks(data, shownSeries(data, view.toggled));
  return (
    <>
      {view.zoom && <span>values of the whole range</span>}
      {data.missing.length > 0 && (
        <span>
          <span class="mark mark-missing" aria-hidden="true" /> {data.missing.length} missing
        </span>
      )}
      {range.running && (
        <span>
          <span class="mark mark-running" aria-hidden="true" /> running period:{' '}
          {data.running
            ? soFar(data.running.asOf, view.zone)
            : formatPeriod(range.running.start, range.granularity, view.zone)}
        </span>
      )}
      {reconstructed > 0 && (
        <span>
          <span class="mark-reconstructed" aria-hidden="true">
            ○
          </span>{' '}
          hollow, dashed ({SIGNS.lowerBound}, {SIGNS.estimate}): reconstructed, {reconstructed}
        </span>
      )}
      {stale > 0 && (
        <span>
          <span class="mark mark-stale" aria-hidden="true" /> {SIGNS.stale} stale: {stale}
        </span>
      )}
      {short > 0 && (
        <span>
          <span class="mark mark-short" aria-hidden="true" /> incomplete: {short}
        </span>
      )}
      {before && (
        <span>
          <span class="mark mark-before" aria-hidden="true" /> dashed: previous period
        </span>
      )}
    </>
  );
}

/** The period under the cursor. */
function OnePeriod({ data, before, range, cursor }: Props & { cursor: number }) {
  const [view] = useView();
  const start = drawnPeriods(data)[cursor] ?? 0;
  const running = cursor === data.periods.length ? data.running : null;
  const calculatedAt = data.calculatedAt[cursor];
  const coverage = data.coverage[cursor];
  const then = running ? undefined : before?.periods[cursor];
  const shown = shownSeries(data, view.toggled);
  return (
    <>
      <strong>{formatPeriodInZone(start, range.granularity, view.zone)}</strong>
      {running ? (
        <span>{soFar(running.asOf, view.zone)}</span>
      ) : (
        <span>
          {calculatedAt == null ? 'no record' : `calculated ${formatInstant(calculatedAt, view.zone)}`}
        </span>
      )}
      <MarkKey kinds={kindsOf(shown.map((series) => marksAt(data, series, cursor)))} />
      {coverage && (
        <span>
          incomplete: {coverage.present} of {coverage.expected} finer periods
        </span>
      )}
      {then !== undefined && <span>previous: {formatPeriod(then, range.granularity, view.zone)}</span>}
    </>
  );
}
