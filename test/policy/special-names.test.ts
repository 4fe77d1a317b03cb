// Special-use names: which zone a name is in, and what is answered.

import t from 'tap';

import { RCODE } from '../../src/base/outcome.js';
import { isOfParent, type SpecialAnswer, specialAnswer, specialZoneOf } from '../../src/policy/special-names.js';
import { nameToText } from '../../src/wire/name.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { wireName } from '../fixtures/records.js';

const key = (text: string): string => wireName(text).toString('latin1');
const zoneText = (text: string): string | undefined => {
  const zone = specialZoneOf(key(text));
  return zone && nameToText(Buffer.from(zone.name, 'latin1'));
};
function shown(name: string, type: number): string {
  const zone = specialZoneOf(key(name));
  if (zone === undefined) return 'not special';
  const answer: SpecialAnswer = specialAnswer(zone, key(name), type);
  if (answer.at === 'denial') return answer.rcode === RCODE.NXDOMAIN ? 'NXDOMAIN' : 'NODATA';
  return answer.at === 'soa' ? 'SOA' : answer.rdata.map(each => each.toString('hex')).join(' ');
}

await t.test('every zone of the registries is known, and names that only look alike are not', t => {
  for (const zone of [
    'localhost test invalid local onion alt home.arpa service.arpa resolver.arpa',
    '10.in-addr.arpa 16.172.in-addr.arpa 31.172.in-addr.arpa 168.192.in-addr.arpa',
    '0.in-addr.arpa 127.in-addr.arpa 254.169.in-addr.arpa 2.0.192.in-addr.arpa 100.51.198.in-addr.arpa',
    '113.0.203.in-addr.arpa 255.255.255.255.in-addr.arpa 64.100.in-addr.arpa 127.100.in-addr.arpa',
    'd.f.ip6.arpa 8.e.f.ip6.arpa 9.e.f.ip6.arpa a.e.f.ip6.arpa b.e.f.ip6.arpa 8.b.d.0.1.0.0.2.ip6.arpa',
  ].flatMap(each => each.split(' '))) {
    t.equal(zoneText(zone), `${zone}.`);
    t.equal(zoneText(`a.b.${zone}`), `${zone}.`);
    t.equal(zoneText(`x${zone}`), undefined, `x${zone}`);
  }
  for (const name of [
    // RFC 6761 §6.5: resolvers treat example like any other name.
    'example example.com example.net www.example.org',
    // RFC 8880: only DNS64 changes it.
    'ipv4only.arpa 170.0.0.192.in-addr.arpa',
    'arpa in-addr.arpa ip6.arpa 15.172.in-addr.arpa 32.172.in-addr.arpa 63.100.in-addr.arpa 128.100.in-addr.arpa',
    'c.e.f.ip6.arpa localhost.example test.example 1.in-addr.arpa mylocal',
  ].flatMap(each => each.split(' ')))
    t.equal(zoneText(name), undefined, name);
  t.equal(specialZoneOf('\0'), undefined, 'the root');
  t.end();
});

await t.test('RFC 6761 §6.3: localhost and all names below are this machine, and have nothing else', t => {
  for (const name of ['localhost', 'www.localhost', 'a.b.localhost']) {
    t.equal(shown(name, TYPE.A), '7f000001');
    t.equal(shown(name, TYPE.AAAA), '00000000000000000000000000000001');
    for (const type of [TYPE.MX, TYPE.HTTPS, TYPE.DS, TYPE.TXT]) t.equal(shown(name, type), 'NODATA');
  }
  t.equal(
    shown('1.0.0.127.in-addr.arpa', TYPE.PTR),
    key('localhost')
      .split('')
      .map(c => c.charCodeAt(0).toString(16).padStart(2, '0'))
      .join(''),
  );
  t.equal(shown('1.0.0.127.in-addr.arpa', TYPE.A), 'NODATA');
  t.equal(shown(`1.${'0.'.repeat(31)}ip6.arpa`, TYPE.PTR), shown('1.0.0.127.in-addr.arpa', TYPE.PTR));
  t.equal(shown('2.0.0.127.in-addr.arpa', TYPE.PTR), 'NXDOMAIN');
  t.equal(shown('0.0.127.in-addr.arpa', TYPE.PTR), 'NODATA', 'RFC 8020: a name above one that exists');
  t.equal(shown('00.0.127.in-addr.arpa', TYPE.PTR), 'NXDOMAIN', 'which only ends alike');
  t.end();
});

await t.test('names that do not exist are NXDOMAIN for every type, at the top as well', t => {
  for (const name of ['test', 'invalid', 'local', 'onion', 'alt'])
    for (const type of [TYPE.A, TYPE.SOA, TYPE.NS, TYPE.DS, TYPE.TXT]) {
      t.equal(shown(name, type), 'NXDOMAIN');
      t.equal(shown(`a.${name}`, type), 'NXDOMAIN');
    }
  t.end();
});

await t.test('RFC 6303 §3: an empty zone has an apex with SOA and NS, and nothing below', t => {
  for (const zone of ['home.arpa', '10.in-addr.arpa', 'd.f.ip6.arpa']) {
    t.equal(shown(zone, TYPE.SOA), 'SOA');
    t.equal(shown(zone, TYPE.NS), wireName(zone).toString('hex'));
    t.equal(shown(zone, TYPE.A), 'NODATA');
    for (const type of [TYPE.A, TYPE.PTR, TYPE.SOA, TYPE.NS, TYPE.DS]) t.equal(shown(`1.${zone}`, type), 'NXDOMAIN');
  }
  t.equal(shown('_dns.resolver.arpa', TYPE.SVCB), 'NODATA');
  t.equal(shown('resolver.arpa', TYPE.A), 'NODATA');
  t.end();
});

await t.test(
  'RFC 8375 §4: DS at the cut of a zone that the public DNS delegates is of the parent, and nothing else is',
  t => {
    const ofParent = (name: string, type: number): boolean => {
      const zone = specialZoneOf(key(name));
      return zone !== undefined && isOfParent(zone, key(name), type);
    };
    for (const zone of ['home.arpa', 'service.arpa', '168.192.in-addr.arpa']) {
      t.ok(ofParent(zone, TYPE.DS));
      t.notOk(ofParent(zone, TYPE.DNSKEY));
      t.notOk(ofParent(`a.${zone}`, TYPE.DS));
    }
    for (const zone of ['test', 'localhost', 'onion', 'resolver.arpa']) t.notOk(ofParent(zone, TYPE.DS), zone);
    t.end();
  },
);
