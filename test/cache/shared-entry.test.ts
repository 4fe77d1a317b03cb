// Sealed entries: what was sealed for a place is read there until it expires, and nothing else ever is. SHARED_ENTRIES=10000000
// node --import=tsx test/cache/shared-entry.test.ts tries ten million altered, moved and replayed ones (here 100,000).

import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import t from 'tap';

import type { Random } from '../../src/base/ports.js';
import { ageSec, wallMs } from '../../src/base/time.js';
import type { Entry } from '../../src/cache/entry.js';
import {
  MOST_SEALED_BYTES,
  SharedEntries,
  type SharedFacts,
  sharedKeyFrom,
  storeSec,
} from '../../src/cache/shared-entry.js';
import type { Moment } from '../../src/cache/snapshot.js';
import { fakeRandom } from '../fixtures/clock.js';

const ATTEMPTS = Number(process.env['SHARED_ENTRIES'] ?? 100_000);
const KEY = Buffer.alloc(32, 7);
const FACTS: SharedFacts = { settings: 'require', clientClass: 0 };
const NAME = '\x03www\x07example\0\0\x01\0\x01';
/** One replica, and another one a second later, whose clock for ages began at another time. */
const STORED: Moment = { ageNow: ageSec(1000), wallNow: wallMs(1.8e12) };
const later = (seconds: number): Moment => ({ ageNow: ageSec(50), wallNow: wallMs(1.8e12 + seconds * 1000) });

const u16 = fc.integer({ min: 0, max: 0xffff });
const entries: fc.Arbitrary<Entry> = fc
  .record({
    octets: fc.uint8Array({ minLength: 12, maxLength: 700 }).map(each => Buffer.from(each)),
    rcode: fc.integer({ min: 0, max: 0xfff }),
    answers: u16,
    authority: u16,
    additional: u16,
    ttlOffsets: fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 20 }),
    // It was stored at most 100 s before it is sealed.
    storedAt: fc.integer({ min: 900, max: 1000 }).map(ageSec),
    ttlSec: fc.integer({ min: 200, max: 86_400 }),
    negative: fc.boolean(),
    verdict: fc.constantFrom('unchecked', 'secure', 'insecure'),
    verdictSec: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 0xfffffffe })),
    extendedErrors: fc.array(fc.record({ infoCode: u16, text: fc.string({ unit: 'grapheme', maxLength: 30 }) }), {
      maxLength: 4,
    }),
    upstream: fc.string({ unit: 'grapheme', maxLength: 30 }),
    protocol: fc.constantFrom('dot', 'udp', 'tcp', undefined),
  })
  .map(each => ({ ...each, octets: Buffer.from(each.octets) }));

const replica = (key = KEY, random: Random = fakeRandom()): SharedEntries => new SharedEntries(key, random);
const one = replica();
const other = replica();

function sealed(entry: Entry, name = NAME, facts = FACTS): Buffer {
  const octets = one.seal(one.place(name, facts), entry, STORED);
  if (octets === undefined) throw new Error('it is too long');
  return octets;
}
const plain = fc.sample(entries, { numRuns: 1, seed: 5 })[0] as Entry;

await t.test('an entry is the same in another replica, with its age', t => {
  fc.assert(
    fc.property(entries, entry => {
      const opened = other.open(other.place(NAME, FACTS), sealed(entry), later(1));
      const { storedAt, ...rest } = entry;
      t.match(opened, rest);
      t.equal(Math.round(50 - (opened?.storedAt ?? 0)), 1000 - storedAt + 1);
    }),
    { numRuns: 300 },
  );
  t.end();
});

await t.test('an altered, cut or longer entry, one under another place or another key, or a replayed one: none', t => {
  const kept = fc.sample(entries, { numRuns: 40, seed: 11 }).map(entry => ({ entry, octets: sealed(entry) }));
  const place = other.place(NAME, FACTS);
  const elsewhere = [
    other.place('\x03wwx\x07example\0\0\x01\0\x01', FACTS),
    other.place('\x03www\x07example\0\0\x1c\0\x01', FACTS),
    other.place(NAME, { ...FACTS, settings: 'off' }),
    other.place(NAME, { ...FACTS, clientClass: 1 }),
    replica(Buffer.alloc(32, 8)).place(NAME, FACTS),
  ];
  let given = 0;
  let tried = 0;
  const attempt = (...args: Parameters<SharedEntries['open']>): void => {
    tried++;
    if (other.open(...args) !== undefined) given++;
  };
  for (let dice = Buffer.alloc(0), at = 0; tried < ATTEMPTS; at += 8) {
    if (at + 8 > dice.length) [dice, at] = [randomBytes(1 << 16), 0];
    const { entry, octets } = kept[(dice[at] ?? 0) % kept.length] ?? { entry: plain, octets: sealed(plain) };
    const where = dice.readUInt32LE(at + 1) % octets.length;
    const [change = 0, length = 0] = [dice[at + 5], dice[at + 6]];
    switch ((dice[at + 7] ?? 0) % 6) {
      case 0:
      case 1: {
        const altered = Buffer.from(octets);
        altered[where] = (altered[where] ?? 0) ^ (change || 1);
        attempt(place, altered, later(1));
        break;
      }
      case 2:
        attempt(place, octets.subarray(0, where), later(1));
        break;
      case 3:
        attempt(place, Buffer.concat([octets, dice.subarray(at, at + 1 + (length % 64))]), later(1));
        break;
      case 4:
        attempt(elsewhere[change % elsewhere.length] ?? place, octets, later(1));
        break;
      default:
        attempt(place, octets, later(entry.ttlSec - (1000 - entry.storedAt) + change));
    }
  }
  t.equal(given, 0, `of ${tried}`);
  // So that it can fail: as they were, all are given.
  t.ok(kept.every(({ octets }) => other.open(place, octets, later(1)) !== undefined));
  t.end();
});

await t.test('every octet counts, and no octets make it throw', t => {
  const octets = sealed(plain);
  const place = other.place(NAME, FACTS);
  for (let at = 0; at < octets.length; at++)
    for (const bit of [1, 128]) {
      const altered = Buffer.from(octets);
      altered[at] = (altered[at] ?? 0) ^ bit;
      if (other.open(place, altered, later(1)) !== undefined) t.fail(`octet ${at}`);
    }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.boolean(), (any, isVersioned) => {
      const some = Buffer.from(any);
      if (isVersioned && some.length > 0) some[0] = 1;
      return other.open(place, some, later(1)) === undefined;
    }),
  );
  t.equal(other.open(place, Buffer.alloc(MOST_SEALED_BYTES + 1, 1), later(1)), undefined);
  t.end();
});

await t.test('an entry ends when its TTL does, whatever the store does with it', t => {
  const entry = { ...plain, storedAt: ageSec(990), ttlSec: 300 };
  const octets = sealed(entry);
  const place = other.place(NAME, FACTS);
  t.equal(other.open(place, octets, later(289))?.ttlSec, 300);
  t.equal(other.open(place, octets, later(290)), undefined);
  t.equal(other.open(place, octets, later(1e9)), undefined);
  t.end();
});

await t.test('an entry of the future is not used, but for a difference of a second between clocks', t => {
  const octets = sealed({ ...plain, storedAt: STORED.ageNow, ttlSec: 300 });
  const place = other.place(NAME, FACTS);
  t.equal(other.open(place, octets, later(-2)), undefined);
  t.equal(other.open(place, octets, later(-0.5))?.storedAt, 50, 'it is not younger than now');
  t.equal(other.open(place, octets, { ageNow: ageSec(50), wallNow: wallMs(NaN) }), undefined);
  t.end();
});

await t.test('what was stored before something was forgotten is not used', t => {
  const octets = sealed({ ...plain, storedAt: STORED.ageNow, ttlSec: 300 });
  const place = other.place(NAME, FACTS);
  const storedAt = STORED.wallNow / 1000;
  t.equal(other.open(place, octets, later(1), storedAt), undefined);
  t.ok(other.open(place, octets, later(1), storedAt - 1));
  t.end();
});

await t.test('the store sees no name, no address, no server, and no exact length or TTL', t => {
  const message = Buffer.from('\x03www\x07example\0 the answer');
  const entry = { ...plain, octets: message, ttlOffsets: [], upstream: 'dns.quad9.net', extendedErrors: [] };
  const place = one.place(NAME, FACTS);
  const octets = sealed(entry);
  for (const seen of [place.storeKey, octets])
    for (const text of ['www', 'example', 'answer', 'quad9']) t.notOk(seen.includes(text), text);
  const longer = sealed({ ...entry, octets: Buffer.concat([message, Buffer.alloc(200)]) });
  t.equal(octets.length, longer.length);
  t.not(octets.toString('hex'), sealed(entry).toString('hex'), 'the same answer is not seen to be the same');
  t.same([1, 2, 3, 300, 511, 512, 604_800].map(storeSec), [1, 2, 4, 512, 512, 512, 1 << 20]);
  t.end();
});

await t.test('the largest message fits, and what does not is not sealed', t => {
  const place = one.place(NAME, FACTS);
  const records = Array.from({ length: Math.floor(65_535 / 11) }, (_, i) => i * 11);
  const largest = { ...plain, octets: Buffer.alloc(65_535), ttlOffsets: records };
  const octets = one.seal(place, largest, STORED);
  t.match(other.open(place, octets ?? Buffer.alloc(0), later(1)), { ttlOffsets: records });
  t.equal(one.seal(place, { ...largest, upstream: 'x'.repeat(70_000) }, STORED), undefined);
  t.end();
});

await t.test('a key is 32 octets in base64, and nothing else', t => {
  const text = randomBytes(32).toString('base64');
  t.same(sharedKeyFrom(Buffer.from(`${text}\n`)), Buffer.from(text, 'base64'));
  const bad = ['', text.slice(4), `${text}${text}`, randomBytes(32).toString('hex'), 'secret', `${'A'.repeat(42)}B=`];
  for (const each of bad) t.equal(sharedKeyFrom(Buffer.from(each)), undefined, each);
  t.end();
});
