// The example responses of RFC 4035 Appendix B, from the zone of its Appendix A: each is believed as it is there, and
// no longer without a record that it needs. A stub asks resolvers, which send no referrals: B.4 and B.5 are questions
// for names below the zone cuts, and the records of the referrals come with the answers to the DS questions.

import t from 'tap';

import { nameToText, readName } from '../../src/wire/name.js';
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

const NXDOMAIN = 3;
const NOERROR = 0;
const PREFERENCE_AT = 1;
/** A signature by a key that is not there. Its tag may be that of a key that is, but seldom. */
const BY_A_STRANGER = /^(dnskey_missing|bogus)$/;

const EXAMPLE = `
  example. 3600 SOA ns1.example. bugs.x.w.example. 1081539377 3600 300 3600000 3600
  example. 3600 NS ns1.example.
  example. 3600 NS ns2.example.
  example. 3600 MX 1 xx.example.
  a.example. 3600 NS ns1.a.example.
  a.example. 3600 NS ns2.a.example.
  ai.example. 3600 A 192.0.2.9
  ai.example. 3600 HINFO "KLH-10" "ITS"
  ai.example. 3600 AAAA 2001:db8::f00:baa9
  b.example. 3600 NS ns1.b.example.
  b.example. 3600 NS ns2.b.example.
  ns1.example. 3600 A 192.0.2.1
  ns2.example. 3600 A 192.0.2.2
  *.w.example. 3600 MX 1 ai.example.
  x.w.example. 3600 MX 1 xx.example.
  x.y.w.example. 3600 MX 1 xx.example.
  xx.example. 3600 A 192.0.2.10
  xx.example. 3600 HINFO "KLH-10" "TOPS-20"
  xx.example. 3600 AAAA 2001:db8::f00:baaa
`;
// Only the delegations of these are in the appendix. Their MX records are what its referrals were asked for.
const CHILDREN = {
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
  'b.example.': {
    unsigned: true,
    text: `
      b.example. 3600 SOA ns1.b.example. bugs.x.w.example. 1 3600 300 3600000 3600
      b.example. 3600 NS ns1.b.example.
      b.example. 3600 NS ns2.b.example.
      ns1.b.example. 3600 A 192.0.2.7
      ns2.b.example. 3600 A 192.0.2.8
      mc.b.example. 3600 MX 1 xx.example.
    `,
  },
};
const tree = exampleTree(EXAMPLE, CHILDREN);
/** The same zone with other keys. */
const stranger = exampleTree(EXAMPLE, CHILDREN);
const of = (set: string, zone = 'example.') => signedSet(tree, set, zone);
/** The NSEC records that an answer has. */
const denials = (question: string): string[] =>
  answerOf(tree, question)
    .authority.filter(({ type }) => type === TYPE.NSEC)
    .map(({ owner }) => nameToText(owner))
    .sort();

await t.test('Appendix A: the NSEC chain', async t => {
  const chain = ['example.'];
  do {
    const [nsec] = of(`${chain.at(-1) ?? ''} NSEC`);
    chain.push(nameToText(readName(nsec?.rdata ?? Buffer.alloc(1), 0)?.name ?? Buffer.alloc(1)));
  } while (chain.at(-1) !== 'example.' && chain.length < 100);
  t.same(chain, [
    'example.',
    'a.example.',
    'ai.example.',
    'b.example.',
    'ns1.example.',
    'ns2.example.',
    '*.w.example.',
    'x.w.example.',
    'x.y.w.example.',
    'xx.example.',
    'example.',
  ]);
});

await t.test('B.1: an answer', async t => {
  const question = 'x.w.example. MX';
  const authority = of('example. NS');
  t.equal(await asked(tree, question, { [question]: parts => parts.authority.push(...authority) }), 'secure NOERROR');
  t.equal(await asked(tree, question, { [question]: unsigned(question) }), 'rrsigs_missing');
  t.equal(await asked(tree, question, { [question]: forged(question, PREFERENCE_AT) }), 'bogus');
  t.equal(await asked(tree, question, { [question]: without(question) }), 'nsec_missing');
  t.match(
    await asked(tree, question, {
      [question]: parts => parts.answer.splice(0, Infinity, ...signedSet(stranger, question, 'example.')),
    }),
    BY_A_STRANGER,
    'signed by another key',
  );
  t.equal(
    await asked(tree, question, {
      [question]: parts =>
        parts.answer.splice(
          0,
          Infinity,
          ...of('x.y.w.example. MX').map(each => ({ ...each, owner: parts.question.subarray(0, -4) })),
        ),
    }),
    'bogus',
    'the signature of another name',
  );
  t.equal(
    await asked(tree, question, {
      [question]: parts => {
        parts.rcode = NXDOMAIN;
      },
    }),
    'bogus',
    'data, and a name error',
  );
  t.equal(await asked(tree, question, { 'example. DNSKEY': unsigned('example. DNSKEY') }), 'rrsigs_missing');
  t.equal(await asked(tree, question, { 'example. DNSKEY': forged('example. DNSKEY') }), 'dnskey_missing');
  t.equal(await asked(tree, question, { '. DNSKEY': forged('. DNSKEY') }), 'dnskey_missing');
});

await t.test('B.2: a name error', async t => {
  const question = 'ml.example. A';
  t.same(denials(question), ['b.example.', 'example.'], 'no such name, and no wildcard that would cover it');
  t.equal(await asked(tree, question), 'secure NXDOMAIN');
  for (const needed of ['b.example. NSEC', 'example. NSEC']) {
    t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing', `without ${needed}`);
    t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing', `${needed} unsigned`);
    t.equal(await asked(tree, question, { [question]: forged(needed) }), 'nsec_missing', `${needed} forged`);
    t.equal(
      await asked(tree, question, { [question]: exchanged(needed, of('ns1.example. NSEC')) }),
      'nsec_missing',
      `the next one in place of ${needed}`,
    );
  }
  t.equal(
    await asked(tree, question, {
      [question]: parts => {
        parts.rcode = NOERROR;
      },
    }),
    'nsec_missing',
    'the proof of a name error says nothing of a name without data',
  );
  t.equal(
    await asked(tree, 'ns1.example. A', {
      'ns1.example. A': replaced(
        NXDOMAIN,
        [],
        [...of('example. SOA'), ...of('b.example. NSEC'), ...of('example. NSEC')],
      ),
    }),
    'nsec_missing',
    'the gap ends before the next name, which is there',
  );
  t.equal(
    await asked(tree, question, { [question]: forged('example. SOA') }),
    'bogus',
    'its SOA says for how long, and is covered by AD',
  );
});

await t.test('B.3: no data', async t => {
  const question = 'ns1.example. MX';
  const needed = 'ns1.example. NSEC';
  t.same(denials(question), ['ns1.example.']);
  t.equal(await asked(tree, question), 'secure NOERROR');
  t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [question]: forged(needed) }), 'bogus');
  for (const other of ['b.example. NSEC', 'ns2.example. NSEC', 'example. NSEC'])
    t.equal(await asked(tree, question, { [question]: exchanged(needed, of(other)) }), 'nsec_missing', other);
  const answer = [...of('example. SOA'), ...of(needed)];
  t.equal(
    await asked(tree, 'ns1.example. A', { 'ns1.example. A': replaced(NOERROR, [], answer) }),
    'nsec_missing',
    'it says that there is an address',
  );
  t.equal(
    await asked(tree, question, { [question]: replaced(NXDOMAIN, [], answer) }),
    'secure NOERROR',
    'the RCODE is not signed: what is given is what the record proves',
  );
});

await t.test('B.4: a referral to a signed zone', async t => {
  const question = 'mc.a.example. MX';
  const ds = 'a.example. DS';
  t.equal(await asked(tree, question), 'secure NOERROR');
  t.equal(
    await asked(tree, question, { [ds]: without(ds) }),
    'nsec_missing',
    'without DS, and without a proof that there is none',
  );
  t.equal(await asked(tree, question, { [ds]: unsigned(ds) }), 'rrsigs_missing');
  t.equal(await asked(tree, question, { [ds]: forged(ds) }), 'bogus');
  t.match(
    await asked(tree, question, { [ds]: replaced(NOERROR, signedSet(stranger, ds, 'example.'), []) }),
    BY_A_STRANGER,
    'the DS of another key, signed by another key',
  );
  t.equal(
    await asked(tree, question, { [ds]: replaced(NOERROR, [], [...of('example. SOA'), ...of('a.example. NSEC')]) }),
    'nsec_missing',
    "the cut's NSEC says that there is a DS",
  );
  t.equal(
    await asked(tree, question, { [ds]: replaced(NOERROR, [], [...of('example. SOA'), ...of('b.example. NSEC')]) }),
    'nsec_missing',
    'the NSEC of an unsigned delegation beside it',
  );
  const keys = 'a.example. DNSKEY';
  t.match(
    await asked(tree, question, { [keys]: replaced(NOERROR, signedSet(stranger, keys, 'a.example.'), []) }),
    BY_A_STRANGER,
    'keys that the DS does not speak of',
  );
  t.equal(await asked(tree, question, { [keys]: without(keys) }), 'dnskey_missing');
  t.equal(await asked(tree, question, { [question]: unsigned(question) }), 'rrsigs_missing');
  t.match(
    await asked(tree, question, { [question]: replaced(NOERROR, signedSet(stranger, question, 'a.example.'), []) }),
    BY_A_STRANGER,
  );

  // RFC 6840 §4.1, §4.4: the NSEC of the cut is the parent's, and denies nothing of the child but its DS.
  const parents = [...of('example. SOA'), ...of('a.example. NSEC'), ...of('example. NSEC')];
  t.equal(
    await asked(tree, 'a.example. MX', { 'a.example. MX': replaced(NOERROR, [], parents) }),
    'nsec_missing',
    'no data at the cut',
  );
  t.equal(
    await asked(tree, question, { [question]: replaced(NXDOMAIN, [], parents) }),
    'nsec_missing',
    'no name below the cut',
  );
});

await t.test('B.5: a referral to an unsigned zone', async t => {
  const question = 'mc.b.example. MX';
  const ds = 'b.example. DS';
  const needed = 'b.example. NSEC';
  t.same(denials(ds), ['b.example.']);
  t.equal(await asked(tree, question), 'insecure NOERROR');
  t.equal(await asked(tree, ds), 'secure NOERROR', 'that there is no DS is signed');
  t.equal(await asked(tree, question, { [ds]: without(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [ds]: unsigned(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [ds]: forged(needed) }), 'bogus');
  for (const other of ['a.example. NSEC', 'ai.example. NSEC', 'ns1.example. NSEC', 'example. NSEC'])
    t.equal(await asked(tree, question, { [ds]: exchanged(needed, of(other)) }), 'nsec_missing', other);
  t.match(
    await asked(tree, question, { [ds]: exchanged(needed, signedSet(stranger, needed, 'example.')) }),
    BY_A_STRANGER,
    'signed by another key',
  );
  t.equal(
    await asked(tree, ds, { [ds]: exchanged(needed, of('ns1.example. NSEC')) }),
    'nsec_missing',
    'asked for the DS itself',
  );
});

await t.test('B.6: an answer made from a wildcard', async t => {
  const question = 'a.z.w.example. MX';
  const needed = 'x.y.w.example. NSEC';
  t.same(denials(question), ['x.y.w.example.'], 'no closer name');
  t.equal(await asked(tree, question), 'secure NOERROR');
  t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing');
  t.equal(await asked(tree, question, { [question]: forged(needed) }), 'bogus');
  for (const other of ['*.w.example. NSEC', 'x.w.example. NSEC', 'xx.example. NSEC', 'ns2.example. NSEC'])
    t.equal(await asked(tree, question, { [question]: exchanged(needed, of(other)) }), 'nsec_missing', other);
  t.equal(await asked(tree, question, { [question]: unsigned(question) }), 'rrsigs_missing');
  t.equal(await asked(tree, question, { [question]: forged(question, PREFERENCE_AT) }), 'bogus');

  // RFC 4592: the wildcard does not speak for names that are there, nor for names below them.
  const expanded = (owner: Buffer) => of('*.w.example. MX').map(each => ({ ...each, owner }));
  for (const [name, gap] of [
    ['x.w.example. MX', 'x.w.example. NSEC'],
    ['x.w.example. MX', needed],
    ['y.w.example. MX', 'x.w.example. NSEC'],
    ['a.y.w.example. MX', 'x.w.example. NSEC'],
    ['a.x.w.example. MX', 'x.w.example. NSEC'],
  ] as const)
    t.equal(
      await asked(tree, name, {
        [name]: parts => replaced(NOERROR, expanded(parts.question.subarray(0, -4)), of(gap))(parts),
      }),
      'nsec_missing',
      `${name} with the NSEC of ${gap}`,
    );
});

await t.test('B.7: no data at a wildcard', async t => {
  const question = 'a.z.w.example. AAAA';
  t.same(denials(question), ['*.w.example.', 'x.y.w.example.'], 'no closer name, and no such type at the wildcard');
  t.equal(await asked(tree, question), 'secure NOERROR');
  for (const needed of ['*.w.example. NSEC', 'x.y.w.example. NSEC']) {
    t.equal(await asked(tree, question, { [question]: without(needed) }), 'nsec_missing', `without ${needed}`);
    t.equal(await asked(tree, question, { [question]: unsigned(needed) }), 'nsec_missing', `${needed} unsigned`);
    t.equal(await asked(tree, question, { [question]: forged(needed) }), 'nsec_missing', `${needed} forged`);
    t.equal(
      await asked(tree, question, { [question]: exchanged(needed, of('x.w.example. NSEC')) }),
      'nsec_missing',
      `another one in place of ${needed}`,
    );
  }
  const proof = [...of('example. SOA'), ...of('*.w.example. NSEC'), ...of('x.y.w.example. NSEC')];
  t.equal(
    await asked(tree, 'a.z.w.example. MX', { 'a.z.w.example. MX': replaced(NOERROR, [], proof) }),
    'nsec_missing',
    'the wildcard has this type',
  );
  t.equal(
    await asked(tree, 'a.y.w.example. AAAA', { 'a.y.w.example. AAAA': replaced(NOERROR, [], proof) }),
    'nsec_missing',
    'the wildcard does not speak for names below another one',
  );
});

await t.test('B.8: no DS, as a server of the child zone says', async t => {
  for (const [question, child, parent] of [
    ['example. DS', 'example.', '.'],
    ['a.example. DS', 'a.example.', 'example.'],
  ] as const) {
    const childs = replaced(NOERROR, [], [...of(`${child} SOA`, child), ...of(`${child} NSEC`, child)]);
    t.equal(await asked(tree, question), 'secure NOERROR', `${question}, as the parent says`);
    t.equal(await asked(tree, question, { [question]: childs }), 'nsec_missing', `${question}, as the child says`);
    t.equal(
      await asked(tree, question, {
        [question]: replaced(NOERROR, [], [...of(`${child} SOA`, child), ...of(`${child} NSEC`, parent)]),
      }),
      'nsec_missing',
      `${question}: the parent's NSEC says that there is one`,
    );
    const below = child === 'example.' ? 'x.w.example. MX' : 'mc.a.example. MX';
    t.equal(await asked(tree, below, { [question]: childs }), 'nsec_missing', `nor does it make ${child} unsigned`);
    t.equal(await asked(tree, question, { [question]: without(question) }), 'nsec_missing');
    t.equal(await asked(tree, question, { [question]: unsigned(question) }), 'rrsigs_missing');
  }
});
