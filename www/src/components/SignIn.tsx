// Signing in with a token or the platform's session, with the reason if access ended.
import { useEffect, useRef } from 'preact/hooks';
import { signIn } from '../state/session.ts';

export function SignIn({ reason }: { reason: string | null }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const token = field.current?.value.trim();
    if (token) signIn(token);
  };

  return (
    <section class="panel sign-in" aria-label="Sign in">
      {reason && (
        <p role="alert" class="banner banner-bad">
          {reason}
        </p>
      )}
      <form onSubmit={submit}>
        <label for="token">API token</label>
        <input
          id="token"
          ref={field}
          type="password"
          required
          autocomplete="off"
          spellcheck={false}
          aria-describedby="token-note"
        />
        <p id="token-note" class="note">
          Stored for this tab only, until you close it.
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
      <p class="note">
        Administrators who are signed in to the platform in this browser need no token.{' '}
        <button type="button" class="link" onClick={() => signIn(null)}>
          Use the platform’s session
        </button>
      </p>
    </section>
  );
}
