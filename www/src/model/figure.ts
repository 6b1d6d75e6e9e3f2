// One value for a whole range, and its change from the previous range. Only periods with a value in both
// ranges are compared, so that a gap does not look like a decrease.
import type { Kind } from './catalogue.ts';
import { add, type Numeric, subtract } from './numeric.ts';

export interface Figure {
  value: Numeric | null;
  /** How the value was computed. */
  what: 'total' | 'latest' | 'average';
}

type Values = readonly (Numeric | null)[];

export function figureOf(values: Values, kind: Kind): Figure {
  const there = values.filter((value) => value !== null);
  const what = kind === 'sum' ? 'total' : kind === 'stock' ? 'latest' : 'average';
  if (there.length === 0) return { value: null, what };
  if (kind === 'stock') return { value: there.at(-1) ?? null, what };
  const sum = there.reduce(add, 0);
  return { value: kind === 'sum' ? sum : Number(sum) / there.length, what };
}

export interface Change {
  absolute: Numeric;
  /** null where the previous value is 0. */
  percent: number | null;
  /** How many pairs of periods were compared, and how many there are. */
  compared: number;
  of: number;
}

/** The change over the pairs of periods that both have a value; null if there are none. */
export function changeOf(now: Values, before: Values, kind: Kind): Change | null {
  const pairs = now.flatMap((value, at) => {
    const then = before[at];
    return value === null || then == null ? [] : [{ value, then }];
  });
  const latest = pairs.at(-1);
  if (!latest) return null;
  if (kind === 'stock') return { ...difference(latest.value, latest.then), compared: 1, of: 1 };
  const sum = (of: (pair: { value: Numeric; then: Numeric }) => Numeric) => {
    const total = pairs.map(of).reduce(add, 0);
    return kind === 'mean' ? Number(total) / pairs.length : total;
  };
  return {
    ...difference(
      sum(({ value }) => value),
      sum(({ then }) => then),
    ),
    compared: pairs.length,
    of: now.length,
  };
}

function difference(now: Numeric, before: Numeric): { absolute: Numeric; percent: number | null } {
  const absolute = subtract(now, before);
  const against = Math.abs(Number(before));
  return { absolute, percent: against === 0 ? null : (Number(absolute) / against) * 100 };
}
