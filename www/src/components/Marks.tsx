// The marks of a value, beside it: a sign, and what it means for whoever points at it or listens.
import { MEANINGS, SIGNS, type Marks as ValueMarks } from '../model/marks.ts';

export function Marks({ marks: { reconstructed, stale } }: { marks: ValueMarks }) {
  return (
    <>
      {reconstructed && <Mark of={reconstructed} />}
      {stale && <Mark of="stale" />}
    </>
  );
}

function Mark({ of }: { of: keyof typeof SIGNS }) {
  return (
    <span class="value-mark" data-mark={of} title={MEANINGS[of]}>
      <span aria-hidden="true">{SIGNS[of]}</span>
      <span class="visually-hidden">{` (${MEANINGS[of]}) `}</span>
    </span>
  );
}
