// The request that starts a recalculation, from the choices in its form.
import type { Granularity, RecalculationRequest } from '../api/types.ts';
import { DAY } from './period.ts';
import { parseDate } from './range.ts';

export interface RecalculationChoice {
  metricType: string;
  granularity: Granularity;
  /** Days in UTC, both included. */
  from: string;
  to: string;
  overwrite: boolean;
}

export function recalculationRequest(choice: RecalculationChoice): RecalculationRequest {
  const { metricType, granularity, from, to, overwrite } = choice;
  return {
    metricType,
    granularity,
    startDate: instantText(from, 0),
    endDate: instantText(to, DAY - 1),
    ...(overwrite && { overwrite }),
  };
}

function instantText(date: string, offset: number): string {
  return new Date((parseDate(date) ?? 0) + offset).toISOString();
}
