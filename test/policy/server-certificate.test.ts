// What the certificate of a listener says, and when it should have been renewed.

import t from 'tap';

import { announcedName, certificateFacts, coversAddress, validityOf } from '../../src/policy/server-certificate.js';
import { certificate } from '../fixtures/certificates.js';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
const lasting = (fromDays: number, toDays: number) =>
  certificateFacts(
    certificate({
      common: 'x',
      names: ['*.example', 'DNS.example', 'other.example', 'not a name'],
      ips: ['192.168.1.1', 'fd00::1'],
      notBefore: new Date(NOW_MS + fromDays * DAY_MS),
      notAfter: new Date(NOW_MS + toDays * DAY_MS),
    }).cert,
  );

await t.test('names, addresses and dates are those of the first certificate of the chain', async t => {
  const facts = lasting(-1, 89);
  t.same(facts, {
    names: ['*.example', 'dns.example', 'other.example'],
    addresses: ['192.168.1.1', 'fd00::1'],
    startsMs: NOW_MS - DAY_MS,
    endsMs: NOW_MS + 89 * DAY_MS,
  });
  t.equal(announcedName(facts), 'dns.example', 'a wildcard is no name of a server');
  t.ok(coversAddress(facts, '192.168.1.1') && coversAddress(facts, 'FD00:0::1'));
  t.notOk(coversAddress(facts, '192.168.1.2'));
  t.same(certificateFacts(certificate({ common: 'x' }).cert).names, [], 'the common name does not count');
  t.throws(() => certificateFacts('no certificate'));
});

await t.test(
  'a certificate should be renewed two weeks before its end, or in the last quarter of its time',
  async t => {
    const states = (fromDays: number, toDays: number) => validityOf(lasting(fromDays, toDays), NOW_MS);
    t.same(
      [states(-75, 15), states(-77, 13), states(-90, 0), states(1, 90)],
      ['valid', 'ends_soon', 'expired', 'early'],
    );
    t.same([states(-4, 2), states(-5, 1)], ['valid', 'ends_soon']);
  },
);
