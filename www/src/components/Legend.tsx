// The series of a chart: buttons that show and hide them, each with its value of the range or under the
// cursor.
import { changeOf, figureOf } from '../model/figure.ts';
import { ABSENT, formatExact, formatPercent, formatSigned } from '../model/format.ts';
import { together } from '../model/marks.ts';
import {
  type ChartData,
  marksAt,
  marksOfRange,
  onRightAxis,
  type Series,
  shownSeries,
} from '../model/series.ts';
import { withToggled } from '../model/view.ts';
import { useView } from '../state/route.ts';
import { Marks } from './Marks.tsx';

interface Props {
  data: ChartData;
  before: ChartData | null;
  /** Why the previous period could not be loaded. */
  beforeFailure: string | null;
  cursor: number | null;
  loading: boolean;
}

export function Legend({ data, before, beforeFailure, cursor, loading }: Props) {
  const [view, change] = useView();
  const drawn = shownSeries(data, view.toggled);
  return (
    <ul class="legend" aria-label={`Series of ${data.spec.title}`}>
      {data.series.map((series, at) => {
        const { metric } = series;
        const shown = metric.shown !== view.toggled.has(metric.name);
        return (
          <li key={metric.name} class={shown ? 'legend-item' : 'legend-item legend-hidden'}>
            <button
              type="button"
              aria-pressed={shown}
              onClick={() => change({ toggled: withToggled(view.toggled, metric.name) })}
            >
              <span class={`swatch swatch-${at % 6}`} aria-hidden="true" />
              {metric.label}
            </button>
            {shown && (
              <>
                {loading ? (
                  <span class="legend-value">
                    <span class="skeleton-text" />
                  </span>
                ) : (
                  <Value data={data} before={before} at={at} cursor={cursor} />
                )}
                {/* Keeps the space until the previous period is loaded. */}
                {view.compare && !before && (
                  <span class="against" title={beforeFailure ?? undefined}>
                    {beforeFailure === null ? '…' : 'previous: not loaded'}
                  </span>
                )}
                {onRightAxis(metric, drawn) && <span class="what">right axis</span>}
              </>
            )}
          </li>
        );
      })}
    </ul>
  );
}

interface ValueProps {
  data: ChartData;
  before: ChartData | null;
  /** The index of the series. */
  at: number;
  cursor: number | null;
}

function Value({ data, before, at, cursor }: ValueProps) {
  const series = data.series[at];
  const seriesBefore = before?.series[at];
  if (!series) return null;
  if (cursor !== null) return <ValueAt {...{ data, series, before, seriesBefore, cursor }} />;
  const { unit, kind } = series.metric;
  const figure = figureOf(series.values, kind);
  return (
    <span class="legend-value">
      <span>
        <Marks marks={marksOfRange(data, series)} />
        {formatExact(figure.value, unit)}
      </span>{' '}
      <span class="what">{figure.value !== null && figure.what}</span>
      {before && seriesBefore && <ChangeOfRange {...{ data, series, before, seriesBefore }} />}
    </span>
  );
}

interface ComparedProps {
  data: ChartData;
  series: Series;
  before: ChartData;
  seriesBefore: Series;
}

interface ValueAtProps {
  data: ChartData;
  series: Series;
  before: ChartData | null;
  seriesBefore: Series | undefined;
  cursor: number;
}

/** The value under the cursor. */
function ValueAt({ data, series, before, seriesBefore, cursor }: ValueAtProps) {
  const { unit } = series.metric;
  const isRunning = cursor === data.periods.length;
  const value = isRunning ? series.running : series.values[cursor];
  return (
    <span class="legend-value">
      {value == null ? (
        <span class="absent">{series.gaps[cursor] ?? ABSENT}</span>
      ) : (
        <span>
          <Marks marks={marksAt(data, series, cursor)} />
          {formatExact(value, unit)} {isRunning && <span class="what">so far</span>}
        </span>
      )}
      {before && seriesBefore && !isRunning && (
        <span class="against">
          previous <Marks marks={marksAt(before, seriesBefore, cursor)} />
          {formatExact(seriesBefore.values[cursor], unit)}
        </span>
      )}
    </span>
  );
}

function ChangeOfRange({ data, series, before, seriesBefore }: ComparedProps) {
  const change = changeOf(series.values, seriesBefore.values, series.metric.kind);
  if (!change) return <span class="against absent">no earlier values</span>;
  const { percent, absolute, compared, of } = change;
  // A difference to a lower bound is an estimate.
  const then = marksOfRange(before, seriesBefore);
  const marks = together([
    marksOfRange(data, series),
    { ...then, reconstructed: then.reconstructed && 'estimate' },
  ]);
  return (
    <span
      class="against"
      title={compared < of ? `Only ${compared} of ${of} periods have a value in both ranges` : undefined}
    >
      <Marks marks={marks} />
      {percent === null ? formatSigned(absolute, series.metric.unit) : formatPercent(percent)}
      {compared < of ? ` on ${compared} of ${of}` : ' vs previous'}
    </span>
  );
}
