// One banner for the whole page: values cannot be updated, and when the next attempt is.
import { useRef } from 'preact/hooks';
import { SECOND } from '../model/period.ts';
import { useNow } from '../state/clock.ts';
import { type Outage, tryNow, useOutage } from '../state/connection.ts';
import { useFocusHandover } from '../state/focus.ts';

const WHAT = {
  network: ['Offline.', 'The server cannot be reached.'],
  unavailable: ['Database unavailable.', 'The server answers, but its database does not.'],
} as const;

export function ConnectionBanner() {
  const outage = useOutage();
  return (
    <div role="status" class="banner-place">
      {outage && <Banner outage={outage} />}
    </div>
  );
}

function Banner({ outage }: { outage: Outage }) {
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  return (
    <div class="banner banner-warn" ref={place}>
      <p>
        <strong>{WHAT[outage.kind][0]}</strong> {WHAT[outage.kind][1]} This page shows the values that were
        loaded last, with their age.
      </p>
      {/* Hidden from screen readers, which would announce it every second. */}
      <span aria-hidden="true">
        <Countdown until={outage.retryAt} />
      </span>
      <button type="button" onClick={tryNow}>
        Try now
      </button>
    </div>
  );
}

function Countdown({ until }: { until: number | null }) {
  const now = useNow(SECOND);
  if (until === null) return null;
  const seconds = Math.max(0, Math.ceil((until - now) / SECOND));
  return <>{seconds > 0 ? `Next attempt in ${seconds} s` : 'Trying…'}</>;
}
