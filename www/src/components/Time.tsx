// A time with its age: "14:05 UTC, 3 min ago".
import { formatAge, formatInstant, formatRecent } from '../model/format.ts';
import { useView } from '../state/route.ts';

export function Time({ at, now }: { at: number; now: number }) {
  const [view] = useView();
  return (
    <time dateTime={new Date(at).toISOString()} title={formatInstant(at, view.zone)}>
      {formatRecent(at, now, view.zone)}, {formatAge(now - at)}
    </time>
  );
}
