// RFC 7671 by section. The vectors of the first test were made with openssl, everything else with the fixtures' own CA.

import { createHash, X509Certificate } from 'node:crypto';

import fc from 'fast-check';
import t from 'tap';

import { wallMs } from '../../src/base/time.js';
import { type DanePeer, judgeByTlsa, spkiOf, usableRecords } from '../../src/upstream/dane.js';
import { readTlsaText, type Tlsa } from '../../src/wire/tlsa.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';

const OPENSSL = {
  der: Buffer.from(
    'MIIBkDCCATagAwIBAgIUV39MrRUoEZym4tvuApdZyDco/64wCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIZG5zLnRlc3QwHhcNMjYxMTI4MjMwNjEyWhcNMzYxMTI1MjMwNjEyWjATMREwDwYDVQQDDAhkbnMudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJbpQP9Auzh17nlYkzgmsAhPP23dk9IyEydeGPCwafvFABkXUuH7rn3mWeibqKxe8ZT6jSKeUzQhyNsekup/fQCjaDBmMB0GA1UdDgQWBBSBwHQZfoRrOFUEUF/iRgbzKXaZHzAfBgNVHSMEGDAWgBSBwHQZfoRrOFUEUF/iRgbzKXaZHzAPBgNVHRMBAf8EBTADAQH/MBMGA1UdEQQMMAqCCGRucy50ZXN0MAoGCCqGSM49BAMCA0gAMEUCIHlKJJOZviv5GOQsE/CqwLkBlJcaIzOuuFY+m+YCv16OAiEA1vfqwq/8bq1Auie3oReNtyZWN8mzIMWsUMPB6gmbmNI=',
    'base64',
  ),
  digests: [
    '0 1 1b83f25c9913111ce7eb6c2b8e4744a55d41eb9a37f9a11f650f8c2dee5e3370',
    '0 2 632ff4a43ace7fe92f70defa7b56f20b2068bd3f799c327d2649292ae24a5331f2342ef32f5704930c9ac52dd036a4c9c17471f5b1c656fbde3690b76e884b22',
    '1 1 b522c16c50a2e2eff645ec5846bd4c403a1ac5e7d55d9023b2d3214ba8635970',
    '1 2 27c49f83bb8faca749bde090656d3b1b25e103340a06805ffbe4b9ce0932ecf137da28826cf09f7a868e1e1a80ffc1a83fd72897edc6f5d59cb0d1c618058760',
  ],
};

const NOW = wallMs(Date.now());
const YEAR_MS = 365 * 86_400_000;
const derOf = ({ cert }: Identity): Buffer => new X509Certificate(cert).raw;
const spki = (of: Identity): Buffer => new X509Certificate(of.cert).publicKey.export({ type: 'spki', format: 'der' });

/** A record about a certificate, from its three numbers. */
function record(numbers: string, of: Identity): Tlsa {
  const [usage = 0, selector = 0, matching = 0] = numbers.split(' ').map(Number);
  const part = selector === 0 ? derOf(of) : spki(of);
  const data =
    matching === 0
      ? part
      : createHash(matching === 1 ? 'sha256' : 'sha512')
          .update(part)
          .digest();
  return { usage, selector, matching, data };
}

const text = (line: string): Tlsa => {
  const read = readTlsaText(line);
  if (read === undefined) throw new Error(`not a record: ${line}`);
  return read;
};

interface Judging {
  readonly pkixProblem?: string;
  readonly names?: readonly string[];
  readonly now?: number;
}

/** The verdict in a word, or the detail of a refusal. */
function judged(chain: readonly Identity[], records: readonly Tlsa[], more: Judging = {}): string {
  const { pkixProblem = 'SELF_SIGNED_CERT_IN_CHAIN', names = ['dns.test'], now = NOW } = more;
  const peer: DanePeer = { chain: chain.map(derOf), pkixProblem: pkixProblem === '' ? undefined : pkixProblem };
  const verdict = judgeByTlsa(peer, { owner: '_853._tcp.dns.test.', names, records }, wallMs(now));
  return verdict.at === 'proved' ? 'proved' : verdict.detail;
}

const root = authority('root');
const middle = certificate({ common: 'middle', ca: true, issuer: root });
const leaf = certificate({ common: 'dns.test', names: ['dns.test'], issuer: middle });
const other = certificate({ common: 'other', names: ['dns.test'] });
const PATH = [leaf, middle, root];

await t.test('digests are those that openssl computes, of the certificate and of its key', t => {
  for (const each of OPENSSL.digests) {
    const peer: DanePeer = { chain: [OPENSSL.der], pkixProblem: 'DEPTH_ZERO_SELF_SIGNED_CERT' };
    const set = { owner: '_853._tcp.dns.test.', names: [], records: [text(`3 ${each}`)] };
    t.equal(judgeByTlsa(peer, set, NOW).at, 'proved', each);
  }
  t.end();
});

await t.test('the key is cut out of the certificate as OpenSSL reads it, and hostile DER is refused', t => {
  for (const each of [leaf, root]) t.same(spkiOf(derOf(each)), spki(each));
  const der = derOf(leaf);
  for (let length = 0; length < der.length; length++) spkiOf(der.subarray(0, length));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(der.length - 1), (octets, at) => {
      spkiOf(Buffer.from(octets));
      const changed = Buffer.from(der);
      changed.set(octets.subarray(0, der.length - at), at);
      const key = spkiOf(changed);
      const verdict = judgeByTlsa(
        { chain: [changed, Buffer.from(octets)], pkixProblem: undefined },
        { owner: '', names: ['dns.test'], records: [record('2 1 0', root), record('3 1 1', other)] },
        NOW,
      );
      return (key === undefined || key.length < der.length) && verdict.at === 'refused';
    }),
  );
  t.end();
});

await t.test('DANE-EE: the key alone counts; neither names nor dates do (RFC 7671 §5.1)', t => {
  const expired = certificate({ common: 'x', names: ['elsewhere.test'], notAfter: new Date(NOW - YEAR_MS) });
  for (const numbers of ['3 0 0', '3 0 1', '3 0 2', '3 1 0', '3 1 1', '3 1 2'])
    t.equal(judged([expired], [record(numbers, expired)]), 'proved', numbers);
  t.match(judged([leaf], [record('3 1 1', other)]), /no TLSA record of _853\._tcp\.dns\.test\. matches/);
  t.match(judged(PATH, [record('3 1 1', middle)]), /no TLSA record/, 'an issuer is not the server');
  t.match(judged([], [record('3 1 1', leaf)]), /shows no certificate/);
  t.end();
});

await t.test('a mismatch names the record to publish for the key that was shown', t => {
  t.match(judged([leaf], [record('3 1 1', other)]), createHash('sha256').update(spki(leaf)).digest('hex'));
  t.end();
});

await t.test('DANE-TA: an issuer that was sent, with a verified chain up to it (RFC 7671 §5.2)', t => {
  for (const of of [middle, root])
    for (const numbers of ['2 0 0', '2 0 1', '2 0 2', '2 1 0', '2 1 1', '2 1 2'])
      t.equal(judged(PATH, [record(numbers, of)]), 'proved', `${numbers} ${of.common}`);
  t.match(judged([leaf], [record('2 1 1', middle)]), /no TLSA record/, 'a digest of an issuer that was not sent');
  t.match(judged([other], [record('2 1 1', other)]), /no TLSA record/, 'a self-signed certificate is no issuer');
  t.end();
});

await t.test('DANE-TA: an issuer that stands whole in the record need not be sent', t => {
  t.equal(judged([leaf], [record('2 0 0', middle)]), 'proved');
  t.equal(judged([leaf], [record('2 1 0', middle)]), 'proved');
  t.equal(judged([leaf, middle], [record('2 1 0', root)]), 'proved');
  t.match(judged([leaf], [record('2 1 0', root)]), /no TLSA record/, 'the link between is missing');
  t.match(judged([leaf], [record('2 0 0', other)]), /no TLSA record/);
  t.end();
});

await t.test('DANE-TA: a chain that only claims its issuers proves nothing', t => {
  const attacker = authority('middle');
  const forged = certificate({ common: 'dns.test', names: ['dns.test'], issuer: attacker });
  t.match(judged([forged, middle, root], [record('2 1 1', middle)]), /not signed by the next one/);
  t.match(judged([forged, middle, root], [record('2 1 1', root)]), /not signed by the next one/);
  t.match(judged([forged, attacker, root], [record('2 1 1', root)]), /not signed by the next one/);
  t.match(judged([forged], [record('2 1 0', middle)]), /no TLSA record/);
  t.end();
});

await t.test('DANE-TA: only authorities issue, for names that they may issue for', t => {
  const noAuthority = certificate({ common: 'no authority', issuer: root });
  const below = certificate({ common: 'dns.test', names: ['dns.test'], issuer: noAuthority });
  t.match(judged([below, noAuthority, root], [record('2 1 1', root)]), /is no authority|not signed/);
  const limited = certificate({ common: 'limited', ca: true, issuer: root, onlyFor: 'other.test' });
  const outside = certificate({ common: 'dns.test', names: ['dns.test'], issuer: limited });
  t.match(judged([outside, limited, root], [record('2 1 1', root)]), /name constraints/);
  t.end();
});

await t.test('DANE-TA: what an authority may not do counts, whether it was sent or is in the record', t => {
  const chain = (options: Partial<Parameters<typeof certificate>[0]>): Identity[] => {
    const top = certificate({ common: 'top', ca: true, ...options });
    const below = certificate({ common: 'below', ca: true, issuer: top });
    return [certificate({ common: 'dns.test', names: ['dns.test'], issuer: below }), below, top];
  };
  for (const [options, words] of [
    [{ pathLength: 0 }, /does not allow that many authorities/],
    [{ usages: ['clientAuth'] }, /authorities is not for TLS servers/],
    [{ pathLength: 1, usages: ['serverAuth'] }, /^proved$/],
  ] as const) {
    const [own, below, top] = chain(options);
    if (own === undefined || below === undefined || top === undefined) throw new Error('no chain');
    t.match(judged([own, below, top], [record('2 1 1', top)]), words);
    t.match(judged([own, below, top], [record('2 0 0', top)]), words);
    t.match(judged([own, below], [record('2 0 0', top)]), words, 'not sent');
    t.match(judged([own, below, top], [record('0 1 1', top)], { pkixProblem: '' }), words);
  }
  const narrow = certificate({ common: 'narrow', ca: true, issuer: root, usages: ['clientAuth'] });
  const issued = certificate({ common: 'dns.test', names: ['dns.test'], issuer: narrow });
  t.match(judged([issued, narrow, root], [record('2 1 1', root)]), /authorities is not for TLS servers/);
  t.end();
});

await t.test('DANE-TA: name, purpose and all dates count', t => {
  const elsewhere = certificate({ common: 'dns.test', names: ['elsewhere.test'], issuer: middle });
  t.match(
    judged([elsewhere, middle], [record('2 1 1', middle)]),
    /matches, but .*for elsewhere\.test, not for dns\.test/,
  );
  t.equal(judged([elsewhere, middle], [record('2 1 1', middle)], { names: ['dns.test', 'elsewhere.test'] }), 'proved');
  const client = certificate({ common: 'dns.test', names: ['dns.test'], issuer: middle, usages: ['clientAuth'] });
  t.match(judged([client, middle], [record('2 1 1', middle)]), /not for a TLS server/);
  t.match(judged(PATH, [record('2 1 1', root)], { now: NOW + YEAR_MS }), /has expired/);
  t.match(judged(PATH, [record('2 1 1', root)], { now: NOW - YEAR_MS }), /not valid yet/);
  const old = certificate({ common: 'old', ca: true, issuer: root, notAfter: new Date(NOW - 1000) });
  const young = certificate({ common: 'dns.test', names: ['dns.test'], issuer: old });
  t.match(judged([young, old], [record('2 1 1', old)]), /has expired/);
  t.match(judged([young], [record('2 0 0', old)]), /has expired/);
  t.equal(judged([young], [record('2 1 0', old)]), 'proved', 'a bare key has no dates');
  t.end();
});

await t.test('PKIX-TA and PKIX-EE: a trusted authority and the name count, too', t => {
  const trusted: Judging = { pkixProblem: '' };
  t.equal(judged(PATH, [record('1 1 1', leaf)], trusted), 'proved');
  t.equal(judged(PATH, [record('0 1 1', middle)], trusted), 'proved');
  t.match(judged(PATH, [record('1 1 1', leaf)]), /matches, but .*upstream\.ca_file/);
  t.match(judged(PATH, [record('0 1 1', middle)]), /matches, but .*upstream\.ca_file/);
  t.match(judged(PATH, [record('1 1 1', leaf)], { ...trusted, names: ['else.test'] }), /not for else\.test/);
  t.match(judged(PATH, [record('0 1 1', leaf)], trusted), /no TLSA record/, 'PKIX-TA is about issuers');
  t.match(judged(PATH, [record('1 1 1', middle)], trusted), /no TLSA record/, 'PKIX-EE is about the server');
  const forged = certificate({ common: 'dns.test', names: ['dns.test'], issuer: authority('middle') });
  t.match(judged([forged, middle], [record('0 1 1', middle)], trusted), /not signed by the next one/);
  t.end();
});

await t.test('one of several records is enough, as in a roll of the key', t => {
  t.equal(judged([leaf], [record('3 1 1', other), record('3 1 1', leaf)]), 'proved');
  t.end();
});

await t.test('digest agility: a weaker digest does not count beside a stronger one (RFC 7671 §9)', t => {
  const weak = record('3 1 1', leaf);
  t.match(judged([leaf], [weak, record('3 1 2', other)]), /no TLSA record/);
  t.equal(judged([leaf], [weak, record('3 0 2', other)]), 'proved', 'another selector');
  t.equal(judged([leaf], [weak, record('2 1 2', other)]), 'proved', 'another usage');
  t.equal(judged([leaf], [record('3 1 0', leaf), record('3 1 2', other)]), 'proved', 'the key itself is no digest');
  t.equal(judged([leaf], [weak, { ...record('3 1 2', other), data: Buffer.alloc(63) }]), 'proved', 'unusable');
  t.end();
});

await t.test('records that mean nothing are ignored, and a set of nothing else is a refusal (RFC 7671 §4.1)', t => {
  const useless = [
    text('255 1 1 aa'),
    text('4 1 1 aa'),
    { ...record('3 1 1', leaf), usage: 4 },
    { ...record('3 1 1', leaf), selector: 2 },
    { ...record('3 1 1', leaf), matching: 3 },
    text('3 1 1 aa'),
    text(`3 1 2 ${'aa'.repeat(32)}`),
    text('3 0 0 aabb'),
    text('2 1 0 aabb'),
  ];
  t.same(usableRecords(useless), []);
  t.equal(judged([leaf], useless), 'none of the 9 TLSA records of _853._tcp.dns.test. can be used here');
  t.equal(judged([leaf], [...useless, record('3 1 1', leaf)]), 'proved');
  t.end();
});

await t.test('records and certificates beyond the bounds do not count', t => {
  const many = Array.from({ length: 32 }, () => record('3 1 1', other));
  t.match(judged([leaf], [...many, record('3 1 1', leaf)]), /no TLSA record/);
  const long = [leaf, ...Array.from({ length: 9 }, () => other), middle];
  t.match(judged(long, [record('2 1 1', middle)]), /no TLSA record/);
  t.end();
});

await t.test('what cannot be read in a chain is an end of the chain, not an exception', t => {
  const peer: DanePeer = { chain: [derOf(leaf), Buffer.from('30', 'hex'), derOf(middle)], pkixProblem: undefined };
  const set = (each: Tlsa) => ({ owner: 'x', names: ['dns.test'], records: [each] });
  t.equal(judgeByTlsa(peer, set(record('3 1 1', leaf)), NOW).at, 'proved');
  t.equal(judgeByTlsa(peer, set(record('2 1 1', middle)), NOW).at, 'refused');
  t.end();
});
