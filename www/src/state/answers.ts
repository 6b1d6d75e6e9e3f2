// Recent responses: going back shows them at once while they are loaded again.

const MOST = 24;
const answers = new Map<string, { data: unknown; loadedAt: number }>();

export function recall(key: string): { data: unknown; loadedAt: number } | undefined {
  return answers.get(key);
}

export function remember(key: string, data: unknown, loadedAt: number): void {
  answers.delete(key);
  answers.set(key, { data, loadedAt });
  const oldest = answers.keys().next().value;
  if (answers.size > MOST && oldest !== undefined) answers.delete(oldest);
}

/** When the user changes. */
export function forgetAnswers(): void {
  answers.clear();
}
