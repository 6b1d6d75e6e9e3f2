// What a recalculation would touch, before anything is started.
import type { RecalculationPreview } from '../api/types.ts';
import { formatExact, formatPeriod, zoneName } from '../model/format.ts';
import { useView } from '../state/route.ts';

interface Props {
  preview: RecalculationPreview;
  busy: boolean;
  onStart: () => void;
  onCancel: () => void;
}

export function RecalculationPreviewPanel({ preview, busy, onStart, onCancel }: Props) {
  const [view] = useView();
  const { periods, granularity, first, last, refreshed } = preview;
  const name = (text: string) => formatPeriod(Date.parse(text), granularity, view.zone);
  const coarser = Object.entries(refreshed).filter(([, count]) => count > 0);
  if (periods === 0) {
    return (
      <div class="preview" role="status">
        <p>No {granularity} period of these days is over: there is nothing to recalculate.</p>
      </div>
    );
  }
  return (
    <div class="preview" role="status">
      <p>
        <strong>
          {formatExact(periods, 'count')} {granularity} {periods === 1 ? 'period' : 'periods'}
        </strong>{' '}
        {first && last && (
          <>
            from {name(first)} to {name(last)} {zoneName(view.zone, Date.parse(last))}
          </>
        )}
        .{' '}
        {coarser.length > 0
          ? `Refreshed from them: ${coarser.map(([of, count]) => `${formatExact(count, 'count')} ${of}`).join(', ')}.`
          : 'No coarser period depends on them.'}
      </p>
      <button type="button" class="primary" disabled={busy} onClick={onStart}>
        Start recalculation
      </button>
      <button type="button" disabled={busy} onClick={onCancel}>
        Cancel
      </button>
    </div>
  );
}
