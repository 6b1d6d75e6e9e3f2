// Whether this tab is signed in, by its token or by the platform's cookie. Only the API knows: scripts
// cannot read the cookie.
import { type ApiError, fetchSession, readToken, writeToken } from '../api/client.ts';
import { forgetAnswers } from './answers.ts';
import { createStore } from './store.ts';

export type Access =
  /** Before any other request, which would log an error if signed out. */
  | { state: 'asking' }
  /** No request was rejected so far. */
  | { state: 'open' }
  /** Rejected; without a reason on the first visit and after signing out. */
  | { state: 'refused'; reason: string | null };

const NOT_ADMIN =
  'You are signed in, but not as an administrator. Sign in as an administrator, or use an API token.';
const TOKEN_ENDED =
  'This API token is no longer valid: it was removed, or it is the id of a session that has expired. Use another token.';
const TOKEN_WRONG = 'This API token is not valid. Check that it is complete and belongs to this environment.';
const SESSION_EXPIRED = 'Your session has expired. Sign in to the platform again, or use an API token.';

const access = createStore<Access>({ state: 'asking' });
let wasSignedIn = false;

export const useAccess = access.use;

/** Once, on opening the page. If the request fails, the next ones report the error. */
export async function openSession(): Promise<void> {
  const hadToken = readToken() !== null;
  const signedIn = await fetchSession().then(
    (session) => session.signedIn,
    () => true,
  );
  if (access.get().state !== 'asking') return;
  if (signedIn) access.set({ state: 'open' });
  else refuse(hadToken ? TOKEN_ENDED : null);
}

/** Receives the result of every request: null for success. */
export function reportAccess(error: ApiError | null): void {
  if (error === null) wasSignedIn = true;
  // Only the first rejection sets the reason.
  if (error === null || access.get().state === 'refused') return;
  if (error.kind === 'forbidden') refuse(NOT_ADMIN);
  else if (error.kind === 'unauthenticated') {
    if (readToken() !== null) refuse(wasSignedIn ? TOKEN_ENDED : TOKEN_WRONG);
    else refuse(wasSignedIn ? SESSION_EXPIRED : null);
  }
}

function refuse(reason: string | null): void {
  writeToken(null);
  access.set({ state: 'refused', reason });
}

/** Signs in with a token; with null, by the cookie. */
export function signIn(token: string | null): void {
  writeToken(token);
  wasSignedIn = false;
  forgetAnswers();
  access.set({ state: 'open' });
}

export function signOut(): void {
  wasSignedIn = false;
  forgetAnswers();
  refuse(null);
}
