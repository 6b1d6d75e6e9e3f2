// Moves the focus when the element that has it is removed. Otherwise the keyboard would start at the top
// of the page again.
import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

/** Moves it to the heading of the surrounding part, or to the content. */
export function useFocusHandover(of: RefObject<HTMLElement | null>): void {
  useLayoutEffect(
    () => () => {
      const leaving = of.current;
      if (!leaving?.contains(document.activeElement)) return;
      const heading = leaving
        .closest('figure, section[aria-labelledby]')
        ?.querySelector<HTMLElement>('h2, h3');
      if (heading) heading.tabIndex = -1;
      (heading ?? document.getElementById('content'))?.focus();
    },
    [],
  );
}
