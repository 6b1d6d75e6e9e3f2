// A short mark of a state. Its words say it; its colour only repeats them.

export type Tone = 'good' | 'warn' | 'bad' | 'quiet';

export function Badge({ tone, title, children }: { tone: Tone; title?: string; children: string }) {
  return (
    <span class={`badge badge-${tone}`} title={title}>
      {children}
    </span>
  );
}
