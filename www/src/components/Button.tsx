// A button that can be unavailable. It is marked as such and does nothing, but it is not `disabled`,
// because it would lose the focus.
import type { ComponentChildren } from 'preact';

interface Props {
  /** Whether it is unavailable. */
  off: boolean;
  /** Not for a button that submits its form. */
  onClick?: () => void;
  submits?: boolean;
  class?: string;
  'aria-label'?: string;
  'aria-pressed'?: boolean;
  children: ComponentChildren;
}

export function Button({ off, onClick, submits = false, children, ...attributes }: Props) {
  return (
    <button
      {...attributes}
      type={submits ? 'submit' : 'button'}
      aria-disabled={off || undefined}
      onClick={(event) => {
        if (off) event.preventDefault();
        else onClick?.();
      }}
    >
      {children}
    </button>
  );
}
