import fc from 'fast-check';
import t from 'tap';

import { Ring } from '../../src/cache/ring.js';
import { recordIn } from '../fixtures/snapshot-records.js';

const put = (ring: Ring, key: string, text: string): boolean => {
  const at = ring.put(key, text.length);
  if (at !== -1) ring.octets.write(text, at, 'latin1');
  return at !== -1;
};
const get = (ring: Ring, key: string, bytes: number): string | undefined => {
  const at = ring.find(key);
  return at === -1 ? undefined : ring.octets.toString('latin1', at, at + bytes);
};

await t.test('a record is found by its key until it is deleted or replaced', t => {
  const ring = new Ring(1 << 16, () => undefined);
  put(ring, 'a', 'one');
  put(ring, 'b', 'two');
  t.equal(get(ring, 'a', 3), 'one');
  put(ring, 'a', 'three');
  t.equal(get(ring, 'a', 5), 'three');
  t.equal(get(ring, 'b', 3), 'two');
  t.equal(ring.entries, 2);
  t.ok(ring.delete('a'));
  t.notOk(ring.delete('a'));
  t.equal(ring.find('a'), -1);
  ring.clear();
  t.equal(ring.find('b'), -1);
  t.same([ring.entries, ring.bytes], [0, 0]);
  t.end();
});

await t.test('octets with their key behind them are added like a record that is put, but replace none', t => {
  const ring = new Ring(1 << 16, () => undefined);
  const add = (key: string, payload: string): number => ring.add(recordIn(key, Buffer.from(payload, 'latin1')));
  const key = fc.uint8Array({ maxLength: 40 }).map(each => Buffer.from(each).toString('latin1'));
  fc.assert(
    fc.property(key, fc.string({ unit: 'binary-ascii', maxLength: 200 }), (added, payload) => {
      const before = ring.find(added);
      const at = add(added, payload);
      t.equal(at === -1, before !== -1 || ring.find(added) === -1);
      if (at !== -1) t.equal(get(ring, added, payload.length), payload);
      put(ring, added, 'put');
      t.equal(add(added, 'other'), -1);
      t.equal(get(ring, added, 3), 'put');
    }),
    { numRuns: 300 },
  );
  t.equal(add('large', 'x'.repeat(1 << 14)), -1, 'what is too large is not taken');
  t.end();
});

await t.test('only matching records are removed, before and after the head has wrapped around', t => {
  const ring = new Ring(8192, () => undefined);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 150; i++) put(ring, `${i % 3 === 0 ? 'odd' : 'even'}${round}-${i}`, 'x'.repeat(60));
    const before = Array.from({ length: 150 }, (_, i) => `even${round}-${i}`).filter(key => ring.find(key) !== -1);
    t.ok(ring.deleteWhere(key => key.startsWith('odd')) > 5);
    for (let i = 0; i < 150; i++) if (i % 3 === 0) t.equal(ring.find(`odd${round}-${i}`), -1);
    t.same(
      before.filter(key => ring.find(key) === -1),
      [],
    );
  }
  ring.deleteWhere(() => true);
  t.same([ring.entries, ring.bytes], [0, 0], 'and what is empty takes no place');
  t.ok(put(ring, 'again', 'one'));
  t.end();
});

await t.test('the oldest leave first; what was asked for gets a second chance', t => {
  let evicted = 0;
  const ring = new Ring(8192, () => evicted++);
  for (let i = 0; i < 40; i++) put(ring, `k${i}`, 'x'.repeat(80));
  for (let i = 40; i < 1000; i++) {
    const used = ring.find('k0');
    t.not(used, -1, `asked for again and again: stays (${i})`);
    ring.touch(used);
    put(ring, `k${i}`, 'x'.repeat(80));
  }
  t.equal(ring.find('k1'), -1);
  t.not(ring.find('k999'), -1);
  t.equal(evicted, 1000 - ring.entries);
  t.ok(ring.entries > 30);
  t.end();
});

await t.test('what is written again and again pushes out nothing that is written once', t => {
  for (const [how, octets] of [
    ['of the same size', () => 80],
    ['a little smaller and larger', (i: number) => 60 + (i % 5) * 8],
    ['of all sizes', (i: number) => 20 + ((i * 37) % 200)],
  ] as const) {
    const ring = new Ring(16_384, () => undefined);
    const once = Array.from({ length: 30 }, (_, i) => `once${i}`);
    for (const key of once) put(ring, key, 'y'.repeat(80));
    for (let i = 0; i < 5000; i++) put(ring, `often${i % 7}`, 'x'.repeat(octets(i)));
    const left = once.filter(key => get(ring, key, 80) === 'y'.repeat(80));
    t.ok(left.length >= (how === 'of all sizes' ? 15 : 30), `${how}: ${left.length} are there`);
    t.equal(get(ring, 'often3', 3), 'xxx');
  }
  t.end();
});

await t.test('large records push out large records, and not what is asked for', t => {
  const ring = new Ring(1 << 18, () => undefined);
  const asked = Array.from({ length: 400 }, (_, i) => `asked${i}`);
  for (const key of asked) put(ring, key, 'y'.repeat(80));
  for (let i = 0; i < 500; i++) {
    for (const key of asked) {
      const at = ring.find(key);
      if (at !== -1) ring.touch(at);
    }
    put(ring, `large${i}`, 'x'.repeat(20_000));
  }
  t.equal(asked.filter(key => get(ring, key, 80) === 'y'.repeat(80)).length, asked.length);
  t.end();
});

await t.test('it is the same where the index is full before the memory is', t => {
  // Half of the slots that a power of two above would have.
  const ring = new Ring(64 * 2047, () => undefined);
  const asked = Array.from({ length: 10 }, (_, i) => `asked${i}`);
  for (const key of asked) put(ring, key, 'y');
  for (let i = 0; i < 20_000; i++) {
    put(ring, `k${i}`, 'x');
    for (const key of i % 100 === 0 ? asked : []) {
      const at = ring.find(key);
      if (at !== -1) ring.touch(at);
    }
  }
  t.equal(asked.filter(key => get(ring, key, 1) === 'y').length, asked.length);
  t.end();
});

await t.test('the index grows with what it holds, and forgets nothing on the way', t => {
  const ring = new Ring(4 << 20, () => t.fail('there was room'));
  for (let i = 0; i < 20_000; i++) put(ring, `name-${i}`, `text ${i}`);
  t.equal(ring.entries, 20_000);
  for (let i = 0; i < 20_000; i++) if (get(ring, `name-${i}`, `text ${i}`.length) !== `text ${i}`) t.fail(`name-${i}`);
  t.end();
});

await t.test('a record that would take an eighth of all memory is not kept, and what it would replace is gone', t => {
  const ring = new Ring(8192, () => undefined);
  put(ring, 'k', 'small');
  t.notOk(put(ring, 'k', 'x'.repeat(1200)));
  t.equal(ring.find('k'), -1);
  t.equal(new Ring(0, () => undefined).put('k', 1), -1, 'no memory at all keeps nothing');
  t.end();
});

await t.test('whatever is done, each record holds what was written last, and memory stays within its bound', t => {
  const key = fc.integer({ min: 0, max: 60 }).map(n => `name-${n}\xff`);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('put' as const), key, fc.integer({ min: 0, max: 400 })) },
    { weight: 3, arbitrary: fc.tuple(fc.constant('touch' as const), key, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('delete' as const), key, fc.constant(0)) },
  );
  let evictions = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: 'max' }), steps => {
      let evicted = 0;
      const ring = new Ring(6000, () => evicted++);
      const written = new Map<string, string>();
      steps.forEach(([what, name, bytes], n) => {
        if (what === 'put') {
          const text = `${n} `.repeat(bytes).slice(0, bytes);
          if (put(ring, name, text)) written.set(name, text);
          else written.delete(name);
        } else if (what === 'touch') {
          const at = ring.find(name);
          if (at !== -1) ring.touch(at);
        } else ring.delete(name);
        if (ring.bytes > 6000) throw new Error(`${ring.bytes} octets`);
      });
      let found = 0;
      for (const [name, text] of written) {
        const actual = get(ring, name, text.length);
        if (actual === undefined) continue;
        found++;
        if (actual !== text) throw new Error(`${name}: ${actual} instead of ${text}`);
      }
      evictions += evicted;
      return found === ring.entries;
    }),
    { numRuns: 300 },
  );
  t.ok(evictions > 0, `${evictions} evictions`);
  t.end();
});
