// What a reader must know to trust a value: how it came about, and whether it is about to change. No
// mark: it is right. The words are here, once.
import type { Reconstruction } from '../api/types.ts';

export interface Marks {
  stale: boolean;
  reconstructed: Reconstruction | null;
}

export const UNMARKED: Marks = { stale: false, reconstructed: null };

export const isMarked = ({ stale, reconstructed }: Marks): boolean => stale || reconstructed !== null;

/** Beside a value: a sign that needs no colour. */
export const SIGNS: Record<Reconstruction | 'stale', string> = { lowerBound: '≥', estimate: '≈', stale: '↻' };

export const MEANINGS: Record<Reconstruction | 'stale', string> = {
  lowerBound: 'reconstructed later: at least this many',
  estimate: 'reconstructed later: an estimate',
  stale: 'being recalculated: a finer figure has changed',
};

/** What the marks mean, one line each. */
export function meaningsOf(marks: Marks): string[] {
  return kindsOf([marks]).map((of) => MEANINGS[of]);
}

/** Each kind of mark that any of these is, once. */
export function kindsOf(all: Marks[]): (Reconstruction | 'stale')[] {
  return [
    ...(['lowerBound', 'estimate'] as const).filter((of) =>
      all.some(({ reconstructed }) => reconstructed === of),
    ),
    ...(all.some(({ stale }) => stale) ? (['stale'] as const) : []),
  ];
}

/** The marks of what is made from all of these: the weakest claim of any. */
export function together(marks: Marks[]): Marks {
  return {
    stale: marks.some(({ stale }) => stale),
    reconstructed: weakest(marks.map(({ reconstructed }) => reconstructed)),
  };
}

function weakest(all: (Reconstruction | null)[]): Reconstruction | null {
  return all.includes('estimate') ? 'estimate' : all.includes('lowerBound') ? 'lowerBound' : null;
}

/** A claim of the API; one that this page does not know is taken for the weakest. */
export function claimOf(text: string | undefined): Reconstruction | null {
  if (text === undefined) return null;
  return text === 'lowerBound' ? 'lowerBound' : 'estimate';
}
