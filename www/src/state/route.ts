// Keeps the view and the URL in step, also with the back button.
import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import { changeView, DEFAULT_VIEW, formatView, parseView, type View } from '../model/view.ts';

export type ChangeView = (change: Partial<View>) => void;

export function useRoute(): [View, ChangeView] {
  const [view, setView] = useState(readView);
  const current = useRef(view);
  const show = useCallback((next: View) => {
    current.current = next;
    setView(next);
  }, []);

  useEffect(() => {
    const read = () => show(readView());
    window.addEventListener('popstate', read);
    return () => window.removeEventListener('popstate', read);
  }, [show]);

  const change = useCallback<ChangeView>(
    (change) => {
      const next = changeView(current.current, change, Date.now());
      const query = formatView(next);
      if (query !== formatView(current.current)) history.pushState(null, '', location.pathname + query);
      show(next);
    },
    [show],
  );
  return [view, change];
}

function readView(): View {
  return parseView(location.search, Date.now());
}

/** The view, for all components. */
export const ViewContext = createContext<readonly [View, ChangeView]>([DEFAULT_VIEW, () => {}]);

export function useView(): readonly [View, ChangeView] {
  return useContext(ViewContext);
}
