// The actions of a chart: zoom without dragging, table, CSV.
import { useRef } from 'preact/hooks';
import { csvName, csvOf } from '../model/csv.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, drawnPeriods } from '../model/series.ts';
import { withToggled } from '../model/view.ts';
import { zoomIn } from '../model/zoom.ts';
import { download } from '../state/download.ts';
import { useView } from '../state/route.ts';
import { Button } from './Button.tsx';

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
  const closer = zoomIn(drawnPeriods(data), view.zoom, cursor);
  const group = useRef<HTMLDivElement>(null);
  const resetZoom = () => {
    change({ zoom: null });
    // This button is removed: the focus moves to the one that zooms in.
    group.current?.querySelector('button')?.focus();
  };
  return (
    <div class="chart-actions" ref={group}>
      {!asTable && (
        <Button
          aria-label={`Zoom in on ${title}`}
          off={!usable || !closer}
          onClick={() => change({ zoom: closer })}
        >
          Zoom in
        </Button>
      )}
      {!asTable && view.zoom && (
        <button type="button" aria-label={`Reset zoom of ${title}`} onClick={resetZoom}>
          Reset zoom
        </button>
      )}
      <Button
        aria-pressed={asTable}
        aria-label={`Table of ${title}`}
        off={!usable}
        onClick={() => change({ tables: withToggled(view.tables, id) })}
      >
        Table
      </Button>
      <Button
        aria-label={`Export ${title} as CSV`}
        off={!usable}
        onClick={() => download(csvName(id, range), 'text/csv', csvOf([data], range))}
      >
        CSV
      </Button>
    </div>
  );
}
