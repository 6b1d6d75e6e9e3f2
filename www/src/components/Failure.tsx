// One part of the page that could not be loaded: why, and trying again. The parts beside it go on.
import type { ApiError } from '../api/client.ts';

export function Failure({ what, error, onRetry }: { what: string; error: ApiError; onRetry: () => void }) {
  return (
    <div class="failure" role="alert">
      <p>
        <strong>{what} could not be loaded.</strong> {error.message}
      </p>
      {error.kind === 'failed' && error.requestId && (
        <p class="note">Request {error.requestId}; the server’s log has the reason.</p>
      )}
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
