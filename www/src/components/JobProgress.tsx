// The progress of a recalculation: periods done, failures, when it ended. The user can end it.
import { useId, useRef, useState } from 'preact/hooks';
import { asApiError, dismissJob, fetchJob } from '../api/client.ts';
import type { Job } from '../api/types.ts';
import { formatExact, formatInstant } from '../model/format.ts';
import { SECOND } from '../model/period.ts';
import { useFocusHandover } from '../state/focus.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { reportAccess } from '../state/session.ts';
import { Badge, type Tone } from './Badge.tsx';
import { Button } from './Button.tsx';
import { Failure } from './Failure.tsx';

const TONES: Record<Job['status'], Tone> = {
  queued: 'quiet',
  running: 'quiet',
  complete: 'good',
  failed: 'bad',
};

export function JobProgress({ jobId, onDismiss }: { jobId: string; onDismiss: () => void }) {
  const id = useId();
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  const [view] = useView();
  const job = useResource<Job>(`job ${jobId}`, (signal) => fetchJob(jobId, signal), 1.5 * SECOND, hasEnded);
  const { data, error } = job;
  const ended = data !== null && hasEnded(data);
  return (
    <div class="job" data-job={data?.status} ref={place}>
      {error && !data && <Failure what="The recalculation" error={error} onRetry={job.refresh} />}
      {data && (
        <>
          <p>
            <label for={id}>
              Recalculation of {data.metricType}, {data.granularity}
            </label>{' '}
            <Badge tone={TONES[data.status]}>{data.status}</Badge>
            {error && <Badge tone="warn">not updated</Badge>}
          </p>
          <progress id={id} max={Math.max(1, data.periods)} value={data.done + data.failed} />
          <p role="status">
            {formatExact(data.done, 'count')} of {formatExact(data.periods, 'count')} periods done
            {data.failed > 0 && `, ${formatExact(data.failed, 'count')} failed`}
            {data.finishedAt && `, finished ${formatInstant(Date.parse(data.finishedAt), view.zone)}`}.
          </p>
          {data.lastReason !== null && <p class="problem">Last attempt failed: {data.lastReason}</p>}
          {data.reasons.length > 0 && (
            <ul class="reasons">
              {data.reasons.map((reason) => (
                <li key={reason}>{reason}</li>
              ))}
            </ul>
          )}
        </>
      )}
      {data && !ended && <EndJob jobId={jobId} onEnded={job.refresh} />}
      {(ended || error) && (
        <button type="button" onClick={onDismiss}>
          Dismiss
        </button>
      )}
    </div>
  );
}

/** Ends the job, after a confirmation. */
function EndJob({ jobId, onEnded }: { jobId: string; onEnded: () => void }) {
  const [asked, setAsked] = useState(false);
  const [ending, setEnding] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  const end = async () => {
    setEnding(true);
    setProblem(null);
    try {
      await dismissJob(jobId);
      onEnded();
    } catch (error) {
      const failure = asApiError(error);
      reportAccess(failure);
      setProblem(failure.message);
    } finally {
      setEnding(false);
    }
  };
  return (
    <div class="end-job" ref={place}>
      {/* One button for both steps, so that it keeps the focus. */}
      <Button off={ending} onClick={() => (asked ? end() : setAsked(true))}>
        {asked ? 'Confirm' : 'End recalculation'}
      </Button>
      {asked && (
        <Button off={ending} onClick={() => setAsked(false)}>
          Keep running
        </Button>
      )}
      <span role="status" class="note">
        {asked && 'Periods that are done keep their new values. The others are not recalculated.'}
      </span>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
    </div>
  );
}

function hasEnded({ status }: Job): boolean {
  return status === 'complete' || status === 'failed';
}
