// The page that admins open first: realtime counters, headline figures, charts.
import { HeadlineCards } from './HeadlineCards.tsx';
import { RealtimeStrip } from './RealtimeStrip.tsx';
import { Trends } from './Trends.tsx';

export function Overview() {
  return (
    <>
      <RealtimeStrip />
      <HeadlineCards />
      <Trends />
    </>
  );
}
