// The marks of a value: a sign that needs no colour, with its meaning as a tooltip and for screen readers.
import { MEANINGS, SIGNS, type Marks as ValueMarks } from '../model/marks.ts';

type Kind = keyof typeof SIGNS;

export function Marks({ marks: { reconstructed, stale } }: { marks: ValueMarks }) {
  return (
    <>
      {reconstructed && <Mark of={reconstructed} />}
      {stale && <Mark of="stale" />}
    </>
  );
}

function Mark({ of }: { of: Kind }) {
  return (
    <span class="value-mark" role="img" aria-label={MEANINGS[of]} title={MEANINGS[of]}>
      {SIGNS[of]}
    </span>
  );
}

/** What the signs mean. */
export function MarkKey({ kinds }: { kinds: Kind[] }) {
  return (
    <>
      {kinds.map((of) => (
        <span key={of} class="mark-key">
          {SIGNS[of]} {MEANINGS[of]}
        </span>
      ))}
    </>
  );
}
