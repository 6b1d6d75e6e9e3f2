// One chart: title and age, legend, picture or table. If its data cannot be loaded, the other charts are
// still shown.
import { useState } from 'preact/hooks';
import type { Range } from '../model/range.ts';
import type { ChartData } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { ChartActions } from './ChartActions.tsx';
import { ChartAge } from './ChartAge.tsx';
import { ChartPicture } from './ChartPicture.tsx';
import { DataTable } from './DataTable.tsx';
import { Failure } from './Failure.tsx';
import { Legend } from './Legend.tsx';
import { Readout } from './Readout.tsx';
import { StatusShares } from './StatusShares.tsx';

interface Props {
  /** Without values while they are loaded. */
  data: ChartData;
  loading: boolean;
  before: ChartData | null;
  beforeFailure: string | null;
  range: Range;
  /** Why this type could not be read. */
  failure: string | null;
  now: number;
  onRetry: () => void;
}

export function ChartCard(props: Props) {
  const { data, loading, before, beforeFailure, range, failure, now, onRetry } = props;
  const [view] = useView();
  const [cursor, setCursor] = useState<number | null>(null);
  const { id, title, description } = data.spec;
  const asTable = view.tables.has(id);
  const titleId = `chart-${id}`;

  return (
    <figure class="panel chart" aria-labelledby={titleId} aria-busy={loading} data-chart={id}>
      <div class="chart-head">
        <h3 id={titleId}>{title}</h3>
        <ChartActions data={data} range={range} cursor={cursor} usable={!loading && !failure} />
      </div>
      <div class="chart-about">
        {loading ? <p class="age">loading</p> : !failure && <ChartAge data={data} range={range} now={now} />}
        <p class="note">{description}</p>
      </div>
      {failure ? (
        <Failure what={title} error={failure} onRetry={onRetry} />
      ) : (
        <>
          {id === 'media-status' && (
            <StatusShares data={data} loading={loading} granularity={range.granularity} />
          )}
          <Legend
            data={data}
            before={before}
            beforeFailure={beforeFailure}
            cursor={asTable ? null : cursor}
            loading={loading}
          />
          {!asTable && <Readout data={data} before={before} range={range} cursor={cursor} />}
          {loading && <div class="chart-skeleton skeleton" aria-hidden="true" />}
          {!loading && asTable && <DataTable data={data} before={before} range={range} />}
          {!loading && !asTable && (
            <ChartPicture data={data} before={before} range={range} cursor={cursor} onCursor={setCursor} />
          )}
        </>
      )}
    </figure>
  );
}
