// What a recalculation would change, before it is started.
import { useRef } from 'preact/hooks';
import type { RecalculationPreview } from '../api/types.ts';
import { formatExact, formatPeriodInZone, humanise } from '../model/format.ts';
import { useFocusHandover } from '../state/focus.ts';
import { useView } from '../state/route.ts';
import { Button } from './Button.tsx';

interface Props {
  preview: RecalculationPreview;
  overwrites: boolean;
  busy: boolean;
  onStart: () => void;
  onCancel: () => void;
}

export function RecalculationPreviewPanel({ preview, overwrites, busy, onStart, onCancel }: Props) {
  const [view] = useView();
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  const { metricType, periods, granularity, first, last, refreshed } = preview;
  const name = (text: string) => formatPeriodInZone(Date.parse(text), granularity, view.zone);
  const coarser = Object.entries(refreshed).filter(([, count]) => count > 0);
  if (periods === 0) {
    return (
      <div class="preview" role="status">
        <p>
          Nothing to recalculate: in these days there is no {granularity} period that has ended, is within
          retention, and is not before the first counted hour.
        </p>
      </div>
    );
  }
  return (
    <div class="preview" role="status" ref={place}>
      <p>
        <strong>
          {formatExact(periods, 'count')} {granularity} {periods === 1 ? 'period' : 'periods'}
        </strong>{' '}
        of {metricType === 'all' ? 'all metrics' : humanise(metricType)}
        {first && last && (
          <>
            {' '}
            from {name(first)} to {name(last)}
          </>
        )}
        .{' '}
        {coarser.length > 0
          ? `Also refreshed: ${coarser.map(([of, count]) => `${formatExact(count, 'count')} ${of}`).join(', ')}.`
          : 'No coarser period depends on them.'}
        {overwrites && ' Observed values are replaced.'}
      </p>
      <Button class="primary" off={busy} onClick={onStart}>
        Start recalculation
      </Button>
      <Button off={busy} onClick={onCancel}>
        Cancel
      </Button>
    </div>
  );
}
