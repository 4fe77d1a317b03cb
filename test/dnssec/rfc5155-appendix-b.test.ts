// The hashes and example responses of RFC 5155 Appendices A and B. All records of the zone there have the opt-out flag,
// so where a proof has to show that a next closer name is not there, it may still be an unsigned delegation, and the
// answer is not secure (RFC 5155 §9.2). The same zone without the flag, and without its unsigned delegation, has the
// same chain, and its answers are secure. A stub asks resolvers, which send no referrals: B.3 is a question for a name
// below the zone cut, and the records of the referral come with the answer to the DS question.

import t from 'tap';

import { nameOf } from '../../src/dnssec/name.js';
import { nsec3Hash } from '../../src/dnssec/nsec3.js';
import { TYPE } from '../../src/wire/rrtype.js';
import {
  answerOf,
  asked,
  exampleTree,
  exchanged,
  forged,
  replaced,
  signedSet,
  unsigned,
  without,
} from '../fixtures/appendix.js';
import { hashLabel, withNsec3 } from '../fixtures/nsec3-answers.js';
import { wireName } from '../fixtures/records.js';
import type { SignedTree } from '../fixtures/signed-records.js';
import { base32hex, typeBitmap } from '../fixtures/signer.js';

const NXDOMAIN = 3;
const NOERROR = 0;
const PREFERENCE_AT = 1;
const FLAGS_AT = 1;
const ITERATIONS = 12;
const SALT = Buffer.from('aabbccdd', 'hex');
/** A signature by a key that is not there. Its tag may be that of a key that is, but seldom. */
const BY_A_STRANGER = /^(dnskey_missing|bogus)$/;

/** The chain in its order: hash, name, and types. */
const CHAIN = [
  ['0p9mhaveqvm6t7vbl5lop2u3t2rp3tom', 'example.', 'NS SOA MX RRSIG DNSKEY NSEC3PARAM'],
  ['2t7b4g4vsa5smi47k61mv5bv1a22bojr', 'ns1.example.', 'A RRSIG'],
  ['2vptu5timamqttgl4luu9kg21e0aor3s', 'x.y.w.example.', 'MX RRSIG'],
  ['35mthgpgcu1qg68fab165klnsnk3dpvl', 'a.example.', 'NS DS RRSIG'],
  ['b4um86eghhds6nea196smvmlo4ors995', 'x.w.example.', 'MX RRSIG'],
  ['gjeqe526plbf1g8mklp59enfd789njgi', 'ai.example.', 'A HINFO AAAA RRSIG'],
  ['ji6neoaepv8b5o6k4ev33abha8ht9fgc', 'y.w.example.', ''],
  ['k8udemvp1j2f7eg6jebps17vp3n8i58h', 'w.example.', ''],
  ['kohar7mbb8dc2ce8a9qvl8hon4k53uhi', '2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.', 'A RRSIG'],
  ['q04jkcevqvmu85r014c7dkba38o0ji5r', 'ns2.example.', 'A RRSIG'],
  ['r53bq7cc2uvmubfu5ocmm6pers9tk9en', '*.w.example.', 'MX RRSIG'],
  ['t644ebqk9bibcna874givr6joj62mlhv', 'xx.example.', 'A HINFO AAAA RRSIG'],
] as const;

const EXAMPLE = `
  example. 3600 SOA ns1.example. bugs.x.w.example. 1 3600 300 3600000 3600
  example. 3600 NS ns1.example.
  example. 3600 NS ns2.example.
  example. 3600 MX 1 xx.example.
  example. 3600 NSEC3PARAM \\# 9 0100000c04aabbccdd
  2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. 3600 A 192.0.2.127
  a.example. 3600 NS ns1.a.example.
  a.example. 3600 NS ns2.a.example.
  ai.example. 3600 A 192.0.2.9
  ai.example. 3600 HINFO "KLH-10" "ITS"
  ai.example. 3600 AAAA 2001:db8::f00:baa9
  ns1.example. 3600 A 192.0.2.1
  ns2.example. 3600 A 192.0.2.2
  *.w.example. 3600 MX 1 ai.example.
  x.w.example. 3600 MX 1 xx.example.
  x.y.w.example. 3600 MX 1 xx.example.
  xx.example. 3600 A 192.0.2.10
  xx.example. 3600 HINFO "KLH-10" "TOPS-20"
  xx.example. 3600 AAAA 2001:db8::f00:baaa
`;
const UNSIGNED_DELEGATION = `
  c.example. 3600 NS ns1.c.example.
  c.example. 3600 NS ns2.c.example.
`;
// Only the delegations of these are in the appendix. Their MX records are what a referral is asked for.
const SIGNED_CHILD = {
  'a.example.': {
    text: `
      a.example. 3600 SOA ns1.a.example. bugs.x.w.example. 1 3600 300 3600000 3600
      a.example. 3600 NS ns1.a.example.
      a.example. 3600 NS ns2.a.example.
      ns1.a.example. 3600 A 192.0.2.5
      ns2.a.example. 3600 A 192.0.2.6
      mc.a.example. 3600 MX 1 xx.example.
    `,
  },
};
const UNSIGNED_CHILD = {
  'c.example.': {
    unsigned: true,
    text: `
      c.example. 3600 SOA ns1.c.example. bugs.x.w.example. 1 3600 300 3600000 3600
      c.example. 3600 NS ns1.c.example.
      c.example. 3600 NS ns2.c.example.
      ns1.c.example. 3600 A 192.0.2.7
      ns2.c.example. 3600 A 192.0.2.8
      mc.c.example. 3600 MX 1 xx.example.
    `,
  },
};
const hashing = (optOut: boolean) => ({ nsec3: { iterations: ITERATIONS, salt: SALT, optOut } });
const appendixZone = (): SignedTree =>
  withNsec3(exampleTree(EXAMPLE + UNSIGNED_DELEGATION, { ...SIGNED_CHILD, ...UNSIGNED_CHILD }, hashing(true)));
const optOut = appendixZone();
/** The zone without opt-out, and without the delegation that opted out. */
const plain = withNsec3(exampleTree(EXAMPLE, SIGNED_CHILD, hashing(false)));
/** The zone without opt-out, but with the delegation: the chain has one record more. */
const listed = withNsec3(
  exampleTree(EXAMPLE + UNSIGNED_DELEGATION, { ...SIGNED_CHILD, ...UNSIGNED_CHILD }, hashing(false)),
);
/** The zone of the appendix with other keys. */
const stranger = appendixZone();

/** The NSEC3 RRset with the hash that begins with this. */
function nsec3(start: string): string {
  const [hash = ''] = CHAIN.find(([each]) => each.startsWith(start)) ?? [];
  return `${hash}.example. NSEC3`;
}
const of = (tree: SignedTree, set: string, zone = 'example.') => signedSet(tree, set, zone);
/** The beginnings of the hashes of the NSEC3 records that an answer has. */
const denials = (tree: SignedTree, question: string): string[] =>
  answerOf(tree, question)
    .authority.filter(({ type }) => type === TYPE.NSEC3)
    .map(record => hashLabel(record).slice(0, 4))
    .sort();

await t.test('Appendix A: hashes', async t => {
  for (const [hash, name] of [
    ...CHAIN,
    // Names that are not in the zone, which the responses speak of.
    ['0va5bpr2ou0vk0lbqeeljri88laipsfh', 'c.x.w.example.'],
    ['92pqneegtaue7pjatc3l3qnk738c6v5m', '*.x.w.example.'],
    ['4g6p9u5gvfshp30pqecj98b3maqbn1ck', 'c.example.'],
    ['qlu7gtfaeh0ek0c05ksfhdpbcgglbe03', 'z.w.example.'],
  ] as const) {
    const made = nsec3Hash(nameOf(wireName(name)), SALT, ITERATIONS);
    t.equal(base32hex(Buffer.from(made, 'latin1')), hash, name);
  }
});

await t.test('Appendix A: the NSEC3 chain', async t => {
  const numbers: Readonly<Record<string, number>> = TYPE;
  const bitmap = (types: string): string =>
    typeBitmap(types.split(' ').flatMap(each => numbers[each] ?? [])).toString('hex');
  for (const [tree, flags] of [
    [optOut, 1],
    [plain, 0],
  ] as const)
    t.same(
      tree.records
        .filter(({ type }) => type === TYPE.NSEC3)
        .map(record => {
          const { rdata } = record;
          return [
            hashLabel(record),
            rdata.subarray(0, 10).toString('hex'),
            base32hex(rdata.subarray(10, 30)),
            rdata.toString('hex', 30),
          ];
        }),
      CHAIN.map(([hash, , types], i) => [
        hash,
        `010${flags}000c04aabbccdd14`,
        CHAIN[(i + 1) % CHAIN.length]?.[0],
        bitmap(types),
      ]),
    );
});

await t.test('B.1: a name error', async t => {
  const question = 'a.c.x.w.example. A';
  const needed = ['0p9m', '35mt', 'b4um'];
  t.same(denials(optOut, question), needed, 'the next closer name, the wildcard, and the closest encloser');
  t.equal(await asked(optOut, question), 'insecure NXDOMAIN');
  t.equal(await asked(plain, question), 'secure NXDOMAIN');
  for (const each of needed) {
    t.equal(await asked(plain, question, { [question]: without(nsec3(each)) }), 'nsec_missing', `without ${each}`);
    t.equal(await asked(plain, question, { [question]: unsigned(nsec3(each)) }), 'nsec_missing', `${each} unsigned`);
    t.equal(await asked(plain, question, { [question]: forged(nsec3(each)) }), 'nsec_missing', `${each} forged`);
    t.equal(
      await asked(plain, question, { [question]: exchanged(nsec3(each), of(plain, nsec3('gjeq'))) }),
      'nsec_missing',
      `another one in place of ${each}`,
    );
    t.equal(
      await asked(optOut, question, { [question]: without(nsec3(each)) }),
      'insecure NXDOMAIN',
      `opt-out: ${each}`,
    );
  }
  const proof = (tree: SignedTree) => [...of(tree, 'example. SOA'), ...needed.flatMap(each => of(tree, nsec3(each)))];
  t.equal(
    await asked(plain, question, { [question]: replaced(NOERROR, [], proof(plain)) }),
    'nsec_missing',
    'the proof of a name error says nothing of a name without data',
  );
  t.equal(
    await asked(plain, 'x.w.example. MX', { 'x.w.example. MX': replaced(NXDOMAIN, [], proof(plain)) }),
    'nsec_missing',
    'the closest encloser is there',
  );
  t.equal(
    await asked(plain, 'a.z.w.example. MX', { 'a.z.w.example. MX': replaced(NXDOMAIN, [], proof(plain)) }),
    'nsec_missing',
    'a name that a wildcard answers for',
  );
  t.equal(await asked(plain, question, { [question]: forged('example. SOA') }), 'bogus');
});

await t.test('B.2: no data', async t => {
  const question = 'ns1.example. MX';
  const needed = nsec3('2t7b');
  for (const tree of [optOut, plain]) {
    t.same(denials(tree, question), ['2t7b']);
    t.equal(await asked(tree, question), 'secure NOERROR', 'the name has a record, so opt-out does not matter');
    t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing');
    t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing');
    t.equal(await asked(tree, question, { [question]: forged(needed) }), 'bogus');
    for (const other of ['0p9m', 'koha', 'q04j', 'b4um'])
      t.equal(
        await asked(tree, question, { [question]: exchanged(needed, of(tree, nsec3(other))) }),
        'nsec_missing',
        other,
      );
    const proof = [...of(tree, 'example. SOA'), ...of(tree, needed)];
    t.equal(
      await asked(tree, 'ns1.example. A', { 'ns1.example. A': replaced(NOERROR, [], proof) }),
      'nsec_missing',
      'it says that there is an address',
    );
    t.equal(
      await asked(tree, question, { [question]: replaced(NXDOMAIN, [], proof) }),
      'nsec_missing',
      'it says that there is such a name',
    );
  }
  t.match(
    await asked(optOut, question, { [question]: exchanged(needed, of(stranger, needed)) }),
    BY_A_STRANGER,
    'signed by another key',
  );

  // The name of a host may look like a hash (Appendix A has one), but has a hash of its own.
  const host = '2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.';
  t.equal(await asked(optOut, `${host} A`), 'secure NOERROR');
  t.same(denials(optOut, `${host} MX`), ['koha']);
  t.equal(await asked(optOut, `${host} MX`), 'secure NOERROR');
  t.equal(
    await asked(optOut, `${host} MX`, { [`${host} MX`]: exchanged(nsec3('koha'), of(optOut, needed)) }),
    'nsec_missing',
    'the NSEC3 record that has its name is not about it',
  );
});

await t.test('B.2.1: no data at an empty non-terminal', async t => {
  const question = 'y.w.example. A';
  const needed = nsec3('ji6n');
  for (const tree of [optOut, plain]) {
    t.same(denials(tree, question), ['ji6n']);
    t.equal(await asked(tree, question), 'secure NOERROR');
    t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing');
    t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing');
    // Its last octet is the last one of the next hash: it has no types.
    t.equal(await asked(tree, question, { [question]: forged(needed) }), 'bogus');
    for (const other of ['gjeq', 'k8ud', '2vpt'])
      t.equal(
        await asked(tree, question, { [question]: exchanged(needed, of(tree, nsec3(other))) }),
        'nsec_missing',
        other,
      );
    t.equal(
      await asked(tree, question, {
        [question]: parts => {
          parts.rcode = NXDOMAIN;
        },
      }),
      'nsec_missing',
      'it says that there is such a name',
    );
  }
});

await t.test('B.3: a referral to an unsigned zone that has opted out', async t => {
  const question = 'mc.c.example. MX';
  const ds = 'c.example. DS';
  const needed = ['0p9m', '35mt'];
  t.same(denials(optOut, ds), needed, 'the closest encloser, and the gap that the next closer name is in');
  t.equal(await asked(optOut, question), 'insecure NOERROR');
  t.equal(await asked(optOut, ds), 'insecure NOERROR', 'that there is no DS is not secure either (RFC 5155 §9.2)');
  for (const each of needed) {
    t.equal(await asked(optOut, question, { [ds]: without(nsec3(each)) }), 'nsec_missing', `without ${each}`);
    t.equal(await asked(optOut, question, { [ds]: unsigned(nsec3(each)) }), 'nsec_missing', `${each} unsigned`);
    t.equal(await asked(optOut, question, { [ds]: forged(nsec3(each)) }), 'nsec_missing', `${each} forged`);
    for (const other of ['2vpt', 'b4um'])
      t.equal(
        await asked(optOut, question, { [ds]: exchanged(nsec3(each), of(optOut, nsec3(other))) }),
        'nsec_missing',
        `${other} in place of ${each}`,
      );
  }
  // Without the flag, the same gap says that there is no delegation.
  const { answer } = answerOf(optOut, question);
  const invented = replaced(NOERROR, answer, []);
  t.same(denials(plain, ds), [...needed, 'gjeq']);
  t.equal(await asked(plain, question, { [question]: invented }), 'rrsigs_missing');
  t.equal(
    await asked(plain, question, { [question]: invented, [ds]: forged(nsec3('35mt'), FLAGS_AT) }),
    'nsec_missing',
    'a flag that the zone has not signed',
  );
  t.same(
    [denials(listed, ds), await asked(listed, question), await asked(listed, ds)],
    [['4g6p'], 'insecure NOERROR', 'secure NOERROR'],
    'in a zone without opt-out it has a record',
  );

  // A signed delegation has a record, so opt-out does not matter.
  const signed = 'mc.a.example. MX';
  const there = 'a.example. DS';
  t.equal(await asked(optOut, signed), 'secure NOERROR');
  for (const proof of [['0p9m', '35mt'], ['0p9m', '2vpt'], ['0p9m'], ['35mt']])
    t.equal(
      await asked(optOut, signed, {
        [there]: replaced(
          NOERROR,
          [],
          [...of(optOut, 'example. SOA'), ...proof.flatMap(each => of(optOut, nsec3(each)))],
        ),
      }),
      'nsec_missing',
      `no DS, by ${proof.join(' ')}`,
    );

  // RFC 6840 §4.1, §4.4: the record of the cut is the parent's, and denies nothing of the child but its DS.
  for (const tree of [optOut, plain]) {
    const parents = [...of(tree, 'example. SOA'), ...CHAIN.flatMap(([hash]) => of(tree, nsec3(hash)))];
    t.equal(
      await asked(tree, 'a.example. MX', { 'a.example. MX': replaced(NOERROR, [], parents) }),
      'nsec_missing',
      'no data at the cut',
    );
    t.equal(
      await asked(tree, signed, { [signed]: replaced(NXDOMAIN, [], parents) }),
      'nsec_missing',
      'no name below the cut',
    );
  }
});

await t.test('B.4: an answer made from a wildcard', async t => {
  const question = 'a.z.w.example. MX';
  const needed = nsec3('q04j');
  t.same(denials(optOut, question), ['q04j'], 'no closer name');
  t.equal(await asked(optOut, question), 'insecure NOERROR');
  t.equal(await asked(plain, question), 'secure NOERROR');
  t.equal(await asked(plain, question, { [question]: without(needed) }), 'nsec_missing');
  t.equal(await asked(plain, question, { [question]: unsigned(needed) }), 'nsec_missing');
  t.equal(await asked(plain, question, { [question]: forged(needed) }), 'bogus');
  for (const other of ['r53b', 'k8ud', 'b4um', 't644'])
    t.equal(
      await asked(plain, question, { [question]: exchanged(needed, of(plain, nsec3(other))) }),
      'nsec_missing',
      other,
    );
  t.equal(await asked(plain, question, { [question]: unsigned(question) }), 'rrsigs_missing');
  t.equal(await asked(plain, question, { [question]: forged(question, PREFERENCE_AT) }), 'bogus');
  // With opt-out, z.w.example. may be an unsigned delegation, and the answer a word of that zone.
  for (const change of [without(needed), unsigned(question), forged(question, PREFERENCE_AT)])
    t.equal(await asked(optOut, question, { [question]: change }), 'insecure NOERROR');
  // The wildcard does not speak for names that are there, nor for names below them. With opt-out, those below may be in
  // zones of their own.
  for (const [name, whenOptOut] of [
    ['x.w.example.', 'nsec_missing'],
    ['a.x.w.example.', 'insecure NOERROR'],
    ['y.w.example.', 'nsec_missing'],
    ['a.y.w.example.', 'insecure NOERROR'],
  ] as const)
    for (const [tree, verdict] of [
      [optOut, whenOptOut],
      [plain, 'nsec_missing'],
    ] as const)
      t.equal(
        await asked(tree, `${name} MX`, {
          [`${name} MX`]: replaced(
            NOERROR,
            of(tree, '*.w.example. MX').map(each => ({ ...each, owner: wireName(name) })),
            CHAIN.flatMap(([hash]) => of(tree, nsec3(hash))),
          ),
        }),
        verdict,
        `${name}, with all records of the zone`,
      );
});

await t.test('B.5: no data at a wildcard', async t => {
  const question = 'a.z.w.example. AAAA';
  const needed = ['k8ud', 'q04j', 'r53b'];
  t.same(denials(optOut, question), needed, 'the closest encloser, the next closer name, and the wildcard');
  t.equal(await asked(optOut, question), 'insecure NOERROR');
  t.equal(await asked(plain, question), 'secure NOERROR');
  for (const each of needed) {
    t.equal(await asked(plain, question, { [question]: without(nsec3(each)) }), 'nsec_missing', `without ${each}`);
    t.equal(await asked(plain, question, { [question]: unsigned(nsec3(each)) }), 'nsec_missing', `${each} unsigned`);
    t.equal(await asked(plain, question, { [question]: forged(nsec3(each)) }), 'nsec_missing', `${each} forged`);
    t.equal(
      await asked(plain, question, { [question]: exchanged(nsec3(each), of(plain, nsec3('ji6n'))) }),
      'nsec_missing',
      `another one in place of ${each}`,
    );
    t.equal(
      await asked(optOut, question, { [question]: without(nsec3(each)) }),
      'insecure NOERROR',
      `opt-out: ${each}`,
    );
  }
  const proof = [...of(plain, 'example. SOA'), ...needed.flatMap(each => of(plain, nsec3(each)))];
  t.equal(
    await asked(plain, 'a.z.w.example. MX', { 'a.z.w.example. MX': replaced(NOERROR, [], proof) }),
    'nsec_missing',
    'the wildcard has this type',
  );
  t.equal(
    await asked(plain, question, { [question]: replaced(NXDOMAIN, [], proof) }),
    'nsec_missing',
    'a wildcard that is there is no name error',
  );
  t.equal(
    await asked(plain, 'a.y.w.example. AAAA', { 'a.y.w.example. AAAA': replaced(NOERROR, [], proof) }),
    'nsec_missing',
    'the wildcard does not speak for names below another one',
  );
});

await t.test('B.6: no DS, as a server of the child zone says', async t => {
  const question = 'example. DS';
  const childs = replaced(NOERROR, [], [...of(optOut, 'example. SOA'), ...of(optOut, nsec3('0p9m'))]);
  t.equal(await asked(optOut, question), 'secure NOERROR', 'as the parent says');
  t.equal(await asked(optOut, question, { [question]: childs }), 'nsec_missing', 'as the child says');
  t.equal(
    await asked(optOut, 'ns1.example. A', { [question]: childs }),
    'nsec_missing',
    'nor does it make the zone unsigned',
  );
  t.equal(await asked(optOut, question, { [question]: without(question) }), 'nsec_missing');
  t.equal(await asked(optOut, question, { [question]: unsigned(question) }), 'rrsigs_missing');
});
