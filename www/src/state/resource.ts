// Data from the API for a component: the data, its age, and the error if it could not be updated. Requests
// that are no longer needed are aborted. After 503 or a network error the request is repeated with growing
// delays; the data that was loaded stays.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, asApiError } from '../api/client.ts';
import { MINUTE, SECOND } from '../model/period.ts';
import { recall, remember } from './answers.ts';
import { reportConnection, TRY_NOW } from './connection.ts';
import { reportAccess } from './session.ts';

export interface Resource<T> {
  data: T | null;
  error: ApiError | null;
  /** When `data` was loaded. */
  loadedAt: number | null;
  loading: boolean;
  refresh: () => void;
}

type State<T> = Omit<Resource<T>, 'refresh'> & { key: string | null };

const RETRY_FIRST = 2 * SECOND;
const RETRY_LONGEST = MINUTE;

/** The delay before provisional data is loaded again, and how often in a row. */
const SOON = 3 * SECOND;
const SOON_TIMES = 5;

export function useResource<T>(
  /** Identifies the data; null loads nothing. */
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  refreshEvery: number | null = null,
  /** Whether the data will not change any more. */
  isFinal: (data: T) => boolean = () => false,
  /** Whether the server will have newer data soon. */
  isProvisional: (data: T) => boolean = () => false,
): Resource<T> {
  const [state, setState] = useState<State<T>>(() => initial<T>(key));
  const [turn, setTurn] = useState(0);
  const loadLatest = useRef(load);
  loadLatest.current = load;
  const refresh = useCallback(() => setTurn((before) => before + 1), []);

  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    let timer: number | undefined;
    let failures = 0;
    let provisional = 0;
    let busy = false;
    const schedule = (delay: number) => {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => document.visibilityState === 'visible' && attempt(), delay);
    };
    const attempt = async () => {
      if (busy) return;
      busy = true;
      setState((before) => ({ ...forKey(before, key), loading: true }));
      try {
        const data = await loadLatest.current(abort.signal);
        if (abort.signal.aborted) return;
        failures = 0;
        const loadedAt = Date.now();
        remember(key, data, loadedAt);
        setState({ key, data, error: null, loadedAt, loading: false });
        reportAccess(null);
        reportConnection(key, null, null);
        provisional = isProvisional(data) ? provisional + 1 : 0;
        if (provisional > 0 && provisional <= SOON_TIMES) schedule(SOON);
        else if (refreshEvery !== null && !isFinal(data)) schedule(refreshEvery);
      } catch (problem) {
        if (abort.signal.aborted) return;
        const error = asApiError(problem);
        const delay = delayAfter(error);
        setState((before) => ({ ...forKey(before, key), error, loading: false }));
        reportAccess(error);
        reportConnection(key, error, delay === null ? null : Date.now() + delay);
        if (delay !== null) schedule(delay);
      } finally {
        busy = false;
      }
    };
    const delayAfter = (error: ApiError) => {
      if (error.retriable) return retryDelay(failures++, error.retryAfterSeconds);
      return error.kind === 'failed' ? refreshEvery : null;
    };
    const attemptNow = () => failures > 0 && schedule(0);
    // A hidden page sends no requests; old data is loaded when the page is visible again.
    const attemptIfOld = () => {
      const age = Date.now() - (recall(key)?.loadedAt ?? 0);
      if (failures > 0 || (refreshEvery !== null && age >= refreshEvery)) schedule(0);
    };
    setState((before) => forKey(before, key));
    attempt();
    window.addEventListener('online', attemptNow);
    window.addEventListener(TRY_NOW, attemptNow);
    document.addEventListener('visibilitychange', attemptIfOld);
    return () => {
      abort.abort();
      window.clearTimeout(timer);
      window.removeEventListener('online', attemptNow);
      window.removeEventListener(TRY_NOW, attemptNow);
      document.removeEventListener('visibilitychange', attemptIfOld);
      reportConnection(key, null, null);
    };
  }, [key, turn, refreshEvery]);

  const { data, error, loadedAt, loading } = forKey(state, key);
  return { data, error, loadedAt, loading, refresh };
}

/** Data of another key is never shown under this one. */
function forKey<T>(state: State<T>, key: string | null): State<T> {
  return state.key === key ? state : initial<T>(key);
}

function initial<T>(key: string | null): State<T> {
  const known = key === null ? undefined : recall(key);
  return {
    key,
    data: (known?.data as T | undefined) ?? null,
    error: null,
    loadedAt: known?.loadedAt ?? null,
    loading: key !== null,
  };
}

function retryDelay(failures: number, retryAfterSeconds: number | null): number {
  const backoff = Math.min(RETRY_LONGEST, RETRY_FIRST * 2 ** failures);
  return Math.max(backoff, Math.min((retryAfterSeconds ?? 0) * SECOND, RETRY_LONGEST));
}
