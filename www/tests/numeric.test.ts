// Integers above 2^53 keep all digits, from the response to the page and the CSV.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, figureOf } from '../src/model/figure.ts';
import { formatExact, formatSigned } from '../src/model/format.ts';
import { absolute, add, jsonText, parseJson, subtract } from '../src/model/numeric.ts';

test('an integer that fits is a number, a longer one has all its digits', () => {
  assert.deepEqual(parseJson('{"a":9007199254740991,"b":9007199254740993,"c":-9223372036854775808}'), {
    a: 9007199254740991,
    b: 9007199254740993n,
    c: -9223372036854775808n,
  });
  assert.deepEqual(parseJson('[9007199254740993]'), [9007199254740993n]);
  assert.equal(parseJson('9007199254740993'), 9007199254740993n);
  // Integers that are exact as doubles.
  assert.deepEqual(parseJson('[1000000000000000,9007199254740992]'), [1000000000000000, 9007199254740992n]);
});

test('fractions, exponents and texts are what JSON.parse makes of them', () => {
  for (const text of [
    '[0.12345678901234567890,41.333333333333336,12345678901234567.5]',
    '[1e21,1.5E+300,12345678901234567e3,1e-1234567890123456]',
    '{"9007199254740993":"9007199254740993"}',
    String.raw`["a \" 9007199254740993","\\","9007199254740993,"]`,
    String.raw`["\u0000integer:x9007199254740993"]`,
    'true',
  ]) {
    assert.deepEqual(parseJson(text), JSON.parse(text), text);
  }
});

test('what is no JSON is refused', () => {
  for (const text of ['', '<html>9007199254740993</html>', '{"a":9007199254740993']) {
    assert.throws(() => parseJson(text), SyntaxError, text);
  }
});

test('what is written as JSON has all digits again', () => {
  const text = '[{"targetId":"a \\"b\\"","total":9007199254740993,"likes":2.5,"none":null}]';
  assert.equal(jsonText(parseJson(text)), text);
});

test('sums and differences of integers are exact, also where the parts are short', () => {
  assert.equal(add(9007199254740991, 2), 9007199254740993n);
  assert.equal(add(9007199254740993n, -2), 9007199254740991);
  assert.equal(add(0.1, 0.2), 0.1 + 0.2);
  assert.equal(add(0.5, 1n), 1.5);
  assert.equal(subtract(9007199254740995n, 9007199254740993n), 2);
  assert.equal(absolute(-9007199254740993n), 9007199254740993n);
});

test('figures and changes of large counts are exact', () => {
  assert.deepEqual(figureOf([9007199254740991, null, 2], 'sum'), { value: 9007199254740993n, what: 'total' });
  assert.deepEqual(figureOf([9007199254740993n], 'stock').value, 9007199254740993n);
  assert.deepEqual(changeOf([9007199254740995n], [9007199254740993n], 'stock')?.absolute, 2);
});

test('all digits are shown', () => {
  assert.equal(formatExact(9007199254740993n, 'count'), '9,007,199,254,740,993');
  assert.equal(formatExact(9223372036854775807n, 'bytes'), '9,223,372,036,854,775,807 B');
  assert.equal(formatSigned(-9007199254740993n, 'count'), '−9,007,199,254,740,993');
});
