// The age of a chart's newest record, and whether newer ones are overdue.
import { formatPeriod } from '../model/format.ts';
import { freshnessOf } from '../model/freshness.ts';
import type { Range } from '../model/range.ts';
import type { ChartData } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { Badge } from './Badge.tsx';
import { Time } from './Time.tsx';

export function ChartAge({ data, range, now }: { data: ChartData; range: Range; now: number }) {
  const [view] = useView();
  const latest = data.calculatedAt.findLastIndex((at) => at !== null);
  const calculatedAt = data.calculatedAt[latest];
  const freshness = freshnessOf(range, latest, now);
  const lastPeriod = formatPeriod(data.periods[latest] ?? 0, range.granularity, view.zone);
  return (
    <p class="age">
      {calculatedAt == null ? (
        <Badge tone="quiet">no data</Badge>
      ) : (
        <>
          as of <Time at={calculatedAt} now={now} />
        </>
      )}
      {freshness.state === 'outdated' && (
        <Badge tone="warn" title={`The latest values are of ${lastPeriod}`}>
          {`outdated: ${freshness.behind} ${freshness.behind === 1 ? 'period' : 'periods'} behind`}
        </Badge>
      )}
      {freshness.state === 'due' && <Badge tone="quiet">run in progress</Badge>}
    </p>
  );
}
