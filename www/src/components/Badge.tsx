// A short text for a state. Its colour adds no information.

export type Tone = 'good' | 'warn' | 'bad' | 'quiet';

export function Badge({ tone, title, children }: { tone: Tone; title?: string; children: string }) {
  return (
    <span class={`badge badge-${tone}`} title={title}>
      {children}
    </span>
  );
}
