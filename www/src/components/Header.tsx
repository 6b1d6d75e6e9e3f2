// The header: pages, time zone, theme, sign-out.

import { localZoneId } from '../model/format.ts';
import type { Page } from '../model/view.ts';
import { formatView } from '../model/view.ts';
import { useView } from '../state/route.ts';
import { signOut } from '../state/session.ts';
import { THEMES, useTheme } from '../state/theme.ts';
import { Select } from './Select.tsx';

const ZONES = ['utc', 'local'] as const;
const THEME_NAMES = { system: 'System', light: 'Light', dark: 'Dark' } as const;

export function Header({ signedIn }: { signedIn: boolean }) {
  const [view, change] = useView();
  const [theme, chooseTheme] = useTheme();
  return (
    <header class="site-header">
      <p class="brand">Analytics</p>
      {signedIn && (
        <nav aria-label="Pages">
          <PageLink page="overview">Overview</PageLink>
          <PageLink page="operations">Operations</PageLink>
        </nav>
      )}
      <div class="header-settings">
        {signedIn && (
          <Select
            label="Times in"
            value={view.zone}
            options={ZONES}
            name={(zone) => (zone === 'utc' ? 'UTC' : `Local (${localZoneId()})`)}
            onChange={(zone) => change({ zone })}
          />
        )}
        <Select
          label="Theme"
          value={theme}
          options={THEMES}
          name={(name) => THEME_NAMES[name]}
          onChange={chooseTheme}
        />
        {signedIn && (
          <button type="button" onClick={signOut}>
            Sign out
          </button>
        )}
      </div>
    </header>
  );
}

function PageLink({ page, children }: { page: Page; children: string }) {
  const [view, change] = useView();
  const follow = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    change({ page });
    scrollTo(0, 0);
  };
  return (
    <a
      href={formatView({ ...view, page }) || '/'}
      aria-current={view.page === page ? 'page' : undefined}
      onClick={follow}
    >
      {children}
    </a>
  );
}
