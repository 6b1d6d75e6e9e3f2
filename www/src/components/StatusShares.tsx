// The latest media by status as shares of a whole: one bar, and the numbers.

import type { Granularity } from '../api/types.ts';
import { formatExact, formatPercent, formatPeriod } from '../model/format.ts';
import { type ChartData, latestIndex } from '../model/series.ts';
import { useView } from '../state/route.ts';

interface Props {
  data: ChartData;
  loading: boolean;
  granularity: Granularity;
}

export function StatusShares({ data, loading, granularity }: Props) {
  const [view] = useView();
  const at = latestIndex(data.series);
  if (loading) return <div class="shares-skeleton skeleton" aria-hidden="true" />;
  if (at < 0) return null;
  const parts = data.series.map(({ metric, values }, series) => ({
    label: metric.label,
    value: values[at] ?? null,
    series: series % 6,
  }));
  const whole = parts.reduce((sum, { value }) => sum + (value ?? 0), 0);
  const share = (value: number) => (whole === 0 ? 0 : (value / whole) * 100);
  let offset = 0;
  return (
    <div class="shares">
      <svg class="shares-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        {parts.map(({ label, value, series }) => {
          const width = share(value ?? 0);
          const x = offset;
          offset += width;
          return <rect key={label} class={`fill-${series}`} x={x} y="0" width={width} height="4" />;
        })}
      </svg>
      <dl>
        {parts.map(({ label, value, series }) => (
          <div key={label}>
            <dt>
              <span class={`swatch swatch-${series}`} aria-hidden="true" /> {label}
            </dt>
            <dd>
              {formatExact(value, 'count')}
              {value !== null && whole > 0 && (
                <span class="what"> {formatPercent(share(value)).replace('+', '')}</span>
              )}
            </dd>
          </div>
        ))}
      </dl>
      <p class="note">At the end of {formatPeriod(data.periods[at] ?? 0, granularity, view.zone)}</p>
    </div>
  );
}
