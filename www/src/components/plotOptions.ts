// How a chart is drawn: scales, axes, lines with gaps, dashed where a value is not final, and bands for
// missing, stale and running periods. Only this file and Plot.tsx use uPlot.
import uPlot from 'uplot';
import type { Granularity } from '../api/types.ts';
import type { Metric } from '../model/catalogue.ts';
import { formatAxis, formatDay, formatMonth, formatTime, formatYear, type Zone } from '../model/format.ts';
import { provisionalValues, settledValues } from '../model/lines.ts';
import { addPeriods, SECOND } from '../model/period.ts';
import type { Range } from '../model/range.ts';
import { type ChartData, drawnPeriods, onRightAxis, type Series } from '../model/series.ts';
import type { Zoom } from '../model/zoom.ts';
import { resolveColour } from '../state/theme.ts';

export const PLOT_HEIGHT = 220;

export interface PlotInput {
  data: ChartData;
  before: ChartData | null;
  shown: Series[];
  range: Range;
  zoom: Zoom | null;
  zone: Zone;
}

function scaleOf(metric: Metric, shown: Series[]): 'flow' | 'stock' {
  return onRightAxis(metric, shown) ? 'stock' : 'flow';
}

/** Whether any value is reconstructed or of the running period, which is drawn dashed. */
function isProvisional({ data, shown }: PlotInput): boolean {
  return (
    data.running !== null || shown.some(({ reconstructed }) => reconstructed.some((claim) => claim !== null))
  );
}

/** x, then every shown series, their dashed parts, and the series of the previous period. */
export function plotData(input: PlotInput): uPlot.AlignedData {
  const { data, before, shown } = input;
  const x = drawnPeriods(data);
  const earlier = shown.map(({ metric }) => {
    const values = before?.series.find((series) => series.metric.name === metric.name)?.values;
    return x.map((_, at) => (values?.[at] == null ? null : Number(values[at])));
  });
  return [
    x.map((start) => start / SECOND),
    ...shown.map((series) => settledValues(series, x.length)),
    ...(isProvisional(input) ? shown.map((series) => provisionalValues(series, x.length)) : []),
    ...(before ? earlier : []),
  ];
}

/** What the x axis covers: the zoom if it lies in the range, else the range with the running period. */
export function visibleRange({ data, range, zoom }: PlotInput): [number, number] {
  const first = data.periods[0] ?? range.end;
  const last = data.periods.at(-1) ?? range.end;
  if (zoom && zoom[1] > first && zoom[0] < last) return [zoom[0] / SECOND, zoom[1] / SECOND];
  return [first / SECOND, (range.running?.end ?? Math.max(last, first + 1)) / SECOND];
}

export function plotOptions(input: PlotInput, width: number): uPlot.Options {
  const { data, before, shown, range, zone } = input;
  const text = resolveColour('--text-quiet');
  const grid = resolveColour('--grid');
  const panel = resolveColour('--panel');
  const hasStock = shown.some(({ metric }) => scaleOf(metric, shown) === 'stock');
  const unitOn = (scale: 'flow' | 'stock') =>
    shown.find(({ metric }) => scaleOf(metric, shown) === scale)?.metric.unit ?? 'count';
  const yAxis = (scale: 'flow' | 'stock'): uPlot.Axis => ({
    scale,
    side: scale === 'flow' ? 3 : 1,
    size: axisSize,
    stroke: text,
    font: FONT,
    grid: { show: scale === 'flow', stroke: grid, width: 1 },
    ticks: { show: false },
    ...(unitOn(scale) === 'count' && { incrs: WHOLE_STEPS }),
    values: (_, splits) => formatAxis(splits, unitOn(scale)),
  });
  const colourOf = (series: Pick<Series, 'metric'> | undefined) => {
    const at = data.series.findIndex(({ metric }) => metric.name === series?.metric.name);
    return resolveColour(`--series-${at % 6}`);
  };
  const line = ({ metric }: Series, kind: LineKind): uPlot.Series => {
    const colour = colourOf({ metric });
    return {
      label: metric.label,
      scale: scaleOf(metric, shown),
      stroke: colour,
      spanGaps: false,
      ...LINES[kind],
      points: {
        show: kind !== 'before',
        size: kind === 'provisional' ? 7 : 5,
        fill: kind === 'settled' ? colour : panel,
        filter: kind === 'provisional' ? provisionalPoints(shown, data) : pointFilter,
      },
    };
  };
  return {
    width,
    height: PLOT_HEIGHT,
    legend: { show: false },
    tzDate: (seconds) =>
      zone === 'utc' ? uPlot.tzDate(new Date(seconds * SECOND), 'Etc/UTC') : new Date(seconds * SECOND),
    scales: {
      x: { time: true, range: () => visibleRange(input) },
      flow: { range: fromZero(!shown.every(({ metric }) => metric.kind === 'stock')) },
      stock: { range: fromZero(false) },
    },
    axes: [
      {
        stroke: text,
        font: FONT,
        size: 44,
        space: 64,
        grid: { show: false },
        ticks: { stroke: grid, width: 1, size: 5 },
        incrs: TIME_STEPS[range.granularity],
        values: (_, splits, __, ___, step) => timeLabels(splits, step, zone),
      },
      yAxis('flow'),
      ...(hasStock ? [yAxis('stock')] : []),
    ],
    series: [
      {},
      ...shown.map((series) => line(series, 'settled')),
      ...(isProvisional(input) ? shown.map((series) => line(series, 'provisional')) : []),
      ...(before ? shown.map((series) => line(series, 'before')) : []),
    ],
    cursor: {
      drag: { x: true, y: false, setScale: false },
      y: false,
      points: { size: 8, fill: (_, at) => colourOf(shown[(at - 1) % shown.length]) },
    },
    hooks: { drawClear: [(plot) => drawBands(plot, input)] },
  };
}

type LineKind = 'settled' | 'provisional' | 'before';

const LINES: Record<LineKind, Pick<uPlot.Series, 'width' | 'dash'>> = {
  settled: { width: 2 },
  provisional: { width: 2, dash: [3, 3] },
  before: { width: 1.5, dash: [8, 4] },
};

/** The hollow points of the dashed lines: only values that are not final. */
function provisionalPoints(shown: Series[], data: ChartData): NonNullable<uPlot.Series.Points['filter']> {
  return (_, index) => {
    const series = shown[(index - 1) % shown.length];
    const reconstructed = (series?.reconstructed ?? []).flatMap((claim, at) => (claim ? [at] : []));
    return data.running && series?.running != null ? [...reconstructed, data.periods.length] : reconstructed;
  };
}

/** Wide enough for the longest label; at least the default, so that charts align. */
const axisSize: uPlot.Axis.Size = (_, labels) =>
  Math.max(56, ...(labels ?? []).map((label) => 16 + label.length * 7));

const FONT = '12px system-ui, sans-serif';
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power),
).flat();
const HOURS = [1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 3600);
const DAYS = [1, 2, 3, 4, 5, 7, 10, 14].map((days) => days * 86_400);
/** uPlot treats 30 days as a month and 365 as a year. */
const MONTHS = [1, 2, 3, 4, 6].map((months) => months * 30 * 86_400);
const YEARS = [1, 2, 5, 10].map((years) => years * 365 * 86_400);
/** Not finer than the periods. */
const TIME_STEPS: Record<Granularity, number[]> = {
  hourly: [...HOURS, ...DAYS, ...MONTHS, ...YEARS],
  daily: [...DAYS, ...MONTHS, ...YEARS],
  weekly: [...DAYS.filter((step) => step >= 7 * 86_400), ...MONTHS, ...YEARS],
  monthly: [...MONTHS, ...YEARS],
};

/** The day under the hours, the year under days and months: where it begins, and at the first label. */
function timeLabels(splits: number[], step: number, zone: Zone): string[] {
  const fine = (at: number) =>
    step < 86_400 ? formatTime(at, zone) : step < 30 * 86_400 ? formatDay(at, zone) : formatMonth(at, zone);
  const coarse = (at: number) => (step < 86_400 ? formatDay(at, zone) : formatYear(at, zone));
  return splits.map((seconds, index) => {
    const at = seconds * SECOND;
    const previous = splits[index - 1];
    const changed = previous === undefined || coarse(previous * SECOND) !== coarse(at);
    if (step >= 365 * 86_400) return formatYear(at, zone);
    return changed ? `${fine(at)}\n${coarse(at)}` : fine(at);
  });
}

/** Flows are drawn from zero; for stocks the axis may start higher, to show changes. */
function fromZero(zero: boolean): uPlot.Scale.Range {
  return (_, low, high) => {
    if (low == null || high == null) return [0, 1];
    const [bottom, top] = uPlot.rangeNum(zero ? Math.min(0, low) : low, high, 0.1, true);
    return zero && low >= 0 ? [0, Math.max(high * 1.08, 1)] : [bottom ?? low, top ?? high];
  };
}

/** All points where there is space; otherwise only those without neighbours, which no line shows. */
const pointFilter: NonNullable<uPlot.Series.Points['filter']> = (plot, series, show) => {
  const values = plot.data[series] ?? [];
  const [first, last] = plot.series[0]?.idxs ?? [0, values.length - 1];
  const roomy = (last - first + 1) * 12 < plot.width;
  const indices: number[] = [];
  for (let at = first; at <= last; at++) {
    if (values[at] == null) continue;
    const alone = values[at - 1] == null && values[at + 1] == null;
    if (alone || (show && roomy)) indices.push(at);
  }
  return indices;
};

/** Behind the lines: missing, stale, incomplete and running periods. */
function drawBands(plot: uPlot, { data, range }: PlotInput): void {
  const { ctx, bbox } = plot;
  const band = (start: number, end: number, fill: string | CanvasPattern, height = bbox.height) => {
    const from = Math.max(bbox.left, plot.valToPos(start / SECOND, 'x', true));
    const to = Math.min(bbox.left + bbox.width, plot.valToPos(end / SECOND, 'x', true));
    if (to <= from) return;
    ctx.fillStyle = fill;
    ctx.fillRect(from, bbox.top + bbox.height - height, to - from, height);
  };
  ctx.save();
  const missing = resolveColour('--band-missing');
  const hatched = hatching(ctx, resolveColour('--text-quiet'));
  // A point is drawn at the start of its period; its band is centred on the point.
  const bandOf = (start: number, fill: string | CanvasPattern, height?: number) => {
    const half = (addPeriods(range.granularity, start, 1) - start) / 2;
    band(start - half, start + half, fill, height);
  };
  for (const start of data.missing) bandOf(start, missing);
  data.periods.forEach((start, at) => {
    if (data.stale[at]) bandOf(start, hatched);
    if (data.coverage[at]) bandOf(start, resolveColour('--warn'), 4 * devicePixelRatio);
  });
  if (range.running) band(range.running.start, range.running.end, resolveColour('--band-running'));
  ctx.restore();
}

/** Diagonal strokes, which are visible without colour. */
function hatching(ctx: CanvasRenderingContext2D, colour: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  const size = Math.round(6 * devicePixelRatio);
  tile.width = size;
  tile.height = size;
  const pen = tile.getContext('2d');
  if (!pen) return colour;
  pen.strokeStyle = colour;
  pen.globalAlpha = 0.5;
  pen.lineWidth = devicePixelRatio;
  pen.beginPath();
  // Beyond the corners, so that strokes meet from tile to tile.
  for (const from of [-size, 0, size]) {
    pen.moveTo(from - 1, size + 1);
    pen.lineTo(from + size + 1, -1);
  }
  pen.stroke();
  return ctx.createPattern(tile, 'repeat') ?? colour;
}
