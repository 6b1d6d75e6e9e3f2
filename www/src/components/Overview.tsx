// The page that admins open: now, headline figures, and everything over time.
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
