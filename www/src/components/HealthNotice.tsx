// A notice on the overview if runs are late or fail.
import { fetchHealth } from '../api/client.ts';
import type { Health } from '../api/types.ts';
import { MINUTE } from '../model/period.ts';
import { formatView } from '../model/view.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';

export function HealthNotice() {
  const [view, change] = useView();
  const { data } = useResource<Health>('health', fetchHealth, 5 * MINUTE);
  if (!data || data.status === 'ok') return null;
  const toOperations = { ...view, page: 'operations' as const };
  return (
    <section class={`banner ${data.status === 'failing' ? 'banner-bad' : 'banner-warn'}`} aria-label="Health">
      <p>
        <strong>
          {data.status === 'failing' ? 'Runs are failing.' : 'Some values are late or incomplete.'}
        </strong>{' '}
        {data.reasons.map(({ reason }) => reason).join(' ')}
      </p>
      <a
        href={formatView(toOperations)}
        onClick={(event) => {
          event.preventDefault();
          change(toOperations);
        }}
      >
        Details
      </a>
    </section>
  );
}
