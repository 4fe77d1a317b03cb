// Compares verdicts with Unbound's, question by question, for zones signed and broken in many ways (signed-world.ts). NSD serves the
// zones. An Unbound without validation resolves in them, and both validators forward to it over TLS. Debian packages: unbound nsd
// bind9-utils ldnsutils.

import t from 'tap';

import { FLAG } from '../../src/wire/header.js';
import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, missing } from '../fixtures/servers.js';
import {
  delv,
  QUESTIONS,
  recursor,
  serveWorld,
  signWorld,
  under,
  validatingKnot,
  validatingUnbound,
  WORLD_PROGRAMS,
  ZONES,
} from '../fixtures/signed-world.js';

/** The program as a validating forwarder. */
async function validator(
  on: Bench,
  upstream: At,
  anchors: readonly string[],
  dnssec = '',
): Promise<At & { log(): string }> {
  const port = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
log: { level: debug, format: text }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}]${dnssec} }
`);
  on.onEnd(async () => void (await program.stop()));
  return { address: '127.0.0.1', port, log: program.log };
}

interface Verdict {
  readonly status: string;
  /** The answer section without signatures, for comparison. */
  readonly data: string;
  readonly why: string;
}

async function verdict(at: At, name: string, type: string): Promise<Verdict> {
  const { text } = await ask(at, name, { type, dnssec: true });
  return {
    status: `${text.rcode}${text.flags.includes('ad') ? ' secure' : ''}`,
    data: text.answers
      .filter(each => each.type !== 'RRSIG')
      .map(each => `${each.name.toLowerCase()} ${each.type} ${each.data.toLowerCase()}`)
      .sort()
      .join('\n'),
    why: text.extendedErrors.map(({ infoCode, text: words }) => `${infoCode} ${words}`).join('; '),
  };
}

/** Questions, and the Extended DNS Error that each must get. */
const EXTENDED_ERRORS: readonly (readonly [name: string, type: string, rcode: string, code: number, words: RegExp])[] =
  [
    [
      'www.expired.nsec.',
      'A',
      'SERVFAIL',
      7,
      /expired\.nsec\. DNSKEY: its signature by key \d+ \(ECDSAP256SHA256\) of expired\.nsec\. expired 2024-02-01/,
    ],
    ['www.early.nsec.', 'A', 'SERVFAIL', 8, /not valid before 2040-01-01/],
    ['www.no-dnskey.nsec.', 'A', 'SERVFAIL', 9, /no-dnskey\.nsec\. has a DS, but no DNSKEY/],
    ['www.ds-tag-wrong.nsec.', 'A', 'SERVFAIL', 9, /has no key 1, which its DS speaks of/],
    ['www.www-other-tag.nsec.', 'A', 'SERVFAIL', 9, /key 1 .* has no such key/],
    ['www.no-rrsigs.nsec.', 'A', 'SERVFAIL', 10, /no-rrsigs\.nsec\./],
    ['www.www-unsigned.nsec.', 'A', 'SERVFAIL', 10, /www\.www-unsigned\.nsec\. A has no signature of its zone/],
    ['nobody.no-nsec.nsec.', 'A', 'SERVFAIL', 12, /nobody\.no-nsec\.nsec\..* is not proven/],
    ['nobody.no-nsec3.nsec3.', 'A', 'SERVFAIL', 12, /not proven/],
    ['www.www-spoiled.nsec.', 'A', 'SERVFAIL', 6, /is wrong/],
    ['www.www-changed.nsec.', 'A', 'SERVFAIL', 6, /is wrong/],
    ['www.ds-algorithm-unknown.nsec.', 'A', 'NOERROR', 1, /signed with algorithm 200 only/],
    ['www.ds-digest-unknown.nsec.', 'A', 'NOERROR', 2, /digest type 99 only/],
    ['nobody.iter150.nsec3.', 'A', 'NXDOMAIN', 27, /asks for 150 NSEC3 iterations, more than 50/],
  ];

/** Questions for which Unbound 1.17 has another verdict, and why ours stands. */
const UNBOUND_DIFFERS: readonly RegExp[] = [
  // RFC 6672 §5.3.1: the CNAME that a DNAME makes is proven by the DNAME, also where the CNAME itself is asked for.
  /^www\.dname\.\S* CNAME: NOERROR secure \(\), Unbound (SERVFAIL|NOERROR)$/,
  // RFC 4035 §5.2: below a proven unsigned delegation an answer is insecure. Unbound holds the denial that proves the
  // wildcard alias against the target.
  /^x\.to-edges3?\.\S* (AAAA|HTTPS): NOERROR \(\), Unbound SERVFAIL$/,
  // RFC 6840 §5.4: any good signature is enough. Unbound refuses sets whose signatures differ in labels.
  /\.www-also-labels\.nsec\. A: NOERROR secure \(\), Unbound SERVFAIL$/,
];

/**
 * Names for which Knot Resolver 5.6 has another verdict. It takes every label for a zone cut until a denial shows otherwise, and fails
 * if the denials of the zone are broken. The answers themselves are signed and secure (RFC 4035 §5.3).
 */
const KNOT_DIFFERS: readonly RegExp[] = [
  /\.(nsec-unsigned|nsec-spoiled|no-nsec|nsec3-spoiled|no-nsec3|soa-spoiled)\.nsec3?\. \w+: \w+ secure \(.*Knot Resolver SERVFAIL$/,
  // The same, where the alias leads to an unsigned zone.
  /\.(nsec-spoiled|nsec3-spoiled)\.nsec3?\. \w+: NOERROR \(\), Knot Resolver SERVFAIL$/,
  // It refuses a good signature if there is another one by somebody else (RFC 6840 §5.4).
  /-also-(signer|spoiled|labels|tag)\.nsec3?\. \w+: \w+ (secure )?\(\), Knot Resolver SERVFAIL$/,
  /^www\.dname\.\S* CNAME: NOERROR secure/,
];

const AT_ONCE = 8;

/** Runs a few tasks at a time. */
async function eachOf<T>(all: readonly T[], then: (each: T) => Promise<void>): Promise<void> {
  const left = [...all].reverse();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let each = left.pop(); each !== undefined; each = left.pop()) await then(each);
    }),
  );
}

await t.test(
  'verdicts are those of Unbound for zones signed and broken in many ways',
  { skip: missing(...WORLD_PROGRAMS), timeout: 600_000 },
  async t => {
    const on = bench(t);
    const anchors = await signWorld(on.path);
    const upstream = await recursor(on, await serveWorld(on, on.path));
    const behindPlain: At = { address: upstream.address, port: upstream.plainPort };
    const theirs = await validatingUnbound(
      on,
      upstream,
      anchors,
      '  val-nsec3-keysize-iterations: "1024 50 2048 50 4096 50"',
    );
    const ours = await validator(on, upstream, anchors, ', sha1: validate');
    const questions = ZONES.flatMap(({ name: zone }) =>
      QUESTIONS.flatMap(([label, types]) => types.split(' ').map(type => ({ name: under(label, zone), type }))),
    );
    const counts = new Map<string, number>();
    const differences: string[] = [];
    await eachOf(questions, async ({ name, type }) => {
      const [mine, its] = await Promise.all([verdict(ours, name, type), verdict(theirs, name, type)]);
      counts.set(its.status, (counts.get(its.status) ?? 0) + 1);
      if (mine.status !== its.status || (mine.data !== its.data && its.status !== 'SERVFAIL')) {
        differences.push(
          `${name} ${type}: ${mine.status} (${mine.why}), Unbound ${its.status}${mine.status === its.status ? `\n${mine.data}\n--\n${its.data}` : ''}`,
        );
      }
    });
    t.comment(
      `${ZONES.length} zones, ${questions.length} questions: ${[...counts].map(([status, count]) => `${count} ${status}`).join(', ')}`,
    );
    t.same(
      differences.filter(each => !UNBOUND_DIFFERS.some(known => known.test(each))),
      [],
    );

    await t.test('RFC 8914: a bogus answer has the right INFO-CODE and names the place', async t => {
      for (const [name, type, rcode, code, words] of EXTENDED_ERRORS) {
        const { text } = await ask(ours, name, { type, dnssec: true });
        t.equal(text.rcode, rcode, `${name} ${type}`);
        t.equal(text.extendedErrors[0]?.infoCode, code, `${name} ${type}: ${text.extendedErrors[0]?.text ?? ''}`);
        t.match(text.extendedErrors[0]?.text ?? '', words);
      }
    });

    await t.test('zones signed with SHA-1 count as unsigned by default (RFC 9905)', async t => {
      const plain = await validator(on, upstream, anchors);
      for (const [name, code] of [
        ['www.rsasha1.nsec.', 1],
        ['www.nsec3rsasha1.nsec.', 1],
        ['www.ds-sha1.nsec.', 2],
      ] as const) {
        const { text } = await ask(plain, name, { dnssec: true });
        t.match(text, { rcode: 'NOERROR', extendedErrors: [{ infoCode: code }] }, name);
        t.notOk(text.flags.includes('ad'));
      }
      t.ok(
        (await ask(plain, 'www.ds-both.nsec.', { dnssec: true })).text.flags.includes('ad'),
        'a SHA-1 digest next to a better one does no harm',
      );
    });

    await t.test('AD, DO and CD towards clients (RFC 6840 §5.7 to §5.9)', async t => {
      const flags = async (name: string, options: Parameters<typeof ask>[2]): Promise<string> => {
        const { text } = await ask(ours, name, options);
        return `${text.rcode} ${text.flags.includes('ad') ? 'AD ' : ''}${text.flags.includes('cd') ? 'CD ' : ''}${text.answers.some(each => each.type === 'RRSIG') ? 'signed' : 'bare'}`;
      };
      t.equal(await flags('www.ed25519.nsec.', {}), 'NOERROR bare');
      t.equal(await flags('www.ed25519.nsec.', { flags: FLAG.RD | FLAG.AD }), 'NOERROR AD bare');
      t.equal(await flags('www.ed25519.nsec.', { dnssec: true }), 'NOERROR AD signed');
      t.equal(await flags('www.ed25519.nsec.', { flags: FLAG.RD | FLAG.AD, edns: false }), 'NOERROR AD bare');
      t.equal(await flags('www.ed25519.nsec.', { flags: FLAG.RD | FLAG.CD, dnssec: true }), 'NOERROR CD signed');
      t.equal(await flags('www.ed25519.nsec.', { flags: FLAG.RD | FLAG.CD | FLAG.AD }), 'NOERROR CD bare');
      t.equal(await flags('www.expired.nsec.', { dnssec: true }), 'SERVFAIL bare');
      t.equal(
        await flags('www.expired.nsec.', { flags: FLAG.RD | FLAG.CD, dnssec: true }),
        'NOERROR CD signed',
        'a client that validates itself (CD) gets the answer',
      );
      t.equal(await flags('www.expired.nsec.', {}), 'SERVFAIL bare', 'other clients do not, not even from cache');
      t.equal(await flags('www.unsigned.nsec.', { dnssec: true }), 'NOERROR bare');
      t.equal(await flags('www.nsec.', { dnssec: true, type: 'RRSIG' }), 'NOERROR signed', 'signatures are not signed');
    });

    await t.test('Knot Resolver and delv agree', { skip: missing('kresd', 'delv') }, async t => {
      const knot = await validatingKnot(on, upstream, anchors);
      const sample = questions.filter((_, i) => i % 29 === 0);
      const disagree: string[] = [];
      for (const { name, type } of sample) {
        const [mine, its] = await Promise.all([verdict(ours, name, type), verdict(knot, name, type)]);
        if (mine.status !== its.status)
          disagree.push(`${name} ${type}: ${mine.status} (${mine.why}), Knot Resolver ${its.status}`);
      }
      t.comment(`${sample.length} questions to Knot Resolver; ${disagree.length} verdicts differ`);
      if (process.env['SHOW'] !== undefined) for (const each of disagree) t.comment(each);
      t.same(
        disagree.filter(each => !KNOT_DIFFERS.some(known => known.test(each))),
        [],
      );
      for (const [name, says] of [
        ['www.leaf3.nsec3.', 'fully validated'],
        ['nobody.nsec.', 'negative response, fully validated'],
        ['www.unsigned.nsec.', 'unsigned answer'],
        ['www.expired.nsec.', 'resolution failed'],
      ] as const) {
        t.match(await delv(on, behindPlain, anchors, name), says, name);
      }
    });
  },
);
