// A small line without axes for the last day or month, with gaps where there is no value.
import type { TimedValue } from '../api/types.ts';
import { formatExact, type Unit } from '../model/format.ts';
import type { Numeric } from '../model/numeric.ts';

const WIDTH = 120;
const HEIGHT = 32;
const PAD = 3;

export function Sparkline({ points, unit, what }: { points: TimedValue[]; unit: Unit; what: string }) {
  const values = points.flatMap(({ value }) => (value === null ? [] : [value]));
  if (values.length === 0) return <div class="sparkline sparkline-empty">no data in the {what}</div>;
  const low = values.reduce((a, b) => (b < a ? b : a));
  const high = values.reduce((a, b) => (b > a ? b : a));
  const holes = points.length - values.length;
  const count = (has: (point: TimedValue) => boolean, words: string) => {
    const found = points.filter(has).length;
    return found > 0 ? `, ${found} of ${points.length} ${words}` : '';
  };
  const label =
    `${what}: from ${formatExact(low, unit)} to ${formatExact(high, unit)}` +
    (holes > 0 ? `, ${holes} of ${points.length} without a value` : '') +
    count(({ reconstructed }) => reconstructed !== undefined, 'reconstructed') +
    count(({ stale }) => stale === true, 'stale');
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <title>{label}</title>
      <path d={linePath(points, Number(low), Number(high))} />
      <path class="sparkline-marked" d={markPath(points, Number(low), Number(high))} />
    </svg>
  );
}

const step = (points: TimedValue[]) => WIDTH / Math.max(1, points.length - 1);

function height(value: Numeric, low: number, high: number): number {
  const scale = high === low ? 0 : (HEIGHT - 2 * PAD) / (high - low);
  return high === low ? HEIGHT / 2 : HEIGHT - PAD - (Number(value) - low) * scale;
}

/** A vertical stroke through each value that has a mark. */
function markPath(points: TimedValue[], low: number, high: number): string {
  return points
    .map(({ value, stale, reconstructed }, at) =>
      value !== null && (stale || reconstructed !== undefined)
        ? `M${(at * step(points)).toFixed(1)} ${(height(value, low, high) - 3).toFixed(1)}v6`
        : '',
    )
    .join('');
}

/** A value between two gaps is drawn as a short stroke: a line of one point is invisible. */
function linePath(points: TimedValue[], low: number, high: number): string {
  let path = '';
  let open = false;
  points.forEach(({ value }, at) => {
    if (value === null) {
      open = false;
      return;
    }
    const x = at * step(points);
    const y = height(value, low, high);
    const alone = !open && points[at + 1]?.value == null;
    path += alone ? `M${x - 1} ${y}h2` : `${open ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
  });
  return path;
}
