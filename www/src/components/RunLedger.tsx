// The ledger: what ran, how it ended, how long it took and what it cost; a page at a time.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, fetchRuns } from '../api/client.ts';
import {
  GRANULARITIES,
  type Granularity,
  RUN_STATUSES,
  type Run,
  type RunPage,
  type RunStatus,
} from '../api/types.ts';
import { formatCost, formatExact } from '../model/format.ts';
import { MINUTE } from '../model/period.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { Badge } from './Badge.tsx';
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
  const older = useOlderRuns(first.data, key);
  const runs = [...(first.data?.runs ?? []), ...older.runs];

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
        {first.error && first.data && <Badge tone="warn">not renewed</Badge>}
      </div>
      {first.error && !first.data && (
        <Failure what="The ledger" error={first.error} onRetry={first.refresh} />
      )}
      {!first.data && !first.error && <div class="table-skeleton skeleton" aria-hidden="true" />}
      {first.data && runs.length === 0 && (
        <p class="absent">
          {view.runStatus || view.runGranularity
            ? 'No run matches these filters.'
            : 'Nothing has run yet. The first run comes with the next full hour.'}
        </p>
      )}
      {runs.length > 0 && <RunTable runs={runs} />}
      {older.error && <Failure what="Older runs" error={older.error} onRetry={older.load} />}
      {older.cursor && !older.error && (
        <button type="button" onClick={older.load} disabled={older.loading}>
          {older.loading ? 'Loading…' : 'Show older runs'}
        </button>
      )}
    </section>
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
            <th scope="col">Why</th>
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
            <th scope="col">What happened</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <RunRow key={run.runId} run={run} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Pages after the first; forgotten when the first one is another. */
function useOlderRuns(first: RunPage | null, key: string) {
  const [pages, setPages] = useState<RunPage[]>([]);
  const [loading, setLoading] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    setPages([]);
    setError(null);
  }, [key, first]);
  const [view] = useView();
  const cursor = (pages.at(-1) ?? first)?.nextCursor ?? null;

  const load = async () => {
    setLoading(true);
    setError(null);
    try {
      const filter = { status: view.runStatus, granularity: view.runGranularity };
      const page = await fetchRuns(filter, cursor, new AbortController().signal);
      setPages((before) => [...before, page]);
    } catch (problem) {
      setError(problem instanceof ApiError ? problem : new ApiError('failed', 'unexpected', String(problem)));
    } finally {
      setLoading(false);
    }
  };
  return { runs: pages.flatMap((page) => page.runs), cursor, loading, error, load };
}
