import fc from 'fast-check';
import t from 'tap';

import { Ring } from '../../src/cache/ring.js';

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

/** All records of a ring, for another one. */
const blocksOf = (ring: Ring): Buffer[] => [...ring.blocks(() => true)].map(runs => Buffer.concat(runs));
const addAll = (ring: Ring, blocks: readonly Buffer[]): number =>
  blocks.reduce((sum, each) => sum + ring.addBlock(each, () => true), 0);
const step = fc.record({
  what: fc.constantFrom('put', 'put', 'put', 'touch', 'delete'),
  key: fc.integer({ min: 0, max: 400 }).map(n => `name-${n}\xff`),
  bytes: fc.integer({ min: 0, max: 300 }),
});
/** A ring after some steps, and what was put into it. */
function ringAfter(maxBytes: number, steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[]) {
  const ring = new Ring(maxBytes, () => undefined);
  const written = new Map<string, string>();
  for (const [n, { what, key, bytes }] of steps.entries()) {
    const at = ring.find(key);
    if (what === 'delete') ring.delete(key);
    else if (what === 'touch' && at !== -1) ring.touch(at);
    else if (what === 'put') {
      const text = `${n} `.repeat(bytes).slice(0, bytes);
      put(ring, key, text);
      written.set(key, text);
    }
  }
  return { ring, written };
}

await t.test('the records of one ring are added to another as they lie, but replace none', t => {
  let [smaller, kept] = [0, 0];
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 600, size: 'max' }),
      fc.array(step, { maxLength: 30 }),
      fc.constantFrom(0, 1000, 6000, 20_000, 1 << 18),
      (before, after, maxBytes) => {
        const from = ringAfter(20_000, before);
        const { ring, written } = ringAfter(maxBytes, after);
        const had = new Map([...written].map(([key, text]) => [key, get(ring, key, text.length)]));
        const added = addAll(ring, blocksOf(from.ring));
        if (ring.bytes > maxBytes) throw new Error(`${ring.bytes} octets`);
        if (maxBytes < 20_000) smaller++;
        let found = 0;
        for (const key of new Set([...written.keys(), ...from.written.keys()])) {
          const [text, older] = [had.get(key), from.written.get(key)];
          if (get(ring, key, 0) === undefined) continue;
          found++;
          const isRestored = ring.isMarked(ring.find(key));
          const expected = (isRestored ? older : text) ?? '?';
          const actual = get(ring, key, expected.length);
          if (actual !== expected) throw new Error(`${key}: ${actual} instead of ${expected}`);
          if (isRestored && text !== undefined && maxBytes > 100_000) throw new Error(`${key} is replaced`);
          if (isRestored) kept++;
        }
        if (maxBytes >= 6000 && from.ring.entries > had.size && added === 0) throw new Error('nothing is added');
        // Where there is room for all, all are there.
        if (maxBytes > 100_000 && added + [...had.values()].filter(each => each !== undefined).length !== found)
          throw new Error(`${found} found`);
        return found === ring.entries;
      },
    ),
    { numRuns: 300, endOnFailure: true },
  );
  t.ok(smaller > 50 && kept > 1000, `${kept} kept, ${smaller} smaller rings`);
  t.end();
});

for (const [what, bytes, count] of [
  ['a few records', 60, 20],
  ['as many as fit', 60, 2000],
  ['so many that the index is full', 0, 2000],
] as const)
  await t.test(`added records push out none that was put: ${what}`, t => {
    const from = new Ring(1 << 18, () => undefined);
    for (let i = 0; i < 2000; i++) put(from, `old${i}`, 'x'.repeat(bytes));
    const ring = new Ring(1 << 16, () => undefined);
    for (let i = 0; i < count; i++) put(ring, `new${i}`, 'y'.repeat(bytes));
    const before = ring.entries;
    addAll(ring, blocksOf(from));
    for (let i = 0; i < before; i++) t.equal(get(ring, `new${count - 1 - i}`, bytes), 'y'.repeat(bytes));
    if (count < 2000) t.equal(get(ring, 'old1999', bytes), 'x'.repeat(bytes), 'of the others, the newest are kept');
    else t.equal(get(ring, 'old1999', bytes), undefined);
    put(ring, 'another', 'z');
    t.equal(get(ring, 'another', 1), 'z', 'and others may be put');
    t.end();
  });

await t.test('whatever a block is, a ring stays whole, and what is found has the key that it is found by', t => {
  const { ring: source } = ringAfter(20_000, fc.sample(fc.array(step, { minLength: 300, maxLength: 300 }), 1)[0] ?? []);
  const [block = Buffer.alloc(0)] = blocksOf(source).sort((a, b) => b.length - a.length);
  let [refused, taken] = [0, 0];
  const change = fc.oneof(
    fc.record({ at: fc.nat(block.length - 1), octet: fc.nat(255) }),
    // In the head of a record.
    fc.record({ at: fc.integer({ min: 0, max: 15 }), octet: fc.nat(255) }),
  );
  const hostile = fc.oneof(
    fc.array(change, { minLength: 1, maxLength: 6 }).map(changes => {
      const changed = Buffer.from(block);
      for (const { at, octet } of changes) changed[at] = octet;
      return changed;
    }),
    fc.nat(block.length).map(end => block.subarray(0, end)),
    fc.nat(block.length).map(start => block.subarray(start)),
    fc.uint8Array({ maxLength: 400 }).map(each => Buffer.from(each)),
    // Lengths that may fit.
    fc.array(fc.constantFrom(0, 0, 0, 8, 16, 24, 0xff), { maxLength: 200 }).map(each => Buffer.from(each)),
  );
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 6 }), fc.constantFrom(0, 2000, 30_000), (blocks, maxBytes) => {
      const ring = new Ring(maxBytes, () => undefined);
      for (const each of blocks) {
        const before = ring.entries;
        const added = ring.addBlock(each, (payload, end) => {
          if (payload < 16 || end > ring.octets.length) throw new Error(`[${payload}, ${end})`);
          return true;
        });
        if (added === -1) refused++;
        else taken += added;
        if (added > 0 && before + added < ring.entries) throw new Error(`${added} added to ${before}`);
        put(ring, 'a', 'one');
      }
      for (let i = 0; i < 50; i++) put(ring, `after${i}`, 'x'.repeat(i));
      const keys: string[] = [];
      ring.deleteWhere(key => keys.push(key) < 0);
      if (keys.length !== ring.entries) throw new Error(`${keys.length} records, ${ring.entries} entries`);
      for (const key of keys) if (ring.find(key) === -1) throw new Error(`${key} is not found`);
      ring.deleteWhere(() => true);
      return ring.entries === 0 && ring.bytes === 0;
    }),
    { numRuns: 2000, endOnFailure: true },
  );
  t.ok(refused > 100 && taken > 100, `${refused} refused, ${taken} taken`);
  t.end();
});

await t.test('a record whose key is not that of its hash is left out', t => {
  const { ring } = ringAfter(1 << 16, [
    { what: 'put', key: 'one', bytes: 9 },
    { what: 'put', key: 'two', bytes: 9 },
  ]);
  const block = Buffer.concat(blocksOf(ring));
  block.write('2', block.indexOf('two'), 'latin1');
  const copy = new Ring(1 << 16, () => undefined);
  t.equal(addAll(copy, [block]), 1);
  t.not(copy.find('one'), -1);
  t.equal(copy.find('2wo'), -1);
  t.end();
});

for (const between of [20, 500])
  await t.test(`others may write while the records of a ring are read: ${between} records for each block`, t => {
    const ring = new Ring(1 << 17, () => undefined);
    for (let i = 0; i < 1000; i++) put(ring, `name-${i}`, `text ${i}`.padEnd(60));
    const copy = new Ring(1 << 18, () => undefined);
    let n = 0;
    for (const runs of ring.blocks(payload => !ring.octets.toString('latin1', payload, payload + 60).includes('7 '))) {
      t.equal(addAll(copy, [Buffer.concat(runs)]) >= 0, true);
      for (let i = 0; i < between; i++) put(ring, `other-${n++}`, 'x'.repeat((n * 37) % 200));
    }
    t.ok(copy.entries > (between === 20 ? 500 : 10), `${copy.entries} read`);
    for (let i = 0; i < 1000; i++) {
      const text = get(copy, `name-${i}`, 60);
      if (text !== undefined && text !== `text ${i}`.padEnd(60)) t.fail(`name-${i}: ${text}`);
    }
    t.equal(get(copy, 'name-997', 60), undefined, 'what is not kept is not there');
    const cleared = ring.blocks(() => true)[Symbol.iterator]();
    t.notOk(cleared.next().done);
    ring.clear();
    t.ok(cleared.next().done, 'nor is what was forgotten since');
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

await t.test('while the index grows, each record is found, replaced and deleted as ever', t => {
  const step = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 3999 }));
  fc.assert(
    fc.property(
      fc.integer({ min: 780, max: 860 }),
      fc.array(step, { minLength: 1500, maxLength: 3000, size: 'max' }),
      (first, steps) => {
        const ring = new Ring(1 << 20, () => {
          throw new Error('there was room');
        });
        const model = new Map<string, string>();
        const set = (key: string, text: string): void => {
          put(ring, key, text);
          model.set(key, text);
        };
        // The index doubles at about 820 records, and again at about 1640.
        for (let i = 0; i < first; i++) set(`name-${i}`, `first ${i}`);
        for (const [n, [what, key]] of steps.entries()) {
          const name = `name-${key}`;
          const had = model.get(name);
          if (what < 2) {
            if (ring.delete(name) !== model.delete(name)) throw new Error(`${name}: deleted?`);
          } else if (what < 4) {
            if (get(ring, name, had?.length ?? 0) !== had) throw new Error(`${name} instead of ${had}`);
          } else set(name, `${n}`.repeat(1 + (n % 30)));
          if (ring.entries !== model.size) throw new Error(`${ring.entries} instead of ${model.size}`);
        }
        for (const [name, text] of model) if (get(ring, name, text.length) !== text) throw new Error(name);
        const deleted = ring.deleteWhere(name => name.endsWith('7'));
        return deleted === [...model.keys()].filter(name => name.endsWith('7')).length;
      },
    ),
    { numRuns: 60, endOnFailure: true },
  );
  t.end();
});

await t.test('records of another ring are added while the index grows, and evicted where it is full', t => {
  const from = new Ring(1 << 20, () => undefined);
  for (let i = 0; i < 4000; i++) put(from, `name-${i}`, `old ${i}`);
  const ring = new Ring(1 << 20, () => undefined);
  for (let i = 0; i < 830; i++) put(ring, `name-${3 * i}`, `new ${i}`);
  addAll(ring, blocksOf(from));
  t.equal(ring.entries, 4000);
  for (let i = 0; i < 4000; i++) {
    const text = i % 3 === 0 && i < 2490 ? `new ${i / 3}` : `old ${i}`;
    if (get(ring, `name-${i}`, text.length) !== text) t.fail(`name-${i}`);
  }
  // Its index has 2048 slots at most.
  let evicted = 0;
  const small = new Ring(2048 * 64, () => evicted++);
  for (let i = 0; i < 3000; i++) {
    put(small, `n${i}`, `${i}`);
    if (i > 820 && get(small, `n${i - 700}`, 3) === undefined) t.fail(`n${i - 700}`);
  }
  t.equal(small.entries, 3000 - evicted);
  t.end();
});

await t.test('no record waits for all of a large index to move', t => {
  // The record with which an index of half a million slots doubles.
  const last = Math.floor(0.8 * ((1 << 19) - 1));
  const tookMs = [1, 2, 3].map(() => {
    const ring = new Ring(1 << 27, () => t.fail('there was room'));
    for (let i = 0; i < last; i++) ring.put(`name-${i}`, 8);
    const before = performance.now();
    ring.put('another', 8);
    return performance.now() - before;
  });
  t.ok(Math.min(...tookMs) < 4, `${tookMs.map(each => each.toFixed(2)).join(', ')} ms; all at once take 15 ms or more`);
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
  const steps = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('put' as const), key, fc.integer({ min: 0, max: 400 })) },
    { weight: 3, arbitrary: fc.tuple(fc.constant('touch' as const), key, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('delete' as const), key, fc.constant(0)) },
  );
  let evictions = 0;
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 400, size: 'max' }), taken => {
      let evicted = 0;
      const ring = new Ring(6000, () => evicted++);
      const written = new Map<string, string>();
      taken.forEach(([what, name, bytes], n) => {
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
    { numRuns: 300, endOnFailure: true },
  );
  t.ok(evictions > 0, `${evictions} evictions`);
  t.end();
});
