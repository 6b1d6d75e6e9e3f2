// Health with its reasons, and the state of each granularity: last runs, watermark, missing periods.
import { fetchHealth } from '../api/client.ts';
import type { GranularityHealth, Health, HealthStatus } from '../api/types.ts';
import { ABSENT, formatExact, formatPeriod } from '../model/format.ts';
import { MINUTE, SECOND } from '../model/period.ts';
import { useNow } from '../state/clock.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { Badge, type Tone } from './Badge.tsx';
import { Button } from './Button.tsx';
import { Failure } from './Failure.tsx';
import { RunStatusBadge } from './RunStatusBadge.tsx';
import { Time } from './Time.tsx';

const TONES: Record<HealthStatus, Tone> = { ok: 'good', degraded: 'warn', failing: 'bad' };

export function HealthPanel() {
  const health = useResource<Health>('health', fetchHealth, MINUTE);
  const now = useNow(10 * SECOND);
  const { data, error } = health;
  return (
    <section class="panel" aria-labelledby="health-title">
      <div class="section-head">
        <h2 id="health-title">Health</h2>
        {data && <Badge tone={TONES[data.status]}>{data.status}</Badge>}
        {data && (
          <p class="age">
            checked <Time at={Date.parse(data.checkedAt)} now={now} />
            {error && <Badge tone="warn">not updated</Badge>}
          </p>
        )}
        <Button onClick={health.refresh} off={health.loading}>
          Check again
        </Button>
      </div>
      {error && !data && <Failure what="Health" error={error} onRetry={health.refresh} />}
      {!data && !error && <div class="table-skeleton skeleton" aria-hidden="true" />}
      {data && (
        <>
          <Reasons health={data} />
          <GranularityTable granularities={data.granularities} now={now} />
        </>
      )}
    </section>
  );
}

function Reasons({ health: { reasons } }: { health: Health }) {
  if (reasons.length === 0) return <p>Every period that is due has a record.</p>;
  return (
    <ul class="reasons">
      {reasons.map(({ severity, granularity, reason }) => (
        <li key={`${granularity} ${reason}`}>
          <Badge tone={TONES[severity]}>{severity}</Badge>{' '}
          {granularity && <span class="what">{granularity}</span>} {reason}
        </li>
      ))}
    </ul>
  );
}

function GranularityTable({ granularities, now }: { granularities: GranularityHealth[]; now: number }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard.
    <section class="table-scroll" tabIndex={0} aria-label="Table of granularities">
      <table>
        <caption>By granularity</caption>
        <thead>
          <tr>
            <th scope="col">Granularity</th>
            <th scope="col">Last run</th>
            <th scope="col">Last success</th>
            <th scope="col">Complete up to</th>
            <th scope="col" class="number">
              Periods behind
            </th>
            <th scope="col" class="number">
              Stale periods
            </th>
            <th scope="col">Missing periods</th>
            <th scope="col">Failing types</th>
          </tr>
        </thead>
        <tbody>
          {granularities.map((row) => (
            <GranularityRow key={row.granularity} row={row} now={now} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function GranularityRow({ row, now }: { row: GranularityHealth; now: number }) {
  const [view] = useView();
  const period = (text: string) => formatPeriod(Date.parse(text), row.granularity, view.zone);
  const failing = Object.entries(row.failingTypes);
  return (
    <tr>
      <th scope="row">{row.granularity}</th>
      <td>
        {row.lastRunAt ? <Time at={Date.parse(row.lastRunAt)} now={now} /> : 'never'}{' '}
        {row.lastStatus && <RunStatusBadge status={row.lastStatus} />}
      </td>
      <td>{row.lastSuccessAt ? <Time at={Date.parse(row.lastSuccessAt)} now={now} /> : 'never'}</td>
      <td>{row.watermark ? period(row.watermark) : ABSENT}</td>
      <td class="number">{formatExact(row.lag, 'count')}</td>
      <td class="number">{formatExact(row.stale, 'count')}</td>
      <td>
        {row.holes.length === 0 ? (
          'none'
        ) : (
          <details>
            <summary>{row.holes.length === 20 ? '20 or more' : row.holes.length}</summary>
            <ul>
              {row.holes.map((hole) => (
                <li key={hole}>{period(hole)}</li>
              ))}
            </ul>
          </details>
        )}
      </td>
      <td class="wrap">
        {failing.length === 0
          ? 'none'
          : failing.map(([type, why]) => <div key={type}>{`${type}: ${why}`}</div>)}
      </td>
    </tr>
  );
}
