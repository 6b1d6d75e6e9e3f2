// Making stored periods again: choose, see what it would touch, start, watch.
import { useState } from 'preact/hooks';
import { ApiError, previewRecalculation, startRecalculation } from '../api/client.ts';
import {
  GRANULARITIES,
  type Granularity,
  type RecalculationPreview,
  type RecalculationRequest,
} from '../api/types.ts';
import { METRIC_TYPES } from '../model/catalogue.ts';
import { humanise } from '../model/format.ts';
import { DAY } from '../model/period.ts';
import { datesProblem, isoDate, parseDate } from '../model/range.ts';
import { useView } from '../state/route.ts';
import { reportAccess } from '../state/session.ts';
import { JobProgress } from './JobProgress.tsx';
import { RecalculationPreviewPanel } from './RecalculationPreviewPanel.tsx';
import { Select } from './Select.tsx';

const TYPE_OPTIONS = ['all', ...METRIC_TYPES] as const;

export function Recalculation() {
  const [view, change] = useView();
  const [metricType, setMetricType] = useState<(typeof TYPE_OPTIONS)[number]>('all');
  const [granularity, setGranularity] = useState<Granularity>('hourly');
  const [from, setFrom] = useState(() => isoDate(Date.now() - DAY));
  const [to, setTo] = useState(() => isoDate(Date.now()));
  const [preview, setPreview] = useState<RecalculationPreview | null>(null);
  const [previewed, setPreviewed] = useState<RecalculationRequest | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  /** A preview of other choices must not be what is confirmed. */
  const edit =
    <T,>(set: (value: T) => void) =>
    (value: T) => {
      set(value);
      setPreview(null);
      setProblem(null);
    };

  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      if (error instanceof ApiError) reportAccess(error);
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  const showPreview = (event: SubmitEvent) => {
    event.preventDefault();
    const found = datesProblem(from, to, Date.now());
    if (found) return setProblem(found);
    const request = {
      metricType,
      granularity,
      startDate: instantText(from, 0),
      endDate: instantText(to, DAY - 1),
    };
    return attempt(async () => {
      setPreview(await previewRecalculation(request));
      setPreviewed(request);
    });
  };

  const start = () =>
    attempt(async () => {
      if (!previewed) return;
      const job = await startRecalculation(previewed);
      setPreview(null);
      change({ job: job.jobId });
    });

  return (
    <section class="panel" aria-labelledby="recalculation-title">
      <h2 id="recalculation-title">Recalculate</h2>
      <p class="note">
        Counts stored periods again from the table as it is now. What the table has forgotten keeps its stored
        value; coarser periods that depend on these are refreshed.
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
        <button type="submit" disabled={busy}>
          Preview
        </button>
        <span class="note">Days in UTC, both included</span>
      </form>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {preview && (
        <RecalculationPreviewPanel
          preview={preview}
          busy={busy}
          onStart={start}
          onCancel={() => setPreview(null)}
        />
      )}
      {view.job && <JobProgress jobId={view.job} onDismiss={() => change({ job: null })} />}
    </section>
  );
}

function instantText(date: string, offset: number): string {
  return new Date((parseDate(date) ?? 0) + offset).toISOString();
}
