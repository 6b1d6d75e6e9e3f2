// One run of the ledger: one line, with failures and malformed items as details.
import type { Run } from '../api/types.ts';
import { formatCost, formatDuration, formatExact, formatInstant, formatPeriod } from '../model/format.ts';
import { useView } from '../state/route.ts';
import { RunStatusBadge } from './RunStatusBadge.tsx';

export function RunRow({ run }: { run: Run }) {
  const [view] = useView();
  const period = (text: string) => formatPeriod(Date.parse(text), run.granularity, view.zone);
  return (
    <tr data-status={run.status}>
      <th scope="row">{formatInstant(Date.parse(run.startedAt), view.zone)}</th>
      <td>
        <RunStatusBadge status={run.status} />
      </td>
      <td>
        {run.granularity}: {period(run.timestamp)}
        {run.periods > 1 && ` and ${run.periods - 1} more`}
      </td>
      <td>
        {run.trigger}
        {run.attempt > 1 && `, attempt ${run.attempt}`}
      </td>
      <td class="number">{formatDuration(run.milliseconds)}</td>
      <td class="number">{formatExact(run.requests, 'count')}</td>
      <td class="number">{formatExact(run.readUnits, 'count')}</td>
      <td class="number">{formatExact(run.writeUnits, 'count')}</td>
      <td class="number">{formatCost(run.estimatedCostUsd)}</td>
      <td class="wrap">
        <Findings run={run} />
      </td>
    </tr>
  );
}

function Findings({ run }: { run: Run }) {
  const failed = Object.entries(run.typesFailed).map(([type, why]) => `${type} failed: ${why}`);
  const malformed = Object.entries(run.malformed).map(
    ([metric, items]) => `${items} malformed ${items === 1 ? 'item' : 'items'} left out of ${metric}`,
  );
  const left =
    run.left > 0 ? [`${run.left} ${run.left === 1 ? 'period' : 'periods'} left for the next run`] : [];
  const findings = [...failed, ...run.problems, ...malformed, ...left];
  const written = [
    `${run.typesWritten.length} written`,
    run.typesUnchanged.length > 0 && `${run.typesUnchanged.length} unchanged`,
    run.typesSuperseded.length > 0 && `${run.typesSuperseded.length} superseded`,
    failed.length > 0 && `${failed.length} failed`,
  ].filter(Boolean);
  if (findings.length === 0) return <>{written.join(', ')}</>;
  return (
    <details>
      <summary>{written.join(', ')}; details</summary>
      <ul>
        {findings.map((finding) => (
          <li key={finding}>{finding}</li>
        ))}
      </ul>
    </details>
  );
}
