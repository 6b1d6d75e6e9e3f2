// A value outside the component tree that components subscribe to.
import { useEffect, useState } from 'preact/hooks';

export interface Store<T> {
  get: () => T;
  set: (next: T) => void;
  use: () => T;
}

export function createStore<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<(value: T) => void>();
  const follow = () => {
    const [current, setCurrent] = useState<{ value: T }>({ value });
    useEffect(() => {
      const listener = (next: T) => setCurrent({ value: next });
      listeners.add(listener);
      listener(value);
      return () => void listeners.delete(listener);
    }, []);
    return current.value;
  };
  return {
    get: () => value,
    set: (next) => {
      value = next;
      for (const listener of listeners) listener(next);
    },
    use: follow,
  };
}
