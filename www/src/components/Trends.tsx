// Everything over time: loads the records of the range (and of the one before), hands each chart
// its part, and the whole as one CSV.
import { fetchMetrics, type MetricsAnswer } from '../api/client.ts';
import type { Granularity } from '../api/types.ts';
import { METRIC_TYPES } from '../model/catalogue.ts';
import { csvName, csvOf } from '../model/csv.ts';
import { formatDateTime, formatPeriod, zoneName } from '../model/format.ts';
import { addPeriods, MINUTE } from '../model/period.ts';
import { type Range, resolveRange } from '../model/range.ts';
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
  const range = resolveRange(view, now);
  const metrics = useMetrics(range.granularity, range.periods, 5 * MINUTE);
  const before = useMetrics(range.granularity, view.compare ? range.before : [], null);
  const types = metrics.data?.types ?? [];
  const charts = chartsOf(types).map((spec) => chartData(spec, types, range.periods));

  const failed = metrics.error !== null && !metrics.data;

  const exportAll = () => download(csvName('analytics', range), 'text/csv', csvOf(charts, range));
  return (
    <section aria-labelledby="trends-title">
      <div class="section-head">
        <h2 id="trends-title">Over time</h2>
        <p class="note">{rangeInWords(range, view)}</p>
        <button type="button" class="at-end" onClick={exportAll} disabled={!metrics.data || isEmpty(types)}>
          Export CSV
        </button>
      </div>
      <RangeControls />
      <Notes metrics={metrics} before={view.compare ? before : null} now={now} />
      {metrics.error && failed && (
        <Failure what="The charts" error={metrics.error} onRetry={metrics.refresh} />
      )}
      {metrics.data && isEmpty(types) ? (
        <NothingRecorded range={range} />
      ) : (
        <div class="charts" aria-busy={!metrics.data && !failed}>
          {!failed &&
            charts.map((data) => (
              <ChartCard
                key={data.spec.id}
                data={data}
                loading={!metrics.data}
                range={range}
                before={
                  before.data && view.compare ? chartData(data.spec, before.data.types, range.before) : null
                }
                failure={metrics.data?.failed[data.spec.metrics[0]?.type ?? ''] ?? null}
                now={now}
                onRetry={metrics.refresh}
              />
            ))}
        </div>
      )}
      {metrics.data && !isEmpty(types) && <EngagedContent types={types} range={range} />}
    </section>
  );
}

function useMetrics(
  granularity: Granularity,
  periods: number[],
  every: number | null,
): Resource<MetricsAnswer> {
  const first = periods[0];
  const last = periods.at(-1);
  const key = first === undefined ? null : `metrics ${granularity} ${first} ${last}`;
  return useResource<MetricsAnswer>(
    key,
    (signal) => {
      const end = addPeriods(granularity, last ?? 0, 1) - 1;
      return fetchMetrics(granularity, first ?? 0, end, METRIC_TYPES, signal);
    },
    every,
  );
}

function rangeInWords(range: Range, view: View): string {
  const first = range.periods[0];
  const last = range.periods.at(-1);
  if (first === undefined || last === undefined) return 'No period of these dates is over yet.';
  const zone = zoneName(view.zone, last);
  const count = `${range.periods.length} ${range.granularity} periods`;
  // Days and longer are UTC's: elsewhere they begin at some hour, which is then said.
  if (range.granularity === 'hourly' || view.zone === 'local') {
    return `${count}: ${formatDateTime(first, view.zone)} to ${formatDateTime(range.end, view.zone)} (${zone})`;
  }
  const name = (start: number) => formatPeriod(start, range.granularity, view.zone);
  return `${count}: ${name(first)} to ${name(last)} (${zone})`;
}

interface NotesProps {
  metrics: Resource<MetricsAnswer>;
  before: Resource<MetricsAnswer> | null;
  now: number;
}

function Notes({ metrics, before, now }: NotesProps) {
  return (
    <div class="notes">
      {metrics.error && metrics.data && metrics.loadedAt !== null && (
        <p>
          <Badge tone="warn">not renewed</Badge> {metrics.error.message} Loaded{' '}
          <Time at={metrics.loadedAt} now={now} />.
        </p>
      )}
      {before?.error && !before.data && (
        <p>
          <Badge tone="warn">no comparison</Badge> The period before could not be loaded:{' '}
          {before.error.message}
        </p>
      )}
    </div>
  );
}

function isEmpty(types: { dataPoints: unknown[] }[]): boolean {
  return types.every((type) => type.dataPoints.length === 0);
}

function NothingRecorded({ range }: { range: Range }) {
  const [, change] = useView();
  return (
    <div class="panel empty">
      <h3>Nothing is recorded for this range</h3>
      <p>
        Hours are counted when they are over, days after midnight UTC, weeks and months at their end. If this
        is a new installation, the first figures come with the next full hour. Older{' '}
        {range.granularity === 'hourly'
          ? 'hours are kept for 30 days; try a coarser granularity, or'
          : 'periods can be made:'}{' '}
        recalculate the range on the operations page.
      </p>
      <button type="button" onClick={() => change({ page: 'operations' })}>
        Go to operations
      </button>
    </div>
  );
}
