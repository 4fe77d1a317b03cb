// The table of validated denials: its order, its bounds, and what it refuses.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { Denials, StoredSet, Gaps, ZoneDenials } from '../../src/dnssec/denials.js';
import { compareNames, type Name, nameOf, nameText } from '../../src/dnssec/name.js';
import type { RRset } from '../../src/dnssec/rrset.js';
import type { ProvenSet } from '../../src/dnssec/validate.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeRandom } from '../fixtures/clock.js';
import { wireName } from '../fixtures/records.js';
import { typeBitmap } from '../fixtures/signer.js';

const ZONE = nameOf(wireName('example.'));
const NOW = ageSec(1000);
const name = (text: string): Name => nameOf(wireName(text));

function setOf(owner: Name, type: number, rdata: Buffer, ttlSec = 300): RRset {
  const head = Buffer.concat([Buffer.alloc(18), Buffer.from(ZONE, 'latin1')]);
  const signature = {
    ...{ algorithm: 13, labels: 1, originalTtlSec: ttlSec, expiration: 0, inception: 0, keyTag: 1, signer: ZONE },
    ...{ head, octets: Buffer.alloc(64), ttlSec },
  };
  return { owner, type, section: 'authority', ttlSec, rdata: [rdata], signatures: [signature], records: [] };
}
const proven = (set: RRset, ttlSec = set.ttlSec, owner = set.owner): ProvenSet => ({ zone: ZONE, set, owner, ttlSec });
const nsec = (from: string, to: string, ...types: number[]): RRset =>
  setOf(name(from), TYPE.NSEC, Buffer.concat([wireName(to), typeBitmap([...types, TYPE.NSEC])]));
const soa = (ttlSec: number, minimumSec: number): RRset => {
  const rdata = Buffer.alloc(22);
  rdata.writeUInt32BE(minimumSec, 18);
  return setOf(ZONE, TYPE.SOA, rdata, ttlSec);
};
const found = (denials: Denials, at: string, now = NOW): string | undefined => {
  const zone = denials.zoneOf(name(at), TYPE.A);
  const set = denials.fresh(zone?.plainAt(name(at)), now);
  return set && nameText(set.place.owner);
};

await t.test('a name is found in the gap that it is in', t => {
  const denials = new Denials(1 << 20);
  t.equal(denials.zoneOf(name('a.example.'), TYPE.A), undefined);
  denials.learn(
    [nsec('b.example.', 'd.example.'), nsec('x.example.', 'example.')].map(each => proven(each)),
    NOW,
  );
  t.equal(found(denials, 'b.example.'), 'b.example.', 'where it starts');
  t.equal(found(denials, 'c.example.'), 'b.example.');
  t.equal(found(denials, 'z.a.c.example.'), 'b.example.');
  t.equal(found(denials, 'd.example.'), undefined, 'where it ends');
  t.equal(found(denials, 'a.example.'), undefined);
  t.equal(found(denials, 'z.example.'), 'x.example.', 'the last of the zone');
  t.equal(denials.zoneOf(ZONE, TYPE.DS), undefined, 'a DS is denied by the zone above');
  t.equal(denials.zoneOf(name('other.'), TYPE.A), undefined);
  denials.clear();
  t.equal(denials.zoneOf(name('c.example.'), TYPE.A), undefined);
  t.same([denials.entries, denials.bytes], [0, 0]);
  t.end();
});

await t.test('what comes later replaces what it contradicts', t => {
  const denials = new Denials(1 << 20);
  const learn = (from: string, to: string): void => denials.learn([proven(nsec(from, to))], NOW);
  learn('a.example.', 'z.example.');
  learn('m.example.', 'p.example.');
  t.equal(found(denials, 'b.example.'), undefined, 'm exists: the gap around it is gone');
  learn('p.example.', 't.example.');
  learn('a.example.', 'z.example.');
  t.equal(found(denials, 'n.example.'), 'a.example.', 'm is gone');
  t.equal(denials.entries, 1);
  learn('y.example.', 'example.');
  t.equal(found(denials, 'b.example.'), undefined);
  learn('example.', 'example.');
  t.equal(denials.entries, 1, 'the zone has nothing but its apex');
  t.end();
});

await t.test('what an earlier process has known takes no place of what was learnt since', t => {
  const restored = (from: string, to: string, ...learnt: readonly (readonly [string, string])[]): boolean => {
    const denials = new Denials(1 << 20);
    denials.learn([proven(soa(200, 60)), ...learnt.map(each => proven(nsec(...each)))], NOW);
    denials.restore(ZONE, nsec(from, to), 33, NOW);
    denials.restore(ZONE, soa(200, 9), 200, NOW);
    t.equal(denials.zoneOf(name('b.example.'), TYPE.A)?.minimumSec, 60);
    return denials.sets.some(({ place }) => place.until === NOW + 33);
  };
  t.equal(restored('a.example.', 'c.example.', ['c.example.', 'f.example.']), true, 'beside another');
  t.equal(restored('a.example.', 'c.example.', ['y.example.', 'example.']), true);
  t.equal(restored('a.example.', 'c.example.', ['a.example.', 'c.example.']), false, 'the same');
  t.equal(restored('a.example.', 'c.example.', ['b.example.', 'c.example.']), false, 'a name in it exists now');
  t.equal(restored('b.example.', 'c.example.', ['a.example.', 'd.example.']), false, 'its own does not any more');
  t.equal(restored('y.example.', 'example.', ['z.example.', 'example.']), false, 'at the end of the zone');
  t.equal(restored('example.', 'example.', ['b.example.', 'c.example.']), false, 'a zone with nothing but its apex');
  t.end();
});

await t.test('no set lives longer than its TTL, its SOA and a day allow', t => {
  const lives = (sets: readonly ProvenSet[]): number => {
    const denials = new Denials(1 << 20);
    denials.learn(sets, NOW);
    const set = denials.zoneOf(name('b.example.'), TYPE.A)?.plainAt(name('b.example.'));
    return (set?.place.until ?? 0) - NOW;
  };
  const gap = nsec('a.example.', 'c.example.');
  t.equal(lives([proven(gap)]), 300);
  t.equal(lives([proven(gap, 20)]), 20, 'what validation allows: signatures expire');
  t.equal(lives([proven(gap), proven(soa(200, 60))]), 60, 'MINIMUM');
  t.equal(lives([proven(gap), proven(soa(50, 60))]), 50, 'the TTL of the SOA');
  t.equal(lives([proven({ ...gap, ttlSec: 1e6 })]), 86_400);
  const denials = new Denials(1 << 20);
  denials.learn([proven(gap)], NOW);
  t.equal(found(denials, 'b.example.', ageSec(NOW + 299)), 'a.example.');
  t.equal(found(denials, 'b.example.', ageSec(NOW + 300)), undefined);
  t.same([denials.entries, denials.bytes], [0, 0], 'it is removed when that is seen');
  t.end();
});

await t.test('what denies nothing in its zone, and what is too large, is not stored', t => {
  const denials = new Denials(1 << 20);
  const refused = [
    proven(nsec('b.example.', 'c.other.')),
    proven(nsec('b.example.', 'a.example.')),
    proven(nsec('b.other.', 'c.example.')),
    proven(setOf(name('b.example.'), TYPE.NSEC, Buffer.from([0, 0, 0]))),
    proven(setOf(name('b.example.'), TYPE.NSEC3, Buffer.alloc(30))),
    proven(setOf(name('x.w.example.'), TYPE.TXT, Buffer.alloc(9000)), 300, name('*.w.example.')),
    proven(setOf(name('x.w.example.'), TYPE.NS, wireName('a.')), 300, name('*.w.example.')),
    proven(setOf(name('x.w.example.'), TYPE.DNAME, wireName('a.')), 300, name('*.w.example.')),
  ];
  denials.learn(refused, NOW);
  t.same([denials.entries, denials.bytes], [0, 0]);
  denials.learn([proven(nsec('b.example.', 'c.example.', TYPE.NS))], NOW);
  t.equal(found(denials, 'x.b.example.'), undefined, 'a zone cut says nothing about names below it');
  t.equal(found(denials, 'bb.example.'), 'b.example.');
  t.end();
});

await t.test('its size has a bound in octets, and what is used stays', t => {
  const denials = new Denials(100_000);
  for (let i = 0; i < 10_000; i++) {
    const label = String(i).padStart(5, '0');
    denials.learn([proven(nsec(`${label}.example.`, `${label}a.example.`))], NOW);
    if (denials.bytes > 100_000) t.fail(`${denials.bytes} octets`);
    if (i > 0) found(denials, '00000.example.');
  }
  t.equal(found(denials, '00000.example.'), '00000.example.');
  t.equal(found(denials, '00001.example.'), undefined);
  t.ok(denials.entries > 80, String(denials.entries));
  t.end();
});

await t.test('gaps stay in order and never overlap, whatever is added and removed', t => {
  const random = fakeRandom(3);
  const zone = new ZoneDenials(ZONE);
  const gaps = new Gaps(compareNames);
  const names = Array.from({ length: 40 }, (_, i) => name(`${String.fromCharCode(97 + (i % 26))}${i}.example.`)).sort(
    compareNames,
  );
  let held: StoredSet[] = [];
  for (let round = 0; round < 3000; round++) {
    const at = random.uint16() % (names.length - 1);
    const to = at + 1 + (random.uint16() % (names.length - at));
    const place = { owner: names[at] ?? ZONE, key: names[at] ?? ZONE, next: names[to] ?? ZONE, until: NOW };
    const made = new StoredSet(setOf(place.owner, TYPE.NSEC, Buffer.alloc(1)), zone, place);
    const removed = gaps.put(made);
    held = [...held.filter(each => !removed.includes(each)), made];
    if (round % 7 === 0) {
      const [gone] = held.splice(random.uint16() % held.length, 1);
      if (gone !== undefined) gaps.delete(gone);
    }
    t.equal(gaps.entries, held.length);
    const wanted = names[random.uint16() % names.length] ?? ZONE;
    const covering = held.filter(
      ({ place: { key, next = key } }) =>
        compareNames(key, wanted) <= 0 && (next === ZONE || compareNames(wanted, next) < 0),
    );
    if (covering.length > 1) t.fail('two gaps overlap');
    t.equal(gaps.find(wanted), covering[0]);
  }
  t.end();
});
