// A chart in words: what a screen reader says instead of the picture, and what the cursor is on.
import type { Granularity } from '../api/types.ts';
import { ABSENT, formatExact, formatPeriod, type Zone } from './format.ts';
import type { ChartData, Series } from './series.ts';

/** Lowest, highest and latest value of each series, and how much is missing. */
export function describeChart(
  data: ChartData,
  shown: Series[],
  granularity: Granularity,
  zone: Zone,
): string {
  if (shown.length === 0) return 'No series is shown.';
  const name = (at: number) => formatPeriod(data.periods[at] ?? 0, granularity, zone);
  return shown
    .map(({ metric, values }) => {
      const there = values.flatMap((value, at) => (value === null ? [] : [{ value, at }]));
      const latest = there.at(-1);
      if (!latest) return `${metric.label}: no data in this range.`;
      const low = there.reduce((a, b) => (b.value < a.value ? b : a));
      const high = there.reduce((a, b) => (b.value > a.value ? b : a));
      const without = values.length - there.length;
      const holes =
        without === 0
          ? 'No period is without a value.'
          : `${without} of ${values.length} periods have no value.`;
      const exact = (value: number) => formatExact(value, metric.unit);
      return (
        `${metric.label}: lowest ${exact(low.value)} (${name(low.at)}), highest ${exact(high.value)} ` +
        `(${name(high.at)}), latest ${exact(latest.value)} (${name(latest.at)}). ${holes}`
      );
    })
    .join(' ');
}

/** The period under the cursor and its values. */
export function describePoint(
  data: ChartData,
  shown: Series[],
  at: number,
  granularity: Granularity,
  zone: Zone,
) {
  const values = shown.map(({ metric, values, gaps }) => {
    const value = values[at];
    return `${metric.label}: ${value == null ? (gaps[at] ?? ABSENT) : formatExact(value, metric.unit)}`;
  });
  return `${formatPeriod(data.periods[at] ?? 0, granularity, zone)}. ${values.join(', ')}`;
}
