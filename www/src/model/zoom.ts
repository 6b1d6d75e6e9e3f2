// Zooming in steps around a period, without dragging.

export type Zoom = readonly [number, number];

/** Half of the visible periods, around the period at `centre`; null if that is too few. */
export function zoomIn(periods: number[], zoom: Zoom | null, centre: number | null): Zoom | null {
  const [first, last] = visibleIndices(periods, zoom);
  const width = last - first;
  if (width < 2) return null;
  const half = Math.max(1, Math.floor(width / 2));
  const middle = centre ?? last;
  const from = Math.min(Math.max(first, middle - Math.floor(half / 2)), last - half);
  const [start, end] = [periods[from], periods[from + half]];
  return start === undefined || end === undefined ? null : [start, end];
}

/** Twice the visible periods; null for the whole range. */
export function zoomOut(periods: number[], zoom: Zoom | null): Zoom | null {
  const [first, last] = visibleIndices(periods, zoom);
  const more = Math.max(1, Math.ceil((last - first) / 2));
  const [from, to] = [Math.max(0, first - more), Math.min(periods.length - 1, last + more)];
  const [start, end] = [periods[from], periods[to]];
  if (start === undefined || end === undefined || (from === 0 && to === periods.length - 1)) return null;
  return [start, end];
}

/** First and last visible period; of the whole range without a zoom, or if it lies outside. */
export function visibleIndices(periods: number[], zoom: Zoom | null): [number, number] {
  const all: [number, number] = [0, periods.length - 1];
  if (!zoom) return all;
  const first = periods.findIndex((start) => start >= zoom[0]);
  const last = periods.findLastIndex((start) => start <= zoom[1]);
  return first < 0 || last <= first ? all : [first, last];
}
