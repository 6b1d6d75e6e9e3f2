// The frame of every page: header, banner and content, or the sign-in form.
import { useEffect, useRef } from 'preact/hooks';
import { useRoute, ViewContext } from '../state/route.ts';
import { useAccess } from '../state/session.ts';
import { ConnectionBanner } from './ConnectionBanner.tsx';
import { Header } from './Header.tsx';
import { HealthNotice } from './HealthNotice.tsx';
import { Operations } from './Operations.tsx';
import { Overview } from './Overview.tsx';
import { SignIn } from './SignIn.tsx';

const TITLES = { overview: 'Overview', operations: 'Operations' } as const;

export function App() {
  const route = useRoute();
  const access = useAccess();
  const refused = access.state === 'refused';
  const open = access.state === 'open';
  const title = refused ? 'Sign in' : TITLES[route[0].page];

  useEffect(() => {
    document.title = `${title} · Analytics`;
  }, [title]);

  const content = useRef<HTMLElement>(null);
  const opened = useRef(title);
  useEffect(() => {
    // The link to this page may be gone with the old page, and the focus with it.
    if (title !== opened.current && document.activeElement === document.body) content.current?.focus();
    opened.current = title;
  }, [title]);

  return (
    <ViewContext.Provider value={route}>
      <a class="skip-link" href="#content">
        Skip to content
      </a>
      <Header signedIn={!refused} />
      {open && <ConnectionBanner />}
      <main id="content" tabIndex={-1} ref={content}>
        <div class="page-head">
          <h1>{title}</h1>
          {open && route[0].page === 'overview' && <HealthNotice />}
        </div>
        {access.state === 'asking' && <p class="note">Checking whether you are signed in…</p>}
        {access.state === 'refused' && <SignIn reason={access.reason} />}
        {open && (route[0].page === 'operations' ? <Operations /> : <Overview />)}
      </main>
    </ViewContext.Provider>
  );
}
