// What is asked together with a question, and how that changes with what was seen.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { readAnchors, BUILT_IN_ANCHORS } from '../../src/dnssec/anchors.js';
import { SpeculativeLookups } from '../../src/dnssec/speculative.js';
import { nameOf, nameText } from '../../src/dnssec/name.js';
import { type Zones, zoneTable, type ZoneState } from '../../src/dnssec/zones.js';
import { TYPE, typeToText } from '../../src/wire/rrtype.js';
import { wireName } from '../fixtures/records.js';

const name = (text: string): string => nameOf(wireName(text));
const NOW = ageSec(0);
const SIGNED: ZoneState = { at: 'signed', keys: [] };
const UNSIGNED: ZoneState = { at: 'unsigned', why: undefined };

function setting(known: readonly string[]): {
  zones: Zones;
  speculative: SpeculativeLookups;
  asks(text: string, type?: number): string[];
  learns(text: string, ...found: [string, ZoneState][]): void;
} {
  const zones = zoneTable(1 << 20);
  for (const each of known) zones.put(name(each), SIGNED, NOW, 3600);
  const anchors = readAnchors(BUILT_IN_ANCHORS);
  const speculative = new SpeculativeLookups(zones, () => anchors, { covers: () => false });
  return {
    zones,
    speculative,
    asks: (text, type = TYPE.A) =>
      speculative.guess(name(text), type, NOW).lookups.map(each => `${nameText(each.name)} ${typeToText(each.type)}`),
    learns(text, ...found) {
      const guess = speculative.guess(name(text), TYPE.A, NOW);
      for (const [zone, state] of found) zones.put(name(zone), state, NOW, 3600);
      speculative.learn(guess, NOW);
      for (const [zone] of found) zones.forget(each => each === name(zone));
    },
  };
}

await t.test('nothing known: the keys of the root, and the zones that a name has most likely', async t => {
  const { asks } = setting([]);
  t.same(asks('www.example.org.'), ['. DNSKEY', 'org. DS', 'org. DNSKEY', 'example.org. DS', 'example.org. DNSKEY']);
  t.same(asks('example.org.'), ['. DNSKEY', 'org. DS', 'org. DNSKEY']);
  t.same(asks('org.', TYPE.NS), ['. DNSKEY', 'org. DS', 'org. DNSKEY']);
  t.same(asks('org.', TYPE.DNSKEY), ['. DNSKEY', 'org. DS'], 'not the question itself');
  t.same(asks('org.', TYPE.DS), ['. DNSKEY']);
  t.same(asks('.', TYPE.DNSKEY), []);
});

await t.test('a known top-level zone: names directly below it are taken for zones', async t => {
  const { asks } = setting(['.', 'org.']);
  t.same(asks('example.org.'), ['example.org. DS', 'example.org. DNSKEY']);
  t.same(asks('www.example.org.'), ['example.org. DS', 'example.org. DNSKEY']);
});

await t.test('a known zone: later names ask nothing but whether the name above is a zone', async t => {
  const { asks, zones } = setting(['.', 'org.', 'example.org.']);
  t.same(asks('www.example.org.'), []);
  t.same(asks('a.b.example.org.'), ['b.example.org. DS']);
  t.ok(asks('a.b.c.d.e.f.g.h.example.org.').includes('b.c.d.e.f.g.h.example.org. DS'));
  zones.put(name('b.example.org.'), { at: 'no_cut' }, NOW, 3600);
  t.same(asks('a.b.example.org.'), []);
  t.same(asks('example.org.', TYPE.MX), []);
});

await t.test(
  'a zone that has shown a zone below it is expected to have more; one that has shown a host is not',
  async t => {
    const { asks, learns } = setting(['.', 'uk.', 'co.uk.']);
    t.same(asks('www.example.co.uk.'), ['example.co.uk. DS']);
    learns('www.example.co.uk.', ['example.co.uk.', SIGNED]);
    t.same(asks('www.other.co.uk.'), ['other.co.uk. DS', 'other.co.uk. DNSKEY']);
    learns('www.third.co.uk.');
    learns('www.fourth.co.uk.');
    t.same(asks('www.other.co.uk.'), ['other.co.uk. DS']);
  },
);

await t.test('where most zones are unsigned their keys are not asked for', async t => {
  const { asks, learns } = setting(['.', 'com.']);
  learns('www.one.com.', ['one.com.', UNSIGNED]);
  learns('www.two.com.', ['two.com.', UNSIGNED]);
  t.same(asks('www.three.com.'), ['three.com. DS']);
  learns('www.four.com.', ['four.com.', SIGNED]);
  t.same(asks('www.three.com.'), ['three.com. DS', 'three.com. DNSKEY']);
});

await t.test('names between an unknown zone and the host: asked once, then as was seen', async t => {
  const { asks, learns } = setting(['.', 'org.']);
  t.same(asks('www.host.example.org.').length, 4);
  learns('www.host.example.org.', ['example.org.', SIGNED]);
  t.same(asks('www.host.another.org.'), ['another.org. DS', 'another.org. DNSKEY', 'host.another.org. DS']);
  learns('www.host.another.org.', ['another.org.', SIGNED], ['host.another.org.', SIGNED]);
  t.same(asks('www.host.third.org.').length, 4);
});

await t.test('what has many labels is not asked about label by label', async t => {
  const { asks } = setting([]);
  t.ok(asks(`${'a.'.repeat(60)}ip6.arpa.`).length <= 9);
});
