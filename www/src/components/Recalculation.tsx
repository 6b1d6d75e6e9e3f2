// Recalculation of stored periods: form, preview, start, progress.
import { useRef, useState } from 'preact/hooks';
import { asApiError, previewRecalculation, startRecalculation } from '../api/client.ts';
import {
  GRANULARITIES,
  type Granularity,
  type RecalculationPreview,
  type RecalculationRequest,
} from '../api/types.ts';
import { METRIC_TYPES } from '../model/catalogue.ts';
import { humanise } from '../model/format.ts';
import { DAY } from '../model/period.ts';
import { datesProblem, isoDate } from '../model/range.ts';
import { recalculationRequest } from '../model/recalculation.ts';
import { useView } from '../state/route.ts';
import { reportAccess } from '../state/session.ts';
import { Button } from './Button.tsx';
import { JobProgress } from './JobProgress.tsx';
import { RecalculationPreviewPanel } from './RecalculationPreviewPanel.tsx';
import { Select } from './Select.tsx';

const TYPE_OPTIONS = ['all', ...METRIC_TYPES] as const;

/** A request with its preview. */
interface Confirmable {
  request: RecalculationRequest;
  preview: RecalculationPreview;
}

export function Recalculation() {
  const [view, change] = useView();
  const [metricType, setMetricType] = useState<(typeof TYPE_OPTIONS)[number]>('all');
  const [granularity, setGranularity] = useState<Granularity>('hourly');
  const [from, setFrom] = useState(() => isoDate(Date.now() - DAY));
  const [to, setTo] = useState(() => isoDate(Date.now()));
  const [overwrite, setOverwrite] = useState(false);
  const [confirmable, setConfirmable] = useState<Confirmable | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [previewing, setPreviewing] = useState(false);
  const [starting, setStarting] = useState(false);
  /** Increments with every change and every preview: responses to earlier requests are ignored. */
  const turn = useRef(0);

  const forgetPreview = () => {
    turn.current += 1;
    setConfirmable(null);
    setPreviewing(false);
    setProblem(null);
  };

  /** Drops the preview, which must match what is confirmed. */
  const edit =
    <T,>(set: (value: T) => void) =>
    (value: T) => {
      set(value);
      forgetPreview();
    };

  const fail = (error: unknown) => {
    const failure = asApiError(error);
    reportAccess(failure);
    setProblem(failure.message);
  };

  const showPreview = async (event: SubmitEvent) => {
    event.preventDefault();
    if (previewing || starting) return;
    forgetPreview();
    const found = datesProblem(from, to, Date.now());
    if (found) return setProblem(found);
    const request = recalculationRequest({ metricType, granularity, from, to, overwrite });
    const asked = turn.current;
    const isCurrent = () => turn.current === asked;
    setPreviewing(true);
    try {
      const preview = await previewRecalculation(request);
      if (isCurrent()) setConfirmable({ request, preview });
    } catch (error) {
      if (isCurrent()) fail(error);
    } finally {
      if (isCurrent()) setPreviewing(false);
    }
  };

  const start = async ({ request }: Confirmable) => {
    setStarting(true);
    setProblem(null);
    try {
      const job = await startRecalculation(request);
      setConfirmable(null);
      change({ job: job.jobId });
    } catch (error) {
      fail(error);
    } finally {
      setStarting(false);
    }
  };

  return (
    <section class="panel" aria-labelledby="recalculation-title">
      <h2 id="recalculation-title">Recalculate</h2>
      <p class="note">
        Recomputes stored periods from the table as it is now. Observed values are kept. Coarser periods that
        depend on these periods are refreshed.
      </p>
      <form class="recalculation" onSubmit={showPreview} noValidate aria-label="Recalculation">
        <Select
          label="Metrics"
          value={metricType}
          options={TYPE_OPTIONS}
          name={humanise}
          onChange={edit(setMetricType)}
        />
        <Select
          label="Periods"
          value={granularity}
          options={GRANULARITIES}
          name={humanise}
          onChange={edit(setGranularity)}
        />
        <label>
          First day
          <input type="date" value={from} onInput={(event) => edit(setFrom)(event.currentTarget.value)} />
        </label>
        <label>
          Last day
          <input type="date" value={to} onInput={(event) => edit(setTo)(event.currentTarget.value)} />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={overwrite}
            aria-describedby="overwrite-note"
            onChange={(event) => edit(setOverwrite)(event.currentTarget.checked)}
          />
          Overwrite
        </label>
        <Button submits off={previewing || starting}>
          Preview
        </Button>
        <span class="note">Days in UTC, both included.</span>
        <span class="note" id="overwrite-note">
          Overwrite: replaces observed values with values from the table as it is now, and marks them as
          reconstructed.
        </span>
      </form>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {confirmable && (
        <RecalculationPreviewPanel
          preview={confirmable.preview}
          overwrites={confirmable.request.overwrite === true}
          busy={starting}
          onStart={() => start(confirmable)}
          onCancel={forgetPreview}
        />
      )}
      {view.job && <JobProgress jobId={view.job} onDismiss={() => change({ job: null })} />}
    </section>
  );
}
