// The ledger: every run with its status, duration and cost, page by page.
import { useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, asApiError, fetchRuns, type RunFilter } from '../api/client.ts';
import {
  GRANULARITIES,
  type Granularity,
  RUN_STATUSES,
  type Run,
  type RunPage,
  type RunStatus,
} from '../api/types.ts';
import { formatCost, formatExact } from '../model/format.ts';
import { entriesOf, entryId, pagesThatFollow } from '../model/ledger.ts';
import { MINUTE } from '../model/period.ts';
import { useFocusHandover } from '../state/focus.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { reportAccess } from '../state/session.ts';
import { Badge } from './Badge.tsx';
import { Button } from './Button.tsx';
import { Failure } from './Failure.tsx';
import { RunRow } from './RunRow.tsx';
import { Select } from './Select.tsx';

const STATUS_OPTIONS = ['any', ...RUN_STATUSES] as const;
const GRANULARITY_OPTIONS = ['any', ...GRANULARITIES] as const;

export function RunLedger() {
  const [view, change] = useView();
  const filter = { status: view.runStatus, granularity: view.runGranularity };
  const key = `runs ${filter.status} ${filter.granularity}`;
  const first = useResource<RunPage>(key, (signal) => fetchRuns(filter, null, signal), MINUTE);
  const { runs, ...older } = useRuns(first.data, filter, key);

  const orNull = <T extends string>(option: T | 'any') => (option === 'any' ? null : option);
  return (
    <section class="panel" aria-labelledby="runs-title">
      <div class="section-head">
        <h2 id="runs-title">Runs</h2>
        <Select
          label="Status"
          value={view.runStatus ?? 'any'}
          options={STATUS_OPTIONS}
          name={(status) => status}
          onChange={(status) => change({ runStatus: orNull<RunStatus>(status) })}
        />
        <Select
          label="Granularity of runs"
          value={view.runGranularity ?? 'any'}
          options={GRANULARITY_OPTIONS}
          name={(granularity) => granularity}
          onChange={(granularity) => change({ runGranularity: orNull<Granularity>(granularity) })}
        />
        {first.error && first.data && <Badge tone="warn">not updated</Badge>}
      </div>
      {first.error && !first.data && (
        <Failure what="The ledger" error={first.error} onRetry={first.refresh} />
      )}
      {!first.data && !first.error && <div class="table-skeleton skeleton" aria-hidden="true" />}
      {first.data && runs.length === 0 && (
        <p class="absent">
          {view.runStatus || view.runGranularity
            ? 'No run matches these filters.'
            : 'There are no runs yet. The first one starts at the next full hour.'}
        </p>
      )}
      {runs.length > 0 && <RunTable runs={runs} />}
      {older.error && <Failure what="Older runs" error={older.error} onRetry={older.load} />}
      {older.cursor && !older.error && <OlderRuns loading={older.loading} onLoad={older.load} />}
    </section>
  );
}

function OlderRuns({ loading, onLoad }: { loading: boolean; onLoad: () => void }) {
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  return (
    <div ref={place}>
      <Button onClick={onLoad} off={loading}>
        {loading ? 'Loading…' : 'Show older runs'}
      </Button>
    </div>
  );
}

function RunTable({ runs }: { runs: Run[] }) {
  const sum = (of: (run: Run) => number) => runs.reduce((total, run) => total + of(run), 0);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard.
    <section class="table-scroll ledger" tabIndex={0} aria-label="Table of runs">
      <table>
        <caption>
          {`${runs.length} ${runs.length === 1 ? 'run' : 'runs'}, newest first: ${formatExact(
            sum((run) => run.readUnits),
            'count',
          )} read and ` +
            `${formatExact(
              sum((run) => run.writeUnits),
              'count',
            )} write units, about ${formatCost(sum((run) => run.estimatedCostUsd))}`}
        </caption>
        <thead>
          <tr>
            <th scope="col">Started</th>
            <th scope="col">Status</th>
            <th scope="col">Periods</th>
            <th scope="col">Trigger</th>
            <th scope="col" class="number">
              Duration
            </th>
            <th scope="col" class="number">
              Requests
            </th>
            <th scope="col" class="number">
              Read units
            </th>
            <th scope="col" class="number">
              Write units
            </th>
            <th scope="col" class="number">
              Cost
            </th>
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <RunRow key={entryId(run)} run={run} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface Older {
  key: string;
  /** The first page as it was when the second one was read, and the pages after it. */
  pages: RunPage[];
  loading: boolean;
  error: ApiError | null;
}

/** All runs that were read: the first page is updated, the others stay until the filter changes. */
function useRuns(first: RunPage | null, filter: RunFilter, key: string) {
  const none: Older = { key, pages: [], loading: false, error: null };
  const [state, setState] = useState(none);
  const older = state.key === key ? state : none;
  const abort = useRef(new AbortController());
  useEffect(() => {
    const ofKey = new AbortController();
    abort.current = ofKey;
    setState({ key, pages: [], loading: false, error: null });
    return () => ofKey.abort();
  }, [key]);

  const pages = pagesThatFollow(first, older.pages);
  const cursor = (pages.at(-1) ?? first)?.nextCursor ?? null;
  const load = async () => {
    if (!first || older.loading) return;
    const { signal } = abort.current;
    const read = pages.length > 0 ? pages : [first];
    setState({ ...older, loading: true, error: null });
    try {
      const page = await fetchRuns(filter, cursor, signal);
      if (signal.aborted) return;
      reportAccess(null);
      setState({ key, pages: [...read, page], loading: false, error: null });
    } catch (problem) {
      if (signal.aborted) return;
      const error = asApiError(problem);
      reportAccess(error);
      setState({ key, pages, loading: false, error });
    }
  };
  const runs = entriesOf(first ? [first, ...pages] : []);
  return { runs, cursor, loading: older.loading, error: older.error, load };
}
