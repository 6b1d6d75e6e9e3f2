// Numbers of the API without loss of digits. An integer above 2^53 does not fit into a JavaScript number,
// so it is read as a bigint. Only drawing rounds it.

export type Numeric = number | bigint;

/** Digits of an integer of 16 digits or more; also within a string, which is no number. */
const LONG = /(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/;

/** A string of JSON, which is skipped, or such a number. */
const STRING_OR_LONG = new RegExp(`"(?:[^"\\\\]|\\\\.)*"|${LONG.source}`, 'g');

/** Marks a long integer on its way through `JSON.parse`. No text of the API contains it. */
const MARK = '\u0000integer:';

/**
 * `JSON.parse` that keeps all digits of integers. The source text that a reviver gets would do the same,
 * but not all browsers of the last two years have it.
 */
export function parseJson(text: string): unknown {
  // Most responses contain no such integer.
  if (!LONG.test(text)) return JSON.parse(text);
  const marked = text.replace(STRING_OR_LONG, (found) =>
    found.startsWith('"') || Number.isSafeInteger(Number(found)) ? found : `"\\u0000integer:${found}"`,
  );
  return JSON.parse(marked, (_, value) => (isMarked(value) ? BigInt(value.slice(MARK.length)) : value));
}

function isMarked(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith(MARK) && /^-?\d+$/.test(value.slice(MARK.length));
}

/** JSON with all digits. */
export function jsonText(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(jsonText).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([name, field]) => `${JSON.stringify(name)}:${jsonText(field)}`);
    return `{${fields.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

export function isNumeric(value: unknown): value is Numeric {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** The sum: exact where both are integers, however large it is. */
export function add(one: Numeric, other: Numeric): Numeric {
  if (!isInteger(one) || !isInteger(other)) return Number(one) + Number(other);
  if (typeof one === 'number' && typeof other === 'number' && Number.isSafeInteger(one + other)) {
    return one + other;
  }
  return shortest(BigInt(one) + BigInt(other));
}

export function subtract(one: Numeric, other: Numeric): Numeric {
  return add(one, -other);
}

export function absolute(value: Numeric): Numeric {
  return value < 0 ? -value : value;
}

function isInteger(value: Numeric): boolean {
  return typeof value === 'bigint' || Number.isSafeInteger(value);
}

function shortest(value: bigint): Numeric {
  const short = Number(value);
  return Number.isSafeInteger(short) ? short : value;
}
