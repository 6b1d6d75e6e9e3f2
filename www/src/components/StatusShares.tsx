// The latest media by status: one bar with shares, and the numbers.

import type { Granularity } from '../api/types.ts';
import { formatExact, formatPercent, formatPeriod } from '../model/format.ts';
import { type ChartData, latestIndex, marksAt } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { Marks } from './Marks.tsx';

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
  const parts = data.series.map((of, series) => ({
    label: of.metric.label,
    value: of.values[at] ?? null,
    marks: marksAt(data, of, at),
    series: series % 6,
  }));
  const whole = parts.reduce((sum, { value }) => sum + Number(value ?? 0), 0);
  const share = (value: number) => (whole === 0 ? 0 : (value / whole) * 100);
  let offset = 0;
  return (
    <div class="shares">
      <svg class="shares-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        {parts.map(({ label, value, series }) => {
          const width = share(Number(value ?? 0));
          const x = offset;
          offset += width;
          return <rect key={label} class={`fill-${series}`} x={x} y="0" width={width} height="4" />;
        })}
      </svg>
      <dl>
        {parts.map(({ label, value, marks, series }) => (
          <div key={label}>
            <dt>
              <span class={`swatch swatch-${series}`} aria-hidden="true" /> {label}
            </dt>
            <dd>
              <Marks marks={marks} />
              {formatExact(value, 'count')}
              {value !== null && whole > 0 && (
                <span class="what"> {formatPercent(share(Number(value))).replace('+', '')}</span>
              )}
            </dd>
          </div>
        ))}
      </dl>
      <p class="note">At the end of {formatPeriod(data.periods[at] ?? 0, granularity, view.zone)}</p>
    </div>
  );
}
