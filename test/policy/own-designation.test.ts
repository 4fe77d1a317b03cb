// What clients are told about our own listeners: read with the code that reads what other resolvers say.

import t from 'tap';

import {
  designatedNames,
  designationRecords,
  type DesignationFacts,
  ownDesignation,
  type PrivateListener,
} from '../../src/policy/own-designation.js';
import type { CertificateFacts } from '../../src/policy/server-certificate.js';
import { compose, questionOf } from '../../src/wire/compose.js';
import { readDesignations } from '../../src/wire/designation.js';
import { nameFromText, nameToText, ROOT } from '../../src/wire/name.js';
import { TYPE } from '../../src/wire/rrtype.js';

const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
const CERTIFICATE: CertificateFacts = {
  names: ['*.example', 'dns.example'],
  addresses: ['192.168.1.1'],
  startsMs: NOW_MS - 1000,
  endsMs: NOW_MS + 1000,
};
const OWN = ['127.0.0.1', '::1', '192.168.1.1', 'fd00::1', 'fe80::1'];

const listener = (address: string, port = 853, more: Partial<PrivateListener> = {}): PrivateListener => ({
  protocol: { alpn: 'dot' },
  places: [{ address, port }],
  certificate: CERTIFICATE,
  announces: true,
  ...more,
});

const worked = (listeners: readonly PrivateListener[], plain: readonly string[] = ['192.168.1.1'], own = OWN) => {
  const facts: DesignationFacts = {
    ...{ listeners, own, nowMs: NOW_MS },
    plain: plain.map(address => ({ address, port: 53 })),
  };
  return ownDesignation(facts);
};

/** What a client reads in the answer. */
function told(listeners: readonly PrivateListener[], plain?: readonly string[], own?: readonly string[]) {
  const result = worked(listeners, plain, own === undefined ? OWN : [...own]);
  if (result?.at !== 'designated') return result?.why;
  const owner = nameFromText('_dns.resolver.arpa') ?? ROOT;
  const records = designationRecords(result.designation, owner);
  const { octets } = compose(questionOf(owner, TYPE.SVCB), records, { compress: true });
  return {
    ...{ said: readDesignations(octets)?.designations, unverified: result.designation.unverified },
    additional: records.additional.map(({ owner: name, rdata }) => `${nameToText(name)} ${[...rdata].join('.')}`),
  };
}

await t.test('a listener is told with its name, its port and its addresses', async t => {
  t.same(told([listener('192.168.1.1')]), {
    said: [{ priority: 1, name: 'dns.example', port: 853, https: undefined, addresses: ['192.168.1.1'] }],
    unverified: [],
    additional: ['dns.example. 192.168.1.1'],
  });
  t.match(told([listener('192.168.1.1', 8853)]), { said: [{ port: 8853 }] });
});

await t.test('DNS over HTTPS is told beside it, with its path', async t => {
  const https = listener('192.168.1.1', 443, { protocol: { alpn: 'h2', path: '/dns-query' } });
  t.match(told([listener('192.168.1.1'), https]), {
    said: [
      { priority: 1, port: 853, https: undefined },
      { priority: 2, port: undefined, https: { port: 443, path: '/dns-query' } },
    ],
    additional: ['dns.example. 192.168.1.1'],
  });
});

await t.test('a wildcard stands for the addresses of the machine, without loopback and link-local ones', async t => {
  const both = listener('0.0.0.0', 853, {
    places: ['0.0.0.0', '::'].map(address => ({ address, port: 853 })),
  });
  t.match(told([both], ['0.0.0.0', '::']), {
    said: [{ addresses: ['192.168.1.1', 'fd00::1'] }],
    unverified: ['fd00::1'],
  });
  const many = Array.from({ length: 20 }, (_, i) => `192.168.1.${i + 1}`);
  const answer = told([listener('0.0.0.0')], ['192.168.1.1'], many);
  t.match(answer, { said: [{ addresses: many.slice(0, 4) }] }, 'as many as clients read');
});

await t.test('loopback addresses are told to nobody, unless all ask there', async t => {
  t.match(told([listener('127.0.0.1')], ['192.168.1.1', '127.0.0.1']), /loopback/);
  t.match(told([listener('127.0.0.1', 8853)], ['127.0.0.1', '::1']), { said: [{ addresses: ['127.0.0.1'] }] });
});

await t.test('nothing is told of a listener that clients could not use, and it is said why', async t => {
  const at = '192.168.1.1';
  t.equal(told([]), undefined);
  t.equal(told([listener(at, 853, { places: [] })]), undefined);
  t.match(told([listener(at, 853, { announces: false })]), /configuration/);
  t.match(told([listener(at, 853, { certificate: undefined })]), /no certificate/);
  t.match(told([listener(at, 853, { certificate: { ...CERTIFICATE, endsMs: NOW_MS } })]), /not valid now/);
  t.match(told([listener(at, 853, { certificate: { ...CERTIFICATE, startsMs: NOW_MS + 1 } })]), /not valid now/);
  t.match(told([listener(at, 853, { certificate: { ...CERTIFICATE, names: ['*.example'] } })]), /no DNS name/);
});

await t.test('the address that clients ask must be in the certificate, or verified discovery fails', async t => {
  t.match(told([listener('192.168.1.1')], ['192.168.1.1', '192.168.2.1']), { unverified: ['192.168.2.1'] });
});

await t.test('the name itself is asked for as well', async t => {
  const result = worked([listener('192.168.1.1')]);
  t.same(result?.at === 'designated' && designatedNames(result.designation), [
    '_dns.resolver.arpa',
    '_dns.dns.example',
  ]);
});
