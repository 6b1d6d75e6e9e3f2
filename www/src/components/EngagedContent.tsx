// The most engaged content of one period. Rankings of several periods cannot be added (each has only
// ten targets), so the user selects the period.
import type { TypeMetrics } from '../api/types.ts';
import { formatExact, formatInstant, formatPeriod } from '../model/format.ts';
import { meaningsOf } from '../model/marks.ts';
import type { Range } from '../model/range.ts';
import { engagedPeriods } from '../model/series.ts';
import { useView } from '../state/route.ts';
import { Failure } from './Failure.tsx';
import { Select } from './Select.tsx';

interface Props {
  types: TypeMetrics[];
  range: Range;
  /** Why the rankings could not be read. */
  failure: string | null;
  onRetry: () => void;
}

export function EngagedContent({ types, range, failure, onRetry }: Props) {
  const [view, change] = useView();
  const periods = engagedPeriods(types, range);
  const chosen = periods.find(({ start }) => start === view.engagedPeriod) ?? periods[0];
  const name = (start: number) => formatPeriod(start, range.granularity, view.zone);
  return (
    <section class="panel" aria-labelledby="engaged-title">
      <div class="section-head">
        <h2 id="engaged-title">Most engaged content</h2>
        {chosen && (
          <Select
            label="Period"
            value={String(chosen.start)}
            options={periods.map(({ start }) => String(start))}
            name={(start) => name(Number(start))}
            onChange={(start) => change({ engagedPeriod: Number(start) })}
          />
        )}
      </div>
      {failure !== null && <Failure what="The most engaged content" error={failure} onRetry={onRetry} />}
      {failure === null && !chosen && <p class="absent">No ranking is recorded in this range.</p>}
      {chosen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard.
        <section class="table-scroll" tabIndex={0} aria-label="Table of the most engaged content">
          <table>
            <caption>
              {name(chosen.start)}, calculated {formatInstant(chosen.calculatedAt, view.zone)}
              {meaningsOf(chosen.marks).map((meaning) => `; ${meaning}`)}
            </caption>
            <thead>
              <tr>
                <th scope="col">Content</th>
                <th scope="col">Type</th>
                <th scope="col" class="number">
                  Likes
                </th>
                <th scope="col" class="number">
                  Bookmarks
                </th>
                <th scope="col" class="number">
                  Comments
                </th>
                <th scope="col" class="number">
                  Total
                </th>
              </tr>
            </thead>
            <tbody>
              {chosen.targets.length === 0 && (
                <tr>
                  <td colSpan={6}>No likes, bookmarks or comments in this period.</td>
                </tr>
              )}
              {chosen.targets.map((target) => (
                <tr key={`${target.targetType} ${target.targetId}`}>
                  <th scope="row" class="id">
                    {target.targetId}
                  </th>
                  <td>{target.targetType}</td>
                  <td class="number">{formatExact(target.likes, 'count')}</td>
                  <td class="number">{formatExact(target.bookmarks, 'count')}</td>
                  <td class="number">{formatExact(target.comments, 'count')}</td>
                  <td class="number">{formatExact(target.total, 'count')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
