// The realtime counters: visitors of the last minutes and new items of the last 24 hours, updated
// automatically, with their age.
import { useRef } from 'preact/hooks';
import { fetchRealtime } from '../api/client.ts';
import type { Counter, Realtime } from '../api/types.ts';
import { formatAge, formatExact, formatMoment, type Unit } from '../model/format.ts';
import { isNumeric } from '../model/numeric.ts';
import { MINUTE, SECOND } from '../model/period.ts';
import { hasBegun, isBehind } from '../model/realtime.ts';
import { useNow } from '../state/clock.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { Badge } from './Badge.tsx';
import { Button } from './Button.tsx';
import { Failure } from './Failure.tsx';
import { Time } from './Time.tsx';

const VISITORS = [
  { name: 'visitorsLast5Minutes', label: 'Last 5 minutes' },
  { name: 'visitorsLast30Minutes', label: 'Last 30 minutes' },
] as const;

const NEW: readonly { name: string; label: string; unit?: Unit }[] = [
  { name: 'Users', label: 'Users' },
  { name: 'Views', label: 'Views' },
  { name: 'Media', label: 'Media' },
  { name: 'Albums', label: 'Albums' },
  { name: 'Likes', label: 'Likes' },
  { name: 'Bookmarks', label: 'Bookmarks' },
  { name: 'Comments', label: 'Comments' },
  { name: 'Generations', label: 'Generations' },
  { name: 'Revenue', label: 'Revenue', unit: 'usd' },
];

export function RealtimeStrip() {
  const now = useNow(MINUTE);
  const countAnew = useRef(false);
  const realtime = useResource<Realtime>(
    'realtime',
    (signal) => {
      const fresh = countAnew.current;
      countAnew.current = false;
      return fetchRealtime(signal, fresh);
    },
    30 * SECOND,
    () => false,
    // A newer snapshot follows soon: before the first one, and during a refresh.
    ({ refreshing, lastUpdated }) => refreshing || lastUpdated === null,
  );
  /** On request of the user the counters are refreshed instead of read from the cache. */
  const countNow = () => {
    countAnew.current = true;
    realtime.refresh();
  };
  const { data, error } = realtime;
  const counters = new Map(data?.counters.map((counter) => [counter.metricKey, counter]));
  return (
    <section class="panel realtime" aria-labelledby="realtime-title">
      <div class="section-head">
        <h2 id="realtime-title">Right now</h2>
        <p class="realtime-age">{data && <RealtimeAge realtime={data} notRenewed={error !== null} />}</p>
        <Button onClick={countNow} off={realtime.loading}>
          Refresh
        </Button>
      </div>
      {error && !data ? (
        <Failure what="The realtime figures" error={error} onRetry={realtime.refresh} />
      ) : (
        <div class="realtime-groups" aria-busy={!data}>
          <div>
            <h3>Visitors</h3>
            <dl class="realtime-figures">
              {VISITORS.map(({ name, label }) => (
                <Figure key={name} label={label} counter={counters.get(name)} realtime={data} now={now} />
              ))}
            </dl>
          </div>
          <div>
            <h3>New in the last 24 hours</h3>
            <dl class="realtime-figures">
              {NEW.map(({ name, label, unit }) => (
                <Figure
                  key={name}
                  label={label}
                  counter={counters.get(`new${name}Last24Hours`)}
                  today={counters.get(`new${name}Today`)}
                  unit={unit ?? 'count'}
                  realtime={data}
                  now={now}
                />
              ))}
            </dl>
          </div>
        </div>
      )}
    </section>
  );
}

interface FigureProps {
  label: string;
  counter: Counter | undefined;
  today?: Counter | undefined;
  unit?: Unit;
  /** null while loading. */
  realtime: Realtime | null;
  now: number;
}

function Figure({ label, counter, today, unit = 'count', realtime, now }: FigureProps) {
  const [view] = useView();
  const value = isNumeric(counter?.value) ? counter.value : null;
  const asOf = counter && realtime && isBehind(counter, realtime) ? Date.parse(counter.lastUpdated) : null;
  return (
    <div class="realtime-figure">
      <dt>{label}</dt>
      <dd>
        <span>
          {!realtime ? (
            <span class="skeleton-text" />
          ) : value === null ? (
            <span class="absent">no data</span>
          ) : (
            <strong>{formatExact(value, unit)}</strong>
          )}
          {counter?.stale && (
            <Badge tone="warn" title={`Calculated ${formatAge(counter.ageSeconds * SECOND)}`}>
              outdated
            </Badge>
          )}
        </span>
        {today && (
          <span class="today">
            today{' '}
            {isNumeric(today.value) && hasBegun(today, now) ? formatExact(today.value, unit) : 'no data yet'}
          </span>
        )}
        {asOf !== null && <span class="today">as of {formatMoment(asOf, now, view.zone)}</span>}
      </dd>
    </div>
  );
}

function RealtimeAge({ realtime, notRenewed }: { realtime: Realtime; notRenewed: boolean }) {
  const now = useNow(SECOND);
  if (realtime.lastUpdated === null) {
    return <Badge tone="warn">not counted yet</Badge>;
  }
  const at = Date.parse(realtime.lastUpdated);
  const stale = realtime.stale || notRenewed || now - at > 15 * MINUTE;
  return (
    <>
      as of <Time at={at} now={now} /> {stale && <Badge tone="warn">outdated</Badge>}
      {realtime.source === 'dynamodb' && <span class="note"> read from the database</span>}
      {realtime.refreshing && <span class="note"> being refreshed</span>}
    </>
  );
}
