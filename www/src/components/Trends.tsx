// The charts: loads the records of the range and of the previous one, and exports all as one CSV.
import { fetchMetrics, type MetricsAnswer } from '../api/client.ts';
import type { Granularity } from '../api/types.ts';
import { type ChartSpec, METRIC_TYPES, typeOf } from '../model/catalogue.ts';
import { csvName, csvOf } from '../model/csv.ts';
import { formatPeriod, formatSpan, humanise } from '../model/format.ts';
import { addPeriods, MINUTE } from '../model/period.ts';
import { chooseRange, type Range, resolveRange } from '../model/range.ts';
import { chartData, chartsOf } from '../model/series.ts';
import type { View } from '../model/view.ts';
import { useNow } from '../state/clock.ts';
import { download } from '../state/download.ts';
import { type Resource, useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { Badge } from './Badge.tsx';
import { ChartCard } from './ChartCard.tsx';
import { EngagedContent } from './EngagedContent.tsx';
import { Failure } from './Failure.tsx';
import { RangeControls } from './RangeControls.tsx';
import { Time } from './Time.tsx';

export function Trends() {
  const [view] = useView();
  const now = useNow(MINUTE / 4);
  const range = resolveRange(chooseRange(view, now), now);
  const metrics = useMetrics(range.granularity, range.periods, range.running, 5 * MINUTE);
  const before = useMetrics(range.granularity, view.compare ? range.before : [], null, null);
  const types = metrics.data?.types ?? [];
  const failures = metrics.data?.failed ?? {};
  const charts = chartsOf(types, failures).map((spec) =>
    chartData(spec, types, range.periods, range.running?.start),
  );

  const failed = metrics.error !== null && !metrics.data;
  const empty = metrics.data !== null && isEmpty(metrics.data);
  const nothingOver = range.periods.length === 0;

  const exportAll = () => {
    const loaded = charts.filter(({ spec }) => !(typeOf(spec) in failures));
    download(csvName('analytics', range), 'text/csv', csvOf(loaded, range));
  };
  return (
    <section aria-labelledby="trends-title">
      <div class="section-head">
        <h2 id="trends-title">Over time</h2>
        <p class="note">{rangeInWords(range, view)}</p>
        <button type="button" class="at-end" onClick={exportAll} disabled={!metrics.data || empty}>
          Export CSV
        </button>
      </div>
      <RangeControls granularity={range.granularity} />
      <Notes metrics={metrics} before={view.compare ? before : null} now={now} />
      {metrics.error && failed && (
        <Failure what="The charts" error={metrics.error} onRetry={metrics.refresh} />
      )}
      {nothingOver && <NothingOver />}
      {empty && <NothingRecorded range={range} />}
      {!nothingOver && !empty && (
        <div class="charts" aria-busy={!metrics.data && !failed}>
          {!failed &&
            charts.map((data) => (
              <ChartCard
                key={data.spec.id}
                data={data}
                loading={!metrics.data}
                range={range}
                {...(view.compare ? beforeOf(data.spec, before, range) : NOT_COMPARED)}
                failure={failures[typeOf(data.spec)] ?? null}
                now={now}
                onRetry={metrics.refresh}
              />
            ))}
        </div>
      )}
      {metrics.data && !empty && (
        <EngagedContent
          types={types}
          range={range}
          failure={failures.interactions ?? null}
          onRetry={metrics.refresh}
        />
      )}
    </section>
  );
}

const NOT_COMPARED = { before: null, beforeFailure: null };

/** The data a chart is compared with, or why it could not be loaded; neither while it is loading. */
function beforeOf(spec: ChartSpec, { data, error }: Resource<MetricsAnswer>, range: Range) {
  const failure = data ? data.failed[typeOf(spec)] : error?.message;
  if (failure !== undefined) return { before: null, beforeFailure: failure };
  return { before: data && chartData(spec, data.types, range.before), beforeFailure: null };
}

function useMetrics(
  granularity: Granularity,
  periods: number[],
  running: Range['running'],
  every: number | null,
): Resource<MetricsAnswer> {
  const first = periods[0];
  const last = periods.at(-1);
  const key = first === undefined ? null : `metrics ${granularity} ${first} ${last} ${running?.start}`;
  return useResource<MetricsAnswer>(
    key,
    (signal) => {
      const end = (running?.end ?? addPeriods(granularity, last ?? 0, 1)) - 1;
      return fetchMetrics(granularity, first ?? 0, end, running !== null, METRIC_TYPES, signal);
    },
    every,
  );
}

function rangeInWords(range: Range, view: View): string {
  const first = range.periods[0];
  const last = range.periods.at(-1);
  if (first === undefined || last === undefined) return '';
  const count = `${range.periods.length} ${range.granularity} ${range.periods.length === 1 ? 'period' : 'periods'}`;
  // Days and longer periods are UTC's: in other zones the text names the hour at which they begin.
  if (range.granularity === 'hourly' || view.zone === 'local') {
    return `${count}: ${formatSpan(first, range.end, view.zone)}`;
  }
  const name = (start: number) => formatPeriod(start, range.granularity, view.zone);
  return `${count}: ${name(first)} to ${name(last)} (UTC)`;
}

interface NotesProps {
  metrics: Resource<MetricsAnswer>;
  before: Resource<MetricsAnswer> | null;
  now: number;
}

function Notes({ metrics, before, now }: NotesProps) {
  const failed = Object.keys(metrics.data?.failed ?? {});
  const failedBefore = Object.entries(before?.data?.failed ?? {});
  return (
    <div class="notes">
      {metrics.error && metrics.data && metrics.loadedAt !== null && (
        <p>
          <Badge tone="warn">not updated</Badge> {metrics.error.message} Loaded{' '}
          <Time at={metrics.loadedAt} now={now} />.
        </p>
      )}
      {failed.length > 0 && (
        <p>
          <Badge tone="warn">incomplete</Badge> Not loaded, and not in the exported CSV:{' '}
          {failed.map(humanise).join(', ')}.
        </p>
      )}
      {before?.error && !before.data && (
        <p>
          <Badge tone="warn">no comparison</Badge> The previous period could not be loaded:{' '}
          {before.error.message}
        </p>
      )}
      {failedBefore.map(([type, why]) => (
        <p key={type}>
          <Badge tone="warn">no comparison</Badge> {humanise(type)} of the previous period could not be
          loaded: {why}
        </p>
      ))}
    </div>
  );
}

/** Whether the range certainly has no records: a type that could not be read may have some. */
function isEmpty({ types, failed }: MetricsAnswer): boolean {
  return Object.keys(failed).length === 0 && types.every((type) => type.dataPoints.length === 0);
}

function NothingOver() {
  return (
    <div class="panel empty">
      <h3>No period of this range has ended yet</h3>
      <p>The first values appear after the first full hour. Until then, select another range.</p>
    </div>
  );
}

function NothingRecorded({ range }: { range: Range }) {
  const [, change] = useView();
  return (
    <div class="panel empty">
      <h3>No records in this range</h3>
      <p>
        Hours are computed when they end, days after midnight UTC, weeks and months at their end. In a new
        installation the first values appear after the next full hour. Periods before the first counted hour
        and periods past retention have no records, and none can be computed
        {range.granularity === 'hourly' && '; a coarser granularity may have earlier records'}. The operations
        page shows whether records are missing.
      </p>
      <button type="button" onClick={() => change({ page: 'operations' })}>
        Go to operations
      </button>
    </div>
  );
}
