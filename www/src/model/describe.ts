// A chart in words, for screen readers: a summary of the picture, and the point under the cursor.
import type { Granularity } from '../api/types.ts';
import { ABSENT, formatExact, formatPeriod, formatTime, type Zone, zoneName } from './format.ts';
import { isMarked, meaningsOf } from './marks.ts';
import type { Numeric } from './numeric.ts';
import { type ChartData, countMarks, drawnPeriods, marksAt, type Series } from './series.ts';

/** Lowest, highest and latest value of each series, and how many values are missing. */
export function describeChart(
  data: ChartData,
  shown: Series[],
  granularity: Granularity,
  zone: Zone,
): string {
  if (shown.length === 0) return 'No series is selected.';
  const name = (at: number) => formatPeriod(data.periods[at] ?? 0, granularity, zone);
  const lines = shown
    .map(({ metric, values }) => {
      const there = values.flatMap((value, at) => (value === null ? [] : [{ value, at }]));
      const latest = there.at(-1);
      if (!latest) return `${metric.label}: no data in this range.`;
      const low = there.reduce((a, b) => (b.value < a.value ? b : a));
      const high = there.reduce((a, b) => (b.value > a.value ? b : a));
      const without = values.length - there.length;
      const holes =
        without === 0 ? 'Every period has a value.' : `${without} of ${values.length} periods have no value.`;
      const exact = (value: Numeric) => formatExact(value, metric.unit);
      return (
        `${metric.label}: lowest ${exact(low.value)} (${name(low.at)}), highest ${exact(high.value)} ` +
        `(${name(high.at)}), latest ${exact(latest.value)} (${name(latest.at)}). ${holes}`
      );
    })
    .join(' ');
  const { reconstructed, stale, short } = countMarks(data, shown);
  const periods = (count: number) => (count === 1 ? '1 period' : `${count} periods`);
  return [
    lines,
    reconstructed > 0 && `Reconstructed values in ${periods(reconstructed)}.`,
    stale > 0 && `Stale: ${periods(stale)}.`,
    short > 0 && `Incomplete: ${periods(short)}.`,
    data.running && `The last point is the running period ${soFar(data.running.asOf, zone)}.`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** The time up to which the running period is counted. */
export function soFar(asOf: number, zone: Zone): string {
  return `so far, as of ${formatTime(asOf, zone)} ${zoneName(zone, asOf)}`;
}

/** The period under the cursor and its values. */
export function describePoint(
  data: ChartData,
  shown: Series[],
  at: number,
  granularity: Granularity,
  zone: Zone,
) {
  const isRunning = at === data.periods.length;
  const values = shown.map((series) => {
    const { metric, gaps } = series;
    const value = isRunning ? series.running : series.values[at];
    const marks = marksAt(data, series, at);
    const words = value == null ? (gaps[at] ?? ABSENT) : formatExact(value, metric.unit);
    return `${metric.label}: ${words}${isMarked(marks) ? ` (${meaningsOf(marks).join('; ')})` : ''}`;
  });
  const name = formatPeriod(drawnPeriods(data)[at] ?? 0, granularity, zone);
  return `${name}${isRunning && data.running ? `, ${soFar(data.running.asOf, zone)}` : ''}. ${values.join(', ')}`;
}
