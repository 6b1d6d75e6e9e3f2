// The series of a chart: switches that show and hide them, each with its figure of the range, or
// its value where the cursor is.
import { changeOf, figureOf } from '../model/figure.ts';
import { ABSENT, formatExact, formatPercent, formatSigned } from '../model/format.ts';
import { type ChartData, onRightAxis, type Series, shownSeries } from '../model/series.ts';
import { withToggled } from '../model/view.ts';
import { useView } from '../state/route.ts';

interface Props {
  data: ChartData;
  before: ChartData | null;
  /** Why there is no period before, though it was asked for. */
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
                  <Value series={series} before={before?.series[at] ?? null} cursor={cursor} />
                )}
                {/* Its place, until the period before is loaded. */}
                {view.compare && !before && (
                  <span class="against" title={beforeFailure ?? undefined}>
                    {beforeFailure === null ? '…' : 'before: not loaded'}
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

function Value({ series, before, cursor }: { series: Series; before: Series | null; cursor: number | null }) {
  const { unit, kind } = series.metric;
  if (cursor !== null) {
    const value = series.values[cursor];
    const then = before?.values[cursor];
    return (
      <span class="legend-value">
        {value == null ? (
          <span class="absent">{series.gaps[cursor] ?? ABSENT}</span>
        ) : (
          formatExact(value, unit)
        )}
        {before && <span class="against">before {formatExact(then, unit)}</span>}
      </span>
    );
  }
  const figure = figureOf(series.values, kind);
  return (
    <span class="legend-value">
      {formatExact(figure.value, unit)} <span class="what">{figure.value !== null && figure.what}</span>
      {before && <ChangeOfRange series={series} before={before} />}
    </span>
  );
}

function ChangeOfRange({ series, before }: { series: Series; before: Series }) {
  const change = changeOf(series.values, before.values, series.metric.kind);
  if (!change) return <span class="against absent">nothing before</span>;
  const { percent, absolute, compared, of } = change;
  return (
    <span
      class="against"
      title={compared < of ? `Only ${compared} of ${of} periods have a value now and before` : undefined}
    >
      {percent === null ? formatSigned(absolute, series.metric.unit) : formatPercent(percent)}
      {compared < of ? ` on ${compared} of ${of}` : ' vs before'}
    </span>
  );
}
