// The page for whoever runs this: is it healthy, what ran and what did it cost, and making the past
// again.
import { HealthPanel } from './HealthPanel.tsx';
import { Recalculation } from './Recalculation.tsx';
import { RunLedger } from './RunLedger.tsx';

export function Operations() {
  return (
    <>
      <HealthPanel />
      <Recalculation />
      <RunLedger />
    </>
  );
}
