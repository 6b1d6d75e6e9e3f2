// One part of the page that could not be loaded: the reason, and a button to try again.
import { useRef } from 'preact/hooks';
import { ApiError } from '../api/client.ts';
import { useFocusHandover } from '../state/focus.ts';

interface Props {
  what: string;
  /** The error or its text. */
  error: ApiError | string;
  onRetry: () => void;
}

export function Failure({ what, error, onRetry }: Props) {
  const place = useRef<HTMLDivElement>(null);
  useFocusHandover(place);
  const requestId = error instanceof ApiError && error.kind === 'failed' ? error.requestId : null;
  return (
    <div class="failure" role="alert" ref={place}>
      <p>
        <strong>{what} could not be loaded.</strong> {error instanceof ApiError ? error.message : error}
      </p>
      {requestId && <p class="note">Request {requestId}. The server’s log says why it failed.</p>}
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
