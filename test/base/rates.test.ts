// Rates and quantiles (base/rates).

import fc from 'fast-check';
import t from 'tap';

import {
  between,
  cacheText,
  type Sums,
  sumsFrom,
  numberText,
  percentText,
  quantile,
  sizeText,
  durationText,
  latencyText,
} from '../../src/base/rates.js';

const BOUNDS = [0.25, 0.5, 1, 2];
const look = (more: Partial<Sums>): Sums => ({
  atMs: 0,
  cache: 0,
  upstream: 0,
  local: 0,
  error: 0,
  encrypted: 0,
  cleartext: 0,
  durations: [0, 0, 0, 0, 0],
  ...more,
});

await t.test('rates and quantiles between two samples', async t => {
  const before = look({ atMs: 1000, cache: 10, upstream: 5, durations: [10, 0, 5, 0, 0] });
  const after = look({
    atMs: 3000,
    cache: 40,
    upstream: 13,
    local: 1,
    error: 1,
    encrypted: 9,
    cleartext: 1,
    durations: [40, 0, 15, 0, 0],
  });
  t.match(between(before, after, BOUNDS), {
    atMs: 3000,
    queries: 20,
    fromCache: 15,
    hits: 0.75,
    encrypted: 0.9,
    median: 0.25 * (20 / 30),
  });
  t.equal(between(before, { ...before, atMs: 5000 }, BOUNDS)?.queries, 0);
  t.match(
    between(before, { ...before, atMs: 5000 }, BOUNDS),
    { hits: undefined, encrypted: undefined, median: undefined, tail: undefined },
    'no query, no value',
  );
  t.equal(between(after, before, BOUNDS), undefined, 'backwards');
  t.equal(between(after, look({ atMs: 9000 }), BOUNDS), undefined, 'the daemon was restarted');
});

await t.test('a sample is read in the order in which it is written', async t => {
  t.same(sumsFrom([1, 2, 3, 4, 5, 6, 7, 8, 9]), {
    atMs: 1,
    cache: 2,
    upstream: 3,
    local: 4,
    error: 5,
    encrypted: 6,
    cleartext: 7,
    durations: [8, 9],
  });
});

await t.test('a quantile lies within its bucket, and grows with q', async t => {
  t.equal(quantile([0, 0, 10, 0, 0], BOUNDS, 0.5), 0.75, 'half way through');
  t.equal(quantile([0, 0, 0, 0, 1], BOUNDS, 0.99), 2, 'above all bounds: the highest bound');
  t.equal(quantile([0, 0, 0, 0, 0], BOUNDS, 0.5), undefined);
  fc.assert(
    fc.property(
      fc.array(fc.nat(1000), { minLength: 5, maxLength: 5 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      (counts, q) => {
        const [value, higher] = [quantile(counts, BOUNDS, q), quantile(counts, BOUNDS, Math.min(0.999, q * 1.1))];
        if (value === undefined || higher === undefined) return counts.every(count => count === 0);
        return value >= 0 && value <= 2 && higher >= value - 1e-9;
      },
    ),
  );
});

await t.test('numbers, shares and durations are written for people', async t => {
  t.same([0, 0.24, 9.96, 14.4, 1234.5].map(numberText), ['0', '0.2', '10.0', '14', '1,235']);
  t.same(
    [undefined, 0, 0.5, 0.999, 0.9999, 1].map(percentText),
    ['–', '0 %', '50 %', '99.9 %', '99.9 %', '100 %'],
    'a share just below 1 is not 100 %',
  );
  t.same(
    [undefined, 0.1, 0.25, 3.4].map(ms => latencyText(ms, BOUNDS)),
    ['–', '< 0.25 ms', '< 0.25 ms', '3.4 ms'],
  );
  t.same([5, 125, 7300, 200_000].map(durationText), ['5 s', '2 min', '2 h 1 min', '2 d 7 h']);
  t.same([0, 2048, 11 << 20, 11.26 * (1 << 20)].map(sizeText), ['0 KiB', '2 KiB', '11 MiB', '11.3 MiB']);
  t.equal(
    cacheText({ entries: 1200, bytes: 2048, limitBytes: 11 << 20, sizeBytes: 16 << 20 }),
    '1,200 answers in 2 KiB of the 11 MiB that cache.size (16 MiB) has for them',
    'the size that was configured is there',
  );
});
