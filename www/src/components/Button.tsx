// A button that may be out of use for a while. It says so and does nothing, but it is not `disabled`:
// that would take the focus away from whoever has just pressed it.
import type { ComponentChildren } from 'preact';

interface Props {
  /** Whether it cannot be used right now. */
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
