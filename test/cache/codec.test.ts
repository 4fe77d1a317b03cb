import fc from 'fast-check';
import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { EntryCodec, type EntryMemory, ServerLabels } from '../../src/cache/codec.js';
import type { Entry } from '../../src/cache/entry.js';

function memory(bytes: number): EntryMemory {
  const buffer = new ArrayBuffer(bytes);
  return { octets: Buffer.from(buffer), doubles: new Float64Array(buffer) };
}
const u16 = fc.integer({ min: 0, max: 0xffff });
const entries: fc.Arbitrary<Entry> = fc.record({
  octets: fc.uint8Array({ maxLength: 300 }).map(each => Buffer.from(each)),
  rcode: u16,
  answers: u16,
  authority: u16,
  additional: u16,
  ttlOffsets: fc.array(u16, { maxLength: 20 }),
  storedAt: fc.double({ min: 0, max: 1e9, noNaN: true }).map(ageSec),
  ttlSec: fc.integer({ min: 0, max: 0xffffffff }),
  negative: fc.boolean(),
  verdict: fc.constantFrom('unchecked', 'secure', 'insecure', 'bogus', 'indeterminate'),
  verdictSec: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 0xfffffffe })),
  extendedErrors: fc.array(fc.record({ infoCode: u16, text: fc.string({ unit: 'grapheme', maxLength: 30 }) }), {
    maxLength: 4,
  }),
  upstream: fc.constantFrom('', 'one', 'two'),
  protocol: fc.constantFrom('dot', 'udp', 'tcp', undefined),
});

await t.test('an entry is read as it was written, in as many octets as was said', t => {
  const codec = new EntryCodec(new ServerLabels());
  fc.assert(
    fc.property(entries, fc.integer({ min: 0, max: 5 }), (entry, units) => {
      const at = units * 8;
      const bytes = codec.bytesOf(entry);
      const into = memory(1 << 13);
      into.octets.fill(0xee);
      codec.write(into, at, entry);
      t.same(codec.read(into, at), entry);
      return into.octets.subarray(0, at).every(each => each === 0xee) && into.octets[at + bytes] === 0xee;
    }),
  );
  t.end();
});

await t.test('octets are an entry only with a whole header, and with an RCODE that a reply can have', t => {
  const codec = new EntryCodec(new ServerLabels());
  const [sample] = fc.sample(entries, { numRuns: 1, seed: 4 });
  if (sample === undefined) throw new Error('no sample');
  const isEntry = (change: Partial<Entry>): boolean => {
    const entry = { ...sample, octets: Buffer.alloc(12), ttlOffsets: [8], rcode: 0xfff, ...change };
    const into = memory(1 << 13);
    codec.write(into, 0, entry);
    return codec.isEntry(into.octets, 0, codec.bytesOf(entry));
  };
  t.ok(isEntry({}));
  t.notOk(isEntry({ octets: Buffer.alloc(11), ttlOffsets: [] }));
  t.notOk(isEntry({ rcode: 0x1000 }));
  t.notOk(isEntry({ ttlOffsets: [9] }));
  t.end();
});

await t.test('labels beyond the bound are not told, and none is mistaken for another', t => {
  const labels = new ServerLabels();
  for (let i = 0; i < 5000; i++) {
    const told = labels.labelOf(labels.numberOf(`s${i}`));
    if (told !== `s${i}` && told !== '') t.fail(`${told} for s${i}`);
  }
  t.equal(labels.labelOf(labels.numberOf('s1')), 's1');
  t.equal(labels.labelOf(labels.numberOf('s4999')), '');
  t.end();
});
