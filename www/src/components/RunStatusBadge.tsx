// The status of a run.
import type { RunStatus } from '../api/types.ts';
import { Badge, type Tone } from './Badge.tsx';

const TONES: Record<RunStatus, Tone> = { complete: 'good', partial: 'warn', failed: 'bad', held: 'quiet' };

const MEANINGS: Record<RunStatus, string> = {
  complete: 'Everything was written.',
  partial: 'Some types were written, others failed.',
  failed: 'Nothing could be written.',
  held: 'Skipped: another run was processing the same period.',
};

export function RunStatusBadge({ status }: { status: RunStatus }) {
  return (
    <Badge tone={TONES[status] ?? 'quiet'} title={MEANINGS[status] ?? ''}>
      {status}
    </Badge>
  );
}
