// A small line without axes: the shape of the last day or month, holes left open.
import type { TimedValue } from '../api/types.ts';
import { formatExact, type Unit } from '../model/format.ts';

const WIDTH = 120;
const HEIGHT = 32;
const PAD = 3;

export function Sparkline({ points, unit, what }: { points: TimedValue[]; unit: Unit; what: string }) {
  const values = points.flatMap(({ value }) => (value === null ? [] : [value]));
  if (values.length === 0) return <div class="sparkline sparkline-empty">no data in the {what}</div>;
  const low = Math.min(...values);
  const high = Math.max(...values);
  const holes = points.length - values.length;
  const label =
    `${what}: from ${formatExact(low, unit)} to ${formatExact(high, unit)}` +
    (holes > 0 ? `, ${holes} of ${points.length} without a value` : '');
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <path d={linePath(points, low, high)} />
    </svg>
  );
}

/** A value between two holes is drawn as a short stroke: a line of one point would not be seen. */
function linePath(points: TimedValue[], low: number, high: number): string {
  const step = WIDTH / Math.max(1, points.length - 1);
  const scale = high === low ? 0 : (HEIGHT - 2 * PAD) / (high - low);
  let path = '';
  let open = false;
  points.forEach(({ value }, at) => {
    if (value === null) {
      open = false;
      return;
    }
    const x = at * step;
    const y = high === low ? HEIGHT / 2 : HEIGHT - PAD - (value - low) * scale;
    const alone = !open && points[at + 1]?.value == null;
    path += alone ? `M${x - 1} ${y}h2` : `${open ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
  });
  return path;
}
