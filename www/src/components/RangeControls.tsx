// What the charts show: range, granularity, comparison.
import { useEffect, useState } from 'preact/hooks';
import { GRANULARITIES, type Granularity } from '../api/types.ts';
import { DAY } from '../model/period.ts';
import { datesProblem, isoDate, PRESETS, type RangeName } from '../model/range.ts';
import { useView } from '../state/route.ts';
import { Segments } from './Segments.tsx';

const RANGES = [...PRESETS, 'custom'] as const;
const RANGE_NAMES: Record<RangeName, string> = {
  '24h': '24 hours',
  '7d': '7 days',
  '30d': '30 days',
  '90d': '90 days',
  '12m': '12 months',
  month: 'This month',
  custom: 'Custom',
};
const GRANULARITY_NAMES: Record<Granularity, string> = {
  hourly: 'Hourly',
  daily: 'Daily',
  weekly: 'Weekly',
  monthly: 'Monthly',
};

/** `granularity` is what is shown; it differs from the chosen one where that has no period yet. */
export function RangeControls({ granularity }: { granularity: Granularity }) {
  const [view, change] = useView();
  const [choosingDates, setChoosingDates] = useState(false);
  // Another choice, or going back, ends the selection of dates.
  useEffect(() => setChoosingDates(false), [view.range, view.granularity, view.from, view.to]);
  const custom = view.range === 'custom' || choosingDates;

  const chooseRange = (range: RangeName) => {
    setChoosingDates(range === 'custom');
    if (range !== 'custom') change({ range });
  };

  return (
    <fieldset class="toolbar" aria-label="What the charts show">
      <Segments
        label="Range"
        value={custom ? 'custom' : view.range}
        options={RANGES}
        name={(range) => RANGE_NAMES[range]}
        onChange={chooseRange}
      />
      {custom && <CustomDates key={`${view.from}${view.to}`} onChosen={() => setChoosingDates(false)} />}
      <Segments
        label="Granularity"
        value={granularity}
        options={GRANULARITIES}
        name={(granularity) => GRANULARITY_NAMES[granularity]}
        onChange={(granularity) => change({ granularity })}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={view.compare}
          onChange={(event) => change({ compare: event.currentTarget.checked })}
        />
        Compare with the previous period
      </label>
    </fieldset>
  );
}

function CustomDates({ onChosen }: { onChosen: () => void }) {
  const [view, change] = useView();
  const [from, setFrom] = useState(view.from ?? isoDate(Date.now() - 14 * DAY));
  const [to, setTo] = useState(view.to ?? isoDate(Date.now()));
  const [problem, setProblem] = useState<string | null>(null);

  const apply = (event: SubmitEvent) => {
    event.preventDefault();
    const found = datesProblem(from, to, Date.now());
    setProblem(found);
    if (found) return;
    change({ range: 'custom', from, to });
    onChosen();
  };

  return (
    <form class="dates" onSubmit={apply} noValidate aria-label="Custom dates">
      <label>
        From
        <input type="date" value={from} max={to} onInput={(event) => setFrom(event.currentTarget.value)} />
      </label>
      <label>
        To
        <input type="date" value={to} min={from} onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
      <button type="submit">Apply</button>
      <span class="note">Days in UTC, both included</span>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
    </form>
  );
}
