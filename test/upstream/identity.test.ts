// Who is believed to be the server: pins with the semantics of DANE (RFC 7671), against chains that somebody forged.

import { X509Certificate } from 'node:crypto';

import fc from 'fast-check';
import t from 'tap';

import type { PinPolicy } from '../../src/base/ports.js';
import { wallMs } from '../../src/base/time.js';
import { type CertificateLink, type PeerVerdict, showChain, verifyPeer } from '../../src/upstream/identity.js';
import { authority, certificate, type CertificateOptions, type Identity } from '../fixtures/certificates.js';

const DAY_MS = 86_400_000;
const now = Date.now();
const PAST = { notBefore: new Date(now - 3 * DAY_MS), notAfter: new Date(now - DAY_MS) };
const FUTURE = { notBefore: new Date(now + DAY_MS), notAfter: new Date(now + 3 * DAY_MS) };
const ADDRESS = '192.0.2.53';
const POLICIES: readonly PinPolicy[] = ['pin_and_pkix', 'pin_or_pkix', 'pin_only', 'report_only'];
const UNKNOWN_AUTHORITY = 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY';
const OTHER_PIN = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

/** A mutable CertificateLink, to tie loops with. */
interface Linked {
  readonly raw: Buffer;
  readonly valid_to: string;
  issuerCertificate?: Linked;
}

/** The list that Node.js would make of these certificates, the server's own first. */
function listed(...certificates: readonly Identity[]): Linked {
  const all = certificates.map(({ cert }): Linked => {
    const { raw, validTo } = new X509Certificate(cert);
    return { raw, valid_to: validTo };
  });
  all.forEach((each, i) => {
    const issuer = all[i + 1];
    if (issuer !== undefined) each.issuerCertificate = issuer;
  });
  const [leaf] = all;
  if (leaf === undefined) throw new Error('a chain without certificates');
  return leaf;
}

interface Asked {
  readonly policy?: PinPolicy;
  readonly name?: string | undefined;
  readonly problem?: string | undefined;
  readonly isBehind?: boolean;
}

/** The verdict on a chain that no authority here has certified, unless `asked` says something else. */
function judge(peer: CertificateLink, pins: readonly string[], asked: Asked = {}): PeerVerdict {
  const { policy: pinPolicy = 'pin_only', problem, isBehind = false } = asked;
  const name = 'name' in asked ? asked.name : 'dns.test';
  const security = { at: 'authenticated', name, pins, pinPolicy } as const;
  const chainProblem = 'problem' in asked ? problem : UNKNOWN_AUTHORITY;
  return verifyPeer(peer, chainProblem, security, ADDRESS, { nowMs: wallMs(now), isBehind });
}

const root = authority('root');
const middle = certificate({ common: 'middle', ca: true, issuer: root });
const forServer = { common: 'server', names: ['dns.test'] } as const;
const leaf = certificate({ ...forServer, issuer: middle });

await t.test('a pin of an authority counts for what it has certified', async t => {
  for (const policy of ['pin_only', 'pin_or_pkix'] as const)
    for (const { pin } of [leaf, middle, root])
      t.match(judge(listed(leaf, middle, root), [OTHER_PIN, pin], { policy }), { at: 'accepted', authenticated: true });
  const refused = judge(listed(leaf, middle, root), [OTHER_PIN]);
  t.match(refused, { at: 'refused' });
  for (const { pin } of [leaf, middle, root])
    t.ok(refused.at === 'refused' && refused.detail.includes(`sha256/${pin}`), 'the pins that would count are named');
});

await t.test(
  'a chain that is not signed, or not for this server now, proves no pin but that of its own key',
  async t => {
    const attacker = { ...forServer, names: ['dns.test'] };
    const clientOnly = certificate({ common: 'clients', ca: true, issuer: root, usages: ['clientAuth'] });
    const noAuthority = certificate({ common: 'customer', names: ['customer.test'], issuer: middle });
    const expired = certificate({ common: 'expired', ca: true, issuer: root, ...PAST });
    const early = certificate({ common: 'early', ca: true, issuer: root, ...FUTURE });
    const narrow = certificate({ common: 'narrow', ca: true, issuer: root, onlyFor: 'example' });
    const last = certificate({ common: 'last', ca: true, issuer: root, pathLength: 0 });
    const below = certificate({ common: 'below', ca: true, issuer: last });
    const forgedMiddle = certificate({ common: 'forged', ca: true, issuer: root, signer: authority('attacker') });
    const self = certificate(attacker);
    const forged = certificate({ ...attacker, issuer: middle, signer: self, keyOf: self });
    const chains: readonly (readonly [string, readonly Identity[], pinned: Identity, why: RegExp])[] = [
      ['claims the issuer by name and key id', [forged, middle, root], middle, /the key of CN=middle did not sign/],
      ['... and its root', [forged, middle, root], root, /the key of CN=middle did not sign/],
      ['a stranger, sent along', [self, middle], middle, /did not sign/],
      [
        'a forged intermediate',
        [certificate({ ...attacker, issuer: forgedMiddle }), forgedMiddle, root],
        root,
        /the key of CN=root did not sign the certificate of CN=forged/,
      ],
      [
        'a customer of the authority as issuer',
        [certificate({ ...attacker, issuer: noAuthority }), noAuthority, middle],
        middle,
        /customer\.test (is not that of an authority|did not sign)/,
      ],
      [
        'an expired intermediate',
        [certificate({ ...attacker, issuer: expired }), expired, root],
        expired,
        /CN=expired has expired/,
      ],
      ['... and above it', [certificate({ ...attacker, issuer: expired }), expired, root], root, /has expired/],
      ['one that is not valid yet', [certificate({ ...attacker, issuer: early }), early], early, /not valid yet/],
      [
        'an expired leaf',
        [certificate({ ...attacker, ...PAST, issuer: middle }), middle],
        middle,
        /dns\.test has expired/,
      ],
      ['an early leaf', [certificate({ ...attacker, ...FUTURE, issuer: middle }), middle], middle, /not valid yet/],
      [
        'a leaf for clients',
        [certificate({ ...attacker, issuer: middle, usages: ['clientAuth'] }), middle],
        middle,
        /not for TLS servers/,
      ],
      [
        'an authority for clients',
        [certificate({ ...attacker, issuer: clientOnly }), clientOnly, root],
        root,
        /CN=clients is not for TLS servers/,
      ],
      [
        'another name',
        [certificate({ common: 'x', names: ['other.test'], issuer: middle }), middle],
        middle,
        /is for other\.test, not for dns\.test/,
      ],
      [
        'too many authorities',
        [certificate({ ...attacker, issuer: below }), below, last],
        last,
        /CN=last does not allow that many/,
      ],
      ['name constraints', [certificate({ ...attacker, issuer: narrow }), narrow], narrow, /name constraints/],
    ];
    for (const [what, chain, pinned, why] of chains) {
      const peer = listed(...chain);
      for (const policy of POLICIES) {
        // The worst case for the two policies that need an authority: one has certified the server, too.
        const verdict = judge(peer, [pinned.pin], {
          policy,
          problem: policy === 'pin_and_pkix' || policy === 'report_only' ? undefined : UNKNOWN_AUTHORITY,
        });
        if (what === 'name constraints' && policy !== 'pin_only' && policy !== 'pin_or_pkix') continue;
        if (what === 'too many authorities' && policy !== 'pin_only' && policy !== 'pin_or_pkix') continue;
        const words = verdict.at === 'refused' ? verdict.detail : (verdict.warning ?? '');
        t.equal(verdict.at === 'accepted' && verdict.warning === undefined, false, `${what}, ${policy}`);
        t.match(words, why, `${what}, ${policy}: the cause is said`);
        const [, listedPins = ''] = /the server shows ([^;]*)/.exec(words) ?? [];
        t.notOk(listedPins.includes(pinned.pin), `${what}, ${policy}: the pin is not recommended`);
      }
      const own = chain[0]?.pin ?? '';
      for (const policy of ['pin_only', 'pin_or_pkix'] as const)
        t.match(judge(peer, [own], { policy }), { at: 'accepted' }, `${what}, ${policy}: its own key is pinned`);
    }
  },
);

await t.test('usages, path lengths and cross-signatures that are in order', async t => {
  const other = authority('other root');
  const cross = certificate({ common: 'middle', ca: true, issuer: other, keyOf: middle });
  t.match(judge(listed(leaf, cross, other), [other.pin]), { at: 'accepted' }, 'cross-signed: the other root');
  t.match(judge(listed(leaf, cross, root), [root.pin]), { at: 'refused' }, 'which is not this one');
  t.match(judge(listed(leaf, cross), [middle.pin]), { at: 'accepted' }, 'the key is the same');
  const limited = certificate({ common: 'limited', ca: true, issuer: root, pathLength: 0, usages: ['serverAuth'] });
  const server = certificate({ ...forServer, issuer: limited, usages: ['serverAuth', 'clientAuth'] });
  t.match(judge(listed(server, limited, root), [root.pin]), { at: 'accepted' });
  const self = certificate(forServer);
  t.match(judge(listed(self), [self.pin], { name: 'else.test' }), { at: 'accepted' }, 'self-signed, with a pin');
  const late = certificate({ ...forServer, ...PAST });
  t.match(judge(listed(late), [late.pin]), { at: 'accepted' }, 'RFC 7671 §5.1: dates do not count for its own key');
});

await t.test('without a name, a pinned authority must have certified the address', async t => {
  t.match(judge(listed(leaf, middle), [middle.pin], { name: undefined }), {
    at: 'refused',
    detail: /is for dns\.test, not for 192\.0\.2\.53/,
  });
  const byAddress = certificate({ common: 'x', ips: [ADDRESS], issuer: middle });
  t.match(judge(listed(byAddress, middle), [middle.pin], { name: undefined }), { at: 'accepted' });
  t.match(judge(listed(leaf, middle), [leaf.pin], { name: undefined }), { at: 'accepted' }, 'its own key needs none');
});

await t.test('a zone says which link an address is on, and no certificate knows it', async t => {
  const router = certificate({ common: 'router', ips: ['fe80::1'] });
  const proved = (name: string | undefined, address: string, designatedBy?: string): boolean => {
    const security =
      designatedBy === undefined
        ? ({ at: 'encrypted', name } as const)
        : ({
            at: 'authenticated',
            name,
            pins: [],
            pinPolicy: 'pin_and_pkix',
            designatedBy: { address: designatedBy, name: 'dns.test' },
          } as const);
    const verdict = verifyPeer(listed(router), undefined, security, address, { nowMs: wallMs(now), isBehind: false });
    return verdict.at === 'accepted' && verdict.authenticated;
  };
  t.equal(proved(undefined, 'fe80::1%eth0'), true);
  t.equal(proved(undefined, 'fe80::1%wg_home'), true);
  t.equal(proved(undefined, 'fe80::2%eth0'), false);
  t.equal(proved(undefined, 'fe80::9%eth0', 'fe80::1%eth0'), true);
  t.equal(proved(undefined, 'fe80::1%eth0', 'fe80::2%eth0'), false);
});

await t.test('a clock that is known to be wrong helps the pin of the own key alone', async t => {
  const early = certificate({ ...forServer, ...FUTURE, issuer: middle });
  const asked: Asked = { policy: 'pin_and_pkix', problem: 'CERT_NOT_YET_VALID', isBehind: true };
  t.match(judge(listed(early, middle), [early.pin], asked), { at: 'accepted', warning: /a pin matches/ });
  for (const policy of POLICIES)
    t.match(judge(listed(early, middle), [middle.pin], { ...asked, policy }), { at: 'refused' }, policy);
});

await t.test('chains without an end, and very long ones, are looked at for a bounded length', async t => {
  const a = certificate({ common: 'a', ca: true, issuer: root });
  const b = certificate({ common: 'b', ca: true, issuer: a });
  const loop = listed(leaf, a, b);
  if (loop.issuerCertificate?.issuerCertificate !== undefined)
    loop.issuerCertificate.issuerCertificate.issuerCertificate = loop.issuerCertificate;
  t.match(judge(loop, [OTHER_PIN]), { at: 'refused' });
  const long: Identity[] = [authority('top')];
  for (let i = 0; i < 200; i++)
    long.unshift(certificate({ common: `${i}`, ca: true, ...(long[0] && { issuer: long[0] }) }));
  const server = certificate({ ...forServer, ...(long[0] && { issuer: long[0] }) });
  const chain = listed(server, ...long);
  t.match(judge(chain, [long[8]?.pin ?? '']), { at: 'accepted' }, 'the tenth certificate');
  t.match(judge(chain, [long[9]?.pin ?? '']), { at: 'refused' }, 'and no more');
});

/** What is wrong with one link of a chain. */
const FAULTS = ['none', 'unsigned', 'expired', 'early', 'notAuthority', 'otherUsage'] as const;
type Fault = (typeof FAULTS)[number];
const MADE_WITH: Record<Fault, Partial<CertificateOptions>> = {
  none: {},
  unsigned: { signer: authority('nobody') },
  expired: PAST,
  early: FUTURE,
  notAuthority: { ca: false },
  otherUsage: { usages: ['clientAuth'] },
};

await t.test('property: a pin of link n counts if no link up to it is at fault', async t => {
  const chains = fc.array(fc.constantFrom<Fault>('none', 'none', ...FAULTS), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(chains, fc.nat(4), fc.boolean(), fc.constantFrom(...POLICIES), (faults, at, isNamed, policy) => {
      const made: Identity[] = [];
      // The last link is the top. It is self-signed, so its signature is nobody's business.
      for (let i = faults.length - 1; i >= 0; i--) {
        const [issuer] = made;
        made.unshift(
          certificate({
            common: `link ${i}`,
            ca: i > 0,
            ...(i === 0 ? { names: [isNamed ? 'dns.test' : 'other.test'] } : {}),
            ...MADE_WITH[faults[i] ?? 'none'],
            ...(issuer === undefined ? {} : { issuer }),
          }),
        );
      }
      const n = at % faults.length;
      // An unsigned link breaks what is above it; the other faults break the link itself, too.
      const upTo = faults.slice(0, n + 1);
      const signed = !upTo.slice(0, n).includes('unsigned');
      const sound = upTo.every(
        (each, i) => each === 'none' || each === 'unsigned' || (each === 'notAuthority' && i === 0),
      );
      const counts = n === 0 || (signed && sound && isNamed);
      const trusted = policy === 'pin_and_pkix' || policy === 'report_only';
      const verdict = judge(listed(...made), [made[n]?.pin ?? ''], {
        policy,
        problem: trusted ? undefined : UNKNOWN_AUTHORITY,
      });
      const let_in = verdict.at === 'accepted' && verdict.warning === undefined;
      return let_in === (counts && (!trusted || isNamed));
    }),
    { numRuns: 500 },
  );
  t.pass();
});

await t.test('what `dotstub pins` shows says what nobody has signed', async t => {
  const self = certificate(forServer);
  const forged = certificate({ ...forServer, issuer: middle, signer: self, keyOf: self });
  const show = (...chain: readonly Identity[]) => showChain(listed(...chain), 'dns.test', '', wallMs(now), false);
  t.match(show(leaf, middle, root), [
    { issuer: 'CN=middle', issuerProved: true, pin: leaf.pin, problem: undefined },
    { issuer: 'CN=root', issuerProved: true, pin: middle.pin, problem: undefined },
    { issuer: 'CN=root', issuerProved: true, pin: root.pin, problem: undefined },
  ]);
  t.match(show(forged, middle), [
    { issuer: 'CN=middle', issuerProved: false, pin: forged.pin, problem: undefined },
    { issuer: 'CN=root', issuerProved: false, pin: middle.pin, problem: /did not sign/ },
  ]);
  t.match(show(certificate({ common: 'bad\n\u001b[2Jname', issuer: middle })), [{ subject: 'CN=bad\\0A\\1B[2Jname' }]);
});
