// Zooming without a pointer that drags: by steps, around a period.

export type Zoom = readonly [number, number];

/** Half of what is seen, around the period at `centre`; null if there is nothing finer to see. */
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

/** Twice of what is seen; null, which is everything, where that is the whole range. */
export function zoomOut(periods: number[], zoom: Zoom | null): Zoom | null {
  const [first, last] = visibleIndices(periods, zoom);
  const more = Math.max(1, Math.ceil((last - first) / 2));
  const [from, to] = [Math.max(0, first - more), Math.min(periods.length - 1, last + more)];
  const [start, end] = [periods[from], periods[to]];
  if (start === undefined || end === undefined || (from === 0 && to === periods.length - 1)) return null;
  return [start, end];
}

/** First and last period in the zoom; of all, if there is none or it lies elsewhere. */
export function visibleIndices(periods: number[], zoom: Zoom | null): [number, number] {
  const all: [number, number] = [0, periods.length - 1];
  if (!zoom) return all;
  const first = periods.findIndex((start) => start >= zoom[0]);
  const last = periods.findLastIndex((start) => start <= zoom[1]);
  return first < 0 || last <= first ? all : [first, last];
}
