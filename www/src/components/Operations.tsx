// The page for operators: health, recalculation, and the ledger of runs with their cost.
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
