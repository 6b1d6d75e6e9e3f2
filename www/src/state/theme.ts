// The theme: light, dark, or the system's. Stored in this browser; charts are redrawn when it changes.
import { useEffect, useState } from 'preact/hooks';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'edge-analytics.theme';

export function readTheme(): Theme {
  const stored = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === stored) ?? 'system';
}

export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(readTheme);
  const choose = (next: Theme) => {
    localStorage.setItem(KEY, next);
    applyTheme(next);
    setTheme(next);
    window.dispatchEvent(new Event(CHANGED));
  };
  return [theme, choose];
}

const CHANGED = 'edge-analytics:theme';

/** A number that changes with the colours: canvases do not follow CSS. */
export function usePaletteVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const changed = () => setVersion((before) => before + 1);
    const system = matchMedia('(prefers-color-scheme: dark)');
    system.addEventListener('change', changed);
    window.addEventListener(CHANGED, changed);
    return () => {
      system.removeEventListener('change', changed);
      window.removeEventListener(CHANGED, changed);
    };
  }, []);
  return version;
}

/** A custom property of the theme as a colour for a canvas. */
export function resolveColour(property: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
