// A series as two lines: solid through observed values, dashed through values that are not final, which
// are reconstructed values and the running period.
import type { Numeric } from './numeric.ts';
import type { Series } from './series.ts';

type Line = (number | null)[];

/** The solid line: observed values, with gaps. */
export function settledValues({ values, reconstructed }: Series, length: number): Line {
  return places(length, (at) => (reconstructed[at] ? null : drawn(values[at])));
}

/** The dashed line: values that are not final, and the observed values next to them. */
export function provisionalValues({ values, reconstructed, running }: Series, length: number): Line {
  const all = [...values, running].slice(0, length);
  const isFinal = (at: number) => at < values.length && !reconstructed[at];
  const isWanted = (at: number) => at >= 0 && at < length && all[at] != null && !isFinal(at);
  return places(length, (at) =>
    isWanted(at - 1) || isWanted(at) || isWanted(at + 1) ? drawn(all[at]) : null,
  );
}

function places(length: number, valueAt: (at: number) => number | null): Line {
  return Array.from({ length }, (_, at) => valueAt(at));
}

/** Drawing rounds to a double. */
function drawn(value: Numeric | null | undefined): number | null {
  return value == null ? null : Number(value);
}
