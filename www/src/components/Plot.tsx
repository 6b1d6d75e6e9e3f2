// The picture: a uPlot chart with pointer and keyboard control.
import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { describePoint } from '../model/describe.ts';
import { jsonText } from '../model/numeric.ts';
import { SECOND } from '../model/period.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, drawnPeriods, type Series } from '../model/series.ts';
import { visibleIndices, type Zoom, zoomIn, zoomOut } from '../model/zoom.ts';
import { useView } from '../state/route.ts';
import { usePaletteVersion } from '../state/theme.ts';
import { plotData, plotOptions } from './plotOptions.ts';

interface Props {
  data: ChartData;
  before: ChartData | null;
  shown: Series[];
  range: Range;
  cursor: number | null;
  onCursor: (at: number | null) => void;
  zoom: Zoom | null;
  onZoom: (zoom: Zoom | null) => void;
  summaryId: string;
}

export function Plot(props: Props) {
  const { data, before, shown, range, cursor, zoom, summaryId } = props;
  const [{ zone }] = useView();
  const palette = usePaletteVersion();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [spoken, setSpoken] = useState('');
  const handlers = useRef(props);
  handlers.current = props;

  const periods = drawnPeriods(data);
  const names = shown.map(({ metric }) => metric.name).join();
  // Unchanged data is not drawn again: the user may be dragging to zoom.
  const content = useMemo(
    () =>
      jsonText([
        periods[0],
        shown,
        data.missing,
        data.stale,
        data.coverage,
        data.running,
        before?.series.map(({ values }) => values),
      ]),
    [data, before, names],
  );
  const identity = [range.granularity, range.running?.start, zone, palette, zoom?.join(), content].join(' ');

  // Drawn before the next event: a key pressed right after a zoom must move the cursor of the new
  // picture.
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const input = { data, before, shown, range, zoom, zone };
    const options = plotOptions(input, element.clientWidth);
    // After redrawing, the cursor stays at its period, if that is still visible.
    const keepPlace = (drawn: uPlot) => {
      const [first, last] = visibleIndices(periods, zoom);
      if (cursor !== null && cursor >= first && cursor <= last) pointAt(drawn, periods[cursor] ?? 0);
    };
    const drawn = new uPlot(
      {
        ...options,
        cursor: { ...options.cursor, bind: { dblclick: () => resetZoom } },
        hooks: {
          ...options.hooks,
          ready: [keepPlace],
          setCursor: [followCursor],
          setSelect: [zoomIntoSelection],
        },
      },
      plotData(input),
      element,
    );
    plot.current = drawn;
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== drawn.width) {
        drawn.setSize({ width: element.clientWidth, height: drawn.height });
      }
    });
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [identity]);

  function resetZoom(): null {
    handlers.current.onZoom(null);
    return null;
  }

  function pointAt(drawn: uPlot, start: number): void {
    drawn.setCursor({ left: drawn.valToPos(start / SECOND, 'x'), top: drawn.over.clientHeight / 2 });
  }

  function followCursor(drawn: uPlot): void {
    handlers.current.onCursor(drawn.cursor.idx ?? null);
  }

  function zoomIntoSelection(drawn: uPlot): void {
    const { left, width } = drawn.select;
    if (width < 4) return;
    const from = drawn.posToVal(left, 'x') * SECOND;
    const to = drawn.posToVal(left + width, 'x') * SECOND;
    drawn.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const inside = drawnPeriods(handlers.current.data).filter((start) => start >= from && start <= to);
    const [first, last] = [inside[0], inside.at(-1)];
    if (first !== undefined && last !== undefined && first < last) handlers.current.onZoom([first, last]);
  }

  function moveTo(at: number): void {
    const drawn = plot.current;
    const start = periods[at];
    if (!drawn || start === undefined) return;
    pointAt(drawn, start);
    setSpoken(describePoint(data, shown, at, range.granularity, zone));
  }

  function leave(): void {
    plot.current?.setCursor({ left: -10, top: -10 });
    setSpoken('');
  }

  function onKeyDown(event: KeyboardEvent): void {
    const [first, last] = visibleIndices(periods, zoom);
    const steps: Record<string, number> = {
      ArrowLeft: Math.max(first, (cursor ?? last + 1) - 1),
      ArrowRight: Math.min(last, (cursor ?? first - 1) + 1),
      Home: first,
      End: last,
    };
    const next = steps[event.key];
    const closer = event.key === '+' ? zoomIn(periods, zoom, cursor) : null;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (next !== undefined) moveTo(next);
    else if (closer) handlers.current.onZoom(closer);
    else if (event.key === '-') handlers.current.onZoom(zoomOut(periods, zoom));
    else if (event.key === 'Escape') {
      leave();
      handlers.current.onZoom(null);
    } else return;
    event.preventDefault();
  }

  return (
    <>
      <div
        class="plot"
        ref={place}
        role="img"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the cursor from point to point.
        tabIndex={0}
        aria-label={`${data.spec.title}, chart. Arrow keys move from period to period, plus and minus zoom, Escape resets the zoom.`}
        aria-describedby={summaryId}
        onKeyDown={onKeyDown}
        onBlur={leave}
      />
      <p class="visually-hidden" aria-live="polite">
        {spoken}
      </p>
    </>
  );
}
