// The marks of values that are not final: reconstructed, or stale. A value without a mark is exact.
import type { Reconstruction } from '../api/types.ts';

export interface Marks {
  stale: boolean;
  reconstructed: Reconstruction | null;
}

export const UNMARKED: Marks = { stale: false, reconstructed: null };

export const isMarked = ({ stale, reconstructed }: Marks): boolean => stale || reconstructed !== null;

/** The sign of each mark, which needs no colour. */
export const SIGNS: Record<Reconstruction | 'stale', string> = { lowerBound: '≥', estimate: '≈', stale: '↻' };

export const MEANINGS: Record<Reconstruction | 'stale', string> = {
  lowerBound: 'reconstructed: a lower bound',
  estimate: 'reconstructed: an estimate',
  stale: 'stale: a finer period has changed, so this value will be recomputed',
};

/** The meaning of each mark. */
export function meaningsOf(marks: Marks): string[] {
  return kindsOf([marks]).map((of) => MEANINGS[of]);
}

/** Each kind of mark that occurs, once. */
export function kindsOf(all: Marks[]): (Reconstruction | 'stale')[] {
  return [
    ...(['lowerBound', 'estimate'] as const).filter((of) =>
      all.some(({ reconstructed }) => reconstructed === of),
    ),
    ...(all.some(({ stale }) => stale) ? (['stale'] as const) : []),
  ];
}

/** The marks of a value that is computed from values with these marks. */
export function together(marks: Marks[]): Marks {
  return {
    stale: marks.some(({ stale }) => stale),
    reconstructed: weakest(marks.map(({ reconstructed }) => reconstructed)),
  };
}

function weakest(all: (Reconstruction | null)[]): Reconstruction | null {
  return all.includes('estimate') ? 'estimate' : all.includes('lowerBound') ? 'lowerBound' : null;
}

/** The API's text; one that this page does not know is treated as an estimate. */
export function claimOf(text: string | undefined): Reconstruction | null {
  if (text === undefined) return null;
  return text === 'lowerBound' ? 'lowerBound' : 'estimate';
}
