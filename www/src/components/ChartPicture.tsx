// The picture of a chart and its description in words; or a note that there is nothing to draw.
import { useMemo } from 'preact/hooks';
import { describeChart } from '../model/describe.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, shownSeries } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { Plot } from './Plot.tsx';

interface Props {
  data: ChartData;
  before: ChartData | null;
  range: Range;
  cursor: number | null;
  onCursor: (at: number | null) => void;
}

export function ChartPicture({ data, before, range, cursor, onCursor }: Props) {
  const [view, change] = useView();
  const shown = shownSeries(data, view.toggled);
  const summary = useMemo(
    () => describeChart(data, shownSeries(data, view.toggled), range.granularity, view.zone),
    [data, view.toggled, view.zone, range.granularity],
  );
  const summaryId = `summary-${data.spec.id}`;
  if (!shown.some(({ values, running }) => running !== null || values.some((value) => value !== null))) {
    return (
      <div class="chart-empty">
        <p>{shown.length === 0 ? 'No series is selected. Select one above.' : 'No data in this range.'}</p>
      </div>
    );
  }
  return (
    <>
      <Plot
        data={data}
        before={before}
        shown={shown}
        range={range}
        cursor={cursor}
        onCursor={onCursor}
        zoom={view.zoom}
        onZoom={(zoom) => change({ zoom })}
        summaryId={summaryId}
      />
      <p id={summaryId} class="visually-hidden">
        {summary}
        {range.running && !data.running && ' The running period has no values yet.'}
      </p>
    </>
  );
}
