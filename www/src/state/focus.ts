// Where the focus goes when what has it is taken off the page: without this it would be lost, and the
// keyboard would start at the top again.
import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

/** To the heading of the part around it, or to the content. */
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
