// The headline figures: one card each, with its change and a sparkline. A card says if its value is
// absent or outdated.
import { fetchDashboard } from '../api/client.ts';
import type { Dashboard, Headline, Marked } from '../api/types.ts';
import { metricNamed } from '../model/catalogue.ts';
import { formatExact, formatMoment, formatPercent, formatSigned } from '../model/format.ts';
import { claimOf, kindsOf } from '../model/marks.ts';
import { DAY, HOUR, MINUTE } from '../model/period.ts';
import type { Trend } from '../model/view.ts';
import { useNow } from '../state/clock.ts';
import { useResource } from '../state/resource.ts';
import { useView } from '../state/route.ts';
import { Badge } from './Badge.tsx';
import { Failure } from './Failure.tsx';
import { MarkKey, Marks } from './Marks.tsx';
import { Segments } from './Segments.tsx';
import { Sparkline } from './Sparkline.tsx';
import { Time } from './Time.tsx';

const TRENDS = ['24h', '30d'] as const;
const TREND_NAMES: Record<Trend, string> = { '24h': 'last 24 hours', '30d': 'last 30 days' };
/** As many as the API has, so that nothing moves when they are loaded. */
const SKELETONS = Array.from({ length: 15 }, (_, at) => at);
/** A value is of the hour or day that ended last; it is outdated when the next one is overdue. */
const GRACE = HOUR + 20 * MINUTE;

export function HeadlineCards() {
  const [view, change] = useView();
  const dashboard = useResource<Dashboard>('dashboard', fetchDashboard, 5 * MINUTE);
  const { data, error } = dashboard;
  return (
    <section aria-labelledby="headlines-title">
      <div class="section-head">
        <h2 id="headlines-title">Headline figures</h2>
        <Segments
          label="Sparklines"
          value={view.trend}
          options={TRENDS}
          name={(trend) => TREND_NAMES[trend]}
          onChange={(trend) => change({ trend })}
        />
      </div>
      {error && !data && <Failure what="The headline figures" error={error} onRetry={dashboard.refresh} />}
      {error && data && (
        <p class="note">
          <Badge tone="warn">not updated</Badge> {error.message}
        </p>
      )}
      <ul class="cards" aria-busy={!data && !error}>
        {data
          ? data.headlines.map((headline) => <HeadlineCard key={headline.metric} headline={headline} />)
          : !error && SKELETONS.map((at) => <li key={at} class="card skeleton" aria-hidden="true" />)}
      </ul>
      {data && <Key headlines={data.headlines} />}
    </section>
  );
}

/** What the signs on the cards mean. */
function Key({ headlines }: { headlines: Headline[] }) {
  const kinds = kindsOf(
    headlines.flatMap(({ change, ...own }) => [own, ...(change ? [change] : [])]).map(marksOf),
  );
  if (kinds.length === 0) return null;
  return (
    <p class="note">
      <MarkKey kinds={kinds} />
    </p>
  );
}

function HeadlineCard({ headline }: { headline: Headline }) {
  const [view] = useView();
  const now = useNow(MINUTE / 2);
  const { label, unit, kind } = metricNamed(headline.metric, headline.metricType);
  // Distinct counts and means are of whole days.
  const old = (kind === 'mean' ? DAY : HOUR) + GRACE;
  const asOf = headline.asOf === null ? null : Date.parse(headline.asOf);
  const points = view.trend === '24h' ? headline.last24Hours : headline.last30Days;
  return (
    <li class="card" data-metric={headline.metric}>
      <h3>{label}</h3>
      {headline.value === null ? (
        <p class="card-value absent">no data</p>
      ) : (
        <p class="card-value">
          <Marks marks={marksOf(headline)} />
          {formatExact(headline.value, unit)}
        </p>
      )}
      <ChangeLine headline={headline} />
      <Sparkline points={points} unit={unit} what={TREND_NAMES[view.trend]} />
      <p class="card-age">
        {asOf === null ? 'no record' : <Time at={asOf} now={now} />}
        {asOf !== null && now - asOf > old && <Badge tone="warn">outdated</Badge>}
      </p>
    </li>
  );
}

function marksOf({ stale = false, reconstructed }: Marked) {
  return { stale, reconstructed: claimOf(reconstructed) };
}

function ChangeLine({ headline: { metric, metricType, change } }: { headline: Headline }) {
  const [view] = useView();
  const now = useNow(MINUTE);
  if (!change) return <p class="card-change absent">no earlier period to compare with</p>;
  const { unit } = metricNamed(metric, metricType);
  const arrow = change.absolute > 0 ? '▲' : change.absolute < 0 ? '▼' : '=';
  return (
    <p class="card-change">
      <span aria-hidden="true">{arrow} </span>
      <Marks marks={marksOf(change)} />
      {formatSigned(change.absolute, unit)}
      {change.percent !== null && ` (${formatPercent(change.percent)})`}{' '}
      <span class="against">vs {formatMoment(Date.parse(change.comparedTo), now, view.zone)}</span>
    </p>
  );
}
