// The line under the legend: which period the values are of, when they were calculated, and what is
// incomplete about them. Always there, so that nothing moves while the cursor does.
import { formatInstant, formatPeriod, formatPeriodInZone } from '../model/format.ts';
import type { Range } from '../model/range.ts';
import type { ChartData } from '../model/series.ts';
import { useView } from '../state/route.ts';

interface Props {
  data: ChartData;
  before: ChartData | null;
  range: Range;
  cursor: number | null;
}

export function Readout({ data, before, range, cursor }: Props) {
  const [view] = useView();
  const name = (start: number) => formatPeriod(start, range.granularity, view.zone);
  if (cursor === null) {
    return (
      <p class={view.compare ? 'readout readout-compared' : 'readout'}>
        {view.zoom && <span>figures of the whole range</span>}
        {data.missing.length > 0 && (
          <span>
            <span class="mark mark-missing" aria-hidden="true" /> {data.missing.length} missing
          </span>
        )}
        {range.running && (
          <span>
            <span class="mark mark-running" aria-hidden="true" /> running, incomplete:{' '}
            {name(range.running.start)}
          </span>
        )}
        {before && (
          <span>
            <span class="mark mark-before" aria-hidden="true" /> dashed: the period before
          </span>
        )}
      </p>
    );
  }
  const start = data.periods[cursor] ?? 0;
  const calculatedAt = data.calculatedAt[cursor];
  const coverage = data.coverage[cursor];
  const then = before?.periods[cursor];
  return (
    <p class={view.compare ? 'readout readout-compared' : 'readout'} data-readout>
      <strong>{formatPeriodInZone(start, range.granularity, view.zone)}</strong>
      <span>
        {calculatedAt == null ? 'no record' : `calculated ${formatInstant(calculatedAt, view.zone)}`}
      </span>
      {coverage && (
        <span>
          short: made from {coverage.present} of {coverage.expected}
        </span>
      )}
      {then !== undefined && <span>before: {name(then)}</span>}
    </p>
  );
}
