// Whether the API lets this tab in, by its token or by the platform's cookie. The page asks and is
// told: there is no other way to know of a cookie that scripts cannot see.
import { type ApiError, fetchSession, readToken, writeToken } from '../api/client.ts';
import { forgetAnswers } from './answers.ts';
import { createStore } from './store.ts';

export type Access =
  /** Before anything else is asked for: a refusal then would be an error in the console. */
  | { state: 'asking' }
  /** Nothing was refused so far. */
  | { state: 'open' }
  /** Refused; without a reason on the first visit and after signing out. */
  | { state: 'refused'; reason: string | null };

const NOT_ADMIN =
  'You are signed in, but this account is not an administrator. Sign in as one, or use an API token.';
const TOKEN_ENDED =
  'This API token is no longer accepted: it was withdrawn, or the session it names has expired.';
const TOKEN_WRONG =
  'This API token is not accepted. Check that it is complete and meant for this environment.';
const SESSION_EXPIRED = 'Your session has expired. Sign in to the platform again, or use an API token.';

const access = createStore<Access>({ state: 'asking' });
let letInBefore = false;

export const useAccess = access.use;

/** Once, on opening. Where it cannot be found out, what is asked for next says what is wrong. */
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

/** Every answer of the API comes by here: null for one that let us in. */
export function reportAccess(error: ApiError | null): void {
  if (error === null) letInBefore = true;
  // The first refusal says why; those of the requests beside it have nothing to add.
  if (error === null || access.get().state === 'refused') return;
  if (error.kind === 'forbidden') refuse(NOT_ADMIN);
  else if (error.kind === 'unauthenticated') {
    if (readToken() !== null) refuse(letInBefore ? TOKEN_ENDED : TOKEN_WRONG);
    else refuse(letInBefore ? SESSION_EXPIRED : null);
  }
}

function refuse(reason: string | null): void {
  writeToken(null);
  access.set({ state: 'refused', reason });
}

/** With a token; or, with null, once more with the cookie. */
export function signIn(token: string | null): void {
  writeToken(token);
  letInBefore = false;
  forgetAnswers();
  access.set({ state: 'open' });
}

export function signOut(): void {
  letInBefore = false;
  forgetAnswers();
  refuse(null);
}
