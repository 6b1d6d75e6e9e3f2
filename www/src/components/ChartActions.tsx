// What can be done with a chart: zooming without dragging, the table, the CSV.
import { csvName, csvOf } from '../model/csv.ts';
import type { Range } from '../model/range.ts';
import type { ChartData } from '../model/series.ts';
import { withToggled } from '../model/view.ts';
import { zoomIn } from '../model/zoom.ts';
import { download } from '../state/download.ts';
import { useView } from '../state/route.ts';

interface Props {
  data: ChartData;
  range: Range;
  cursor: number | null;
  usable: boolean;
}

export function ChartActions({ data, range, cursor, usable }: Props) {
  const [view, change] = useView();
  const { id, title } = data.spec;
  const asTable = view.tables.has(id);
  const closer = zoomIn(range.periods, view.zoom, cursor);
  return (
    <div class="chart-actions">
      {!asTable && (
        <button
          type="button"
          aria-label={`Zoom in on ${title}`}
          disabled={!usable || !closer}
          onClick={() => change({ zoom: closer })}
        >
          Zoom in
        </button>
      )}
      {!asTable && view.zoom && (
        <button type="button" aria-label={`Reset zoom of ${title}`} onClick={() => change({ zoom: null })}>
          Reset zoom
        </button>
      )}
      <button
        type="button"
        aria-pressed={asTable}
        aria-label={`Table of ${title}`}
        disabled={!usable}
        onClick={() => change({ tables: withToggled(view.tables, id) })}
      >
        Table
      </button>
      <button
        type="button"
        aria-label={`Export ${title} as CSV`}
        disabled={!usable}
        onClick={() => download(csvName(id, range), 'text/csv', csvOf([data], range))}
      >
        CSV
      </button>
    </div>
  );
}
