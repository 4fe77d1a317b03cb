// What a response says about its question: which records belong to that, and where its aliases lead.

import fc from 'fast-check';
import t from 'tap';

import { putU16 } from '../../../src/base/octets.js';
import { ageSec } from '../../../src/base/time.js';
import type { TtlLimits } from '../../../src/cache/entry.js';
import { shapeOf } from '../../../src/pipeline/aliases/shape.js';
import { Answer, type Outcome } from '../../../src/pipeline/answer.js';
import { nameText } from '../../../src/dnssec/name.js';
import { compose, questionOf } from '../../../src/wire/compose.js';
import { FLAG, writeHeader } from '../../../src/wire/header.js';
import { nameToText } from '../../../src/wire/name.js';
import { TYPE, typeFromText, typeToText } from '../../../src/wire/rrtype.js';
import { scanResponse } from '../../../src/wire/scan.js';
import { dice, takeApart } from '../../fixtures/mutations.js';
import { recordOctets, records, wireName, type ZoneRecord } from '../../fixtures/records.js';

const LIMITS: TtlLimits = { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 };
const CLASS_CH = 3;

/** A record, and its class if that is another one than IN. */
interface AnyRecord extends ZoneRecord {
  readonly class?: number;
}

/** A response in parts. */
interface Said {
  readonly name?: string;
  readonly type?: string;
  readonly rcode?: number;
  readonly answer?: readonly AnyRecord[];
  readonly authority?: readonly AnyRecord[];
  readonly additional?: readonly AnyRecord[];
}

const lines = (...text: readonly string[]): ZoneRecord[] => records(text.join('\n'));
const ofChaos = (each: ZoneRecord): AnyRecord => ({ ...each, class: CLASS_CH });
/** A signature that nobody has made: here it is only looked at whether it belongs to the answer. */
const signature = (owner: string, covered: string, signer = 'example.', ttlSec = 300): ZoneRecord => {
  const fixed = Buffer.alloc(18);
  putU16(fixed, 0, typeFromText(covered) ?? 0);
  return { owner: wireName(owner), type: TYPE.RRSIG, ttlSec, rdata: Buffer.concat([fixed, wireName(signer)]) };
};

function message({ name = 'www.example.', type = 'A', rcode = 0, answer = [], authority = [], additional = [] }: Said) {
  const header = Buffer.alloc(12);
  writeHeader(header, 1, FLAG.QR | FLAG.RA | rcode, {
    questions: 1,
    answers: answer.length,
    authority: authority.length,
    additional: additional.length,
  });
  const written = [...answer, ...authority, ...additional].map(each => {
    const octets = Buffer.from(recordOctets(each));
    putU16(octets, each.owner.length + 2, each.class ?? 1);
    return octets;
  });
  return Buffer.concat([header, questionOf(wireName(name), typeFromText(type) ?? 0), ...written]);
}

function replied(said: Said): Outcome {
  const type = typeFromText(said.type ?? 'A') ?? 0;
  const octets = message(said);
  const scan = scanResponse(octets, type);
  if (scan === undefined) throw new Error('the test has written a malformed message');
  const server = { id: 1, label: 'one' };
  const reply = { at: 'reply', message: octets, scan, server, protocol: 'dot', authenticated: true } as const;
  return Answer.replied('upstream', reply, type, LIMITS, ageSec(0));
}

/** Records as text: a record is `owner type TTL rdata`, the last in hexadecimal, or a name. */
function shown(outcome: Outcome): Readonly<Record<string, unknown>> {
  if (outcome.at === 'failure') return { failure: outcome.code };
  const { octets, answers, authority, additional, rcode, ttlSec, negative } = outcome.entry;
  const copy = Buffer.from(octets);
  writeHeader(copy, 0, FLAG.QR, { questions: 1, answers, authority, additional });
  const parts = takeApart(copy);
  const text = ({ owner, type, ttlSec: ttl, rdata }: ZoneRecord): string =>
    `${nameToText(owner)} ${typeToText(type)} ${ttl} ${
      type === TYPE.CNAME || type === TYPE.DNAME ? nameToText(rdata) : rdata.toString('hex')
    }`;
  return {
    ...{ rcode, ttlSec, negative, additional },
    answer: parts.answer.map(text),
    authority: parts.authority.map(text),
    ...(outcome.unfollowed === undefined ? {} : { unfollowed: nameText(outcome.unfollowed) }),
  };
}
const answersOf = (said: Said): unknown => shown(replied(said))['answer'];

const GOOD = 'www.example. 300 A 192.0.2.1';
const A1 = 'A 300 c0000201';

await t.test('an answer without anything else is passed on as it is', t => {
  const octets = message({ answer: lines(GOOD) });
  // The owner as servers write it: a pointer to the question.
  const plain = compose(questionOf(wireName('www.example.'), TYPE.A), { answer: lines(GOOD) }, { compress: true });
  for (const each of [octets, plain.octets]) {
    const scan = scanResponse(each, TYPE.A);
    t.same(scan && shapeOf({ octets: each, ...scan }, TYPE.A), {
      end: { at: 'answered' },
      kept: undefined,
      made: [],
      retimed: false,
    });
  }
  t.end();
});

/** Records that nobody asked for. Their TTLs are the shortest, so that they show. */
const STRANGERS: Readonly<Record<string, { readonly list: readonly AnyRecord[]; readonly where?: 'authority' }>> = {
  'another name': { list: lines('other.example. 0 A 192.0.2.66') },
  'a name above': { list: lines('example. 0 A 192.0.2.66') },
  'a name below': { list: lines('x.www.example. 0 A 192.0.2.66') },
  'another type': { list: lines('www.example. 0 TXT "words"') },
  'a type beside the data': { list: lines('www.example. 0 AAAA 2001:db8::66') },
  'another class': { list: lines('www.example. 0 A 192.0.2.66').map(ofChaos) },
  'an alias of another name': { list: lines('other.example. 0 CNAME www.example.') },
  'an alias of another class': { list: lines('www.example. 0 CNAME evil.example.').map(ofChaos) },
  'a DNAME of another name': { list: lines('other.example. 0 DNAME evil.example.') },
  'signed records of another name': {
    list: [...lines('other.example. 0 A 192.0.2.66'), signature('other.example.', 'A', 'example.', 0)],
  },
  'the signature of another type': { list: [signature('www.example.', 'TXT', 'example.', 0)] },
  'CVE-2025-11411: servers of the zone': { list: lines('example. 0 NS ns.evil.example.'), where: 'authority' },
  'servers of a zone above, signed': {
    list: [...lines('com. 0 NS ns.evil.example.'), signature('com.', 'NS', 'com.', 0)],
    where: 'authority',
  },
  "a parent's signed DS": {
    list: [...lines('example. 0 DS \\# 4 00010d02'), signature('example.', 'DS', '.', 0)],
    where: 'authority',
  },
  'the SOA of another zone': {
    list: lines('other.example. 0 SOA ns.example. host.example. 1 1 1 1 0'),
    where: 'authority',
  },
  'a SOA of another class': {
    list: lines('example. 0 SOA ns.example. host.example. 1 1 1 1 0').map(ofChaos),
    where: 'authority',
  },
};

await t.test('RFC 2181 §5.4.1: strangers are left out, wherever they stand', t => {
  const [good] = lines(GOOD);
  if (good === undefined) throw new Error('a record');
  const want = shown(replied({ answer: [good] }));
  t.match(want, { answer: [`www.example. ${A1}`], authority: [], ttlSec: 300 });
  for (const [what, { list, where }] of Object.entries(STRANGERS)) {
    if (where !== 'authority') {
      t.same(shown(replied({ answer: [...list, good] })), want, `${what}, before`);
      t.same(shown(replied({ answer: [good, ...list] })), want, `${what}, behind`);
      t.same(shown(replied({ answer: [...list, good, ...list.toReversed()] })), want, `${what}, around`);
    }
    t.same(shown(replied({ answer: [good], authority: list })), want, `${what}, in the authority section`);
    t.same(shown(replied({ answer: [good], additional: list })), want, `${what}, in the additional section`);
  }
  t.end();
});

const SOA = 'example. 300 SOA ns.example. host.example. 1 1 1 1 60';

await t.test('a denial keeps its SOA and its proofs, and nothing else', t => {
  const proofs = [
    ...lines(SOA, 'a.example. 300 NSEC \\# 8 0165076578616d70'),
    signature('example.', 'SOA'),
    signature('a.example.', 'NSEC'),
  ];
  for (const rcode of [0, 3]) {
    const want = shown(replied({ rcode, authority: proofs }));
    t.match(want, { rcode, negative: true, ttlSec: 60, answer: [] });
    t.equal((want['authority'] as readonly string[]).length, 4);
    for (const [what, { list }] of Object.entries(STRANGERS)) {
      // The name would have data, or be an alias.
      if (what === 'the signature of another type' || what === 'a type beside the data') continue;
      t.same(shown(replied({ rcode, authority: [...list, ...proofs] })), want, `${what}, before`);
      t.same(shown(replied({ rcode, authority: proofs, additional: list })), want, `${what}, additional`);
      t.same(shown(replied({ rcode, answer: list, authority: proofs })), want, `${what}, as an answer`);
    }
  }
  t.end();
});

const good = fc.constantFrom<readonly [string, Said]>(
  ['data', { answer: lines(GOOD, 'www.example. 200 A 192.0.2.2') }],
  ['signed data', { answer: [...lines(GOOD), signature('www.example.', 'A')] }],
  ['an alias', { answer: lines('www.example. 300 CNAME a.test.', 'a.test. 200 A 192.0.2.1') }],
  ['an unfollowed alias', { answer: lines('www.example. 300 CNAME a.test.') }],
  ['a DNAME', { answer: lines('example. 100 DNAME test.', 'www.test. 300 A 192.0.2.1') }],
  [
    'a DNAME with its CNAME',
    {
      answer: lines('example. 100 DNAME test.', 'www.example. 7 CNAME www.test.', 'www.test. 300 A 192.0.2.1'),
    },
  ],
  [
    'an alias and a denial',
    { rcode: 3, answer: lines('www.example. 300 CNAME a.test.'), authority: lines('test. 300 SOA a. b. 1 1 1 1 60') },
  ],
  ['a denial', { rcode: 3, authority: lines(SOA) }],
  ['no data', { authority: lines(SOA) }],
  ['no SOA either', {}],
  ['a circle', { answer: lines('www.example. 300 CNAME a.test.', 'a.test. 300 CNAME www.example.') }],
);
/** Not about any name of the answers above. */
const stranger: fc.Arbitrary<AnyRecord> = fc.oneof(
  fc.constantFrom(
    ...lines(
      'other.example. 0 A 192.0.2.66',
      'b.test. 0 CNAME www.example.',
      'below.www.example. 0 DNAME test.',
      'other.example. 1 SOA a. b. 1 1 1 1 0',
      'example. 0 NS ns.evil.example.',
      'example. 0 DS \\# 4 00010d02',
      'ns.evil.example. 0 AAAA 2001:db8::66',
      'www.example. 0 TXT "words"',
      'a.test. 0 MX 1 evil.example.',
    ),
    signature('other.example.', 'A', 'example.', 0),
    signature('example.', 'NS', 'example.', 0),
  ),
  fc.constantFrom(...lines(GOOD, SOA, 'www.example. 0 CNAME evil.example.', 'example. 0 DNAME evil.').map(ofChaos)),
);

await t.test('with any strangers in any order, an answer says the same as without them', t => {
  const list = fc.array(stranger, { maxLength: 12 });
  fc.assert(
    fc.property(good, list, list, list, fc.nat(), ([, said], inAnswer, inAuthority, additional, seed) => {
      const roll = dice(seed);
      // The good records stay in their order: only the strangers come anywhere.
      const mixed = (own: readonly AnyRecord[], strange: readonly AnyRecord[]): AnyRecord[] => {
        const all = [...own];
        for (const each of strange) all.splice(roll.below(all.length + 1), 0, each);
        return all;
      };
      const strange: Said = {
        ...said,
        answer: mixed(said.answer ?? [], inAnswer),
        authority: mixed(said.authority ?? [], inAuthority),
        additional,
      };
      return JSON.stringify(shown(replied(strange))) === JSON.stringify(shown(replied(said)));
    }),
    { numRuns: 500 },
  );
  t.pass('500 answers');
  t.end();
});

await t.test('RFC 2181 §5: the same record twice is one record', t => {
  const twice = lines(GOOD, 'WWW.example. 300 A 192.0.2.1', GOOD);
  t.same(answersOf({ answer: twice }), [`www.example. ${A1}`]);
  t.same(answersOf({ answer: lines(GOOD, 'www.example. 300 A 192.0.2.2', GOOD) }), [
    `www.example. ${A1}`,
    'www.example. A 300 c0000202',
  ]);
  t.equal(
    (
      answersOf({
        answer: [...lines(GOOD), signature('www.example.', 'A'), signature('www.example.', 'A')],
      }) as unknown[]
    ).length,
    2,
  );
  const alias = 'www.example. 300 CNAME a.example.';
  t.same(answersOf({ answer: lines(alias, alias, 'a.example. 300 A 192.0.2.1') }), [
    'www.example. CNAME 300 a.example.',
    `a.example. ${A1}`,
  ]);
  // Names in RDATA, written in two ways: in full, and as pointers.
  const question = questionOf(wireName('www.example.'), TYPE.NS);
  const { octets } = compose(
    question,
    {
      answer: [
        { owner: wireName('www.example.'), type: TYPE.NS, ttlSec: 300, rdata: wireName('www.example.') },
        { owner: wireName('www.example.'), type: TYPE.NS, ttlSec: 300, rdata: Buffer.from([0xc0, 12]) },
        {
          owner: wireName('www.example.'),
          type: TYPE.NS,
          ttlSec: 300,
          rdata: Buffer.from('\x03WWW\xc0\x10', 'latin1'),
        },
      ],
    },
    { compress: true },
  );
  const scan = scanResponse(octets, TYPE.NS);
  t.same(scan && shapeOf({ octets, ...scan }, TYPE.NS)?.kept, [true, false, false]);
  t.end();
});

await t.test('RFC 6672: the CNAME that a DNAME makes has the TTL of the DNAME, and is made where it is missing', t => {
  const [dname, data] = ['example. 77 DNAME test.', 'www.test. 300 A 192.0.2.1'];
  const want = ['example. DNAME 77 test.', 'www.example. CNAME 77 www.test.', `www.test. ${A1}`];
  t.same(answersOf({ answer: lines(dname, data) }), want, 'made, before what it leads to');
  for (const ttl of [0, 76, 78, 86_400]) {
    const all = [dname, `www.example. ${ttl} CNAME www.test.`, data];
    t.same(answersOf({ answer: lines(...all) }), want, `${ttl}`);
  }
  // With a signature of its own it was not made: the signature says which TTL it may have.
  const own = [...lines(dname, 'www.example. 300 CNAME www.test.', data), signature('www.example.', 'CNAME')];
  t.match(answersOf({ answer: own }), ['www.example. CNAME 300 www.test.', `www.test. ${A1}`, /RRSIG/]);
  // It is not what the DNAME makes: so the DNAME is none of this name.
  t.same(answersOf({ answer: lines('example. 0 DNAME evil.', 'www.example. 300 CNAME www.test.', data) }), [
    'www.example. CNAME 300 www.test.',
    `www.test. ${A1}`,
  ]);
  t.same(shown(replied({ answer: lines(dname) }))['unfollowed'], 'www.test.', 'the DNAME alone');
  const [two, end] = ['test. 50 DNAME last.', 'www.last. 300 A 192.0.2.1'];
  t.same(answersOf({ answer: lines(dname, two, end) }), [
    ...want.slice(0, 2),
    'test. DNAME 50 last.',
    'www.test. CNAME 50 www.last.',
    `www.last. ${A1}`,
  ]);
  t.end();
});

await t.test('the CNAME below a DNAME is the answer for those who ask for it', t => {
  const want = { answer: ['example. DNAME 77 test.', 'www.example. CNAME 77 www.test.'], unfollowed: undefined };
  const dname = 'example. 77 DNAME test.';
  t.match(shown(replied({ type: 'CNAME', answer: lines(dname) })), { ...want, negative: false, ttlSec: 77 });
  t.match(shown(replied({ type: 'CNAME', answer: lines(dname, 'www.example. 5 CNAME www.test.') })), want);
  t.match(shown(replied({ type: 'CNAME', answer: lines('www.example. 5 CNAME www.test.') })), {
    answer: ['www.example. CNAME 5 www.test.'],
    ttlSec: 5,
  });
  // Asked for itself, it is data.
  t.match(shown(replied({ type: 'DNAME', name: 'example.', answer: lines(dname) })), {
    answer: ['example. DNAME 77 test.'],
    ttlSec: 77,
  });
  t.end();
});

await t.test('RFC 6672 §2.2: a name that would be too long ends the aliases', t => {
  const label = 'x'.repeat(63);
  const long = `${label}.${label}.${label}.${'y'.repeat(50)}.example.`;
  const far = `${'z'.repeat(40)}.${'z'.repeat(40)}.`;
  const answer = lines(`example. 77 DNAME ${far}`);
  t.match(shown(replied({ name: long, answer, rcode: 6 })), { rcode: 6, ttlSec: 0, unfollowed: undefined });
  t.same(answersOf({ name: long, answer, rcode: 6 }), [`example. DNAME 77 ${far}`]);
  t.match(shown(replied({ name: long, answer })), { rcode: 0, ttlSec: 0, unfollowed: undefined });
  t.end();
});

const CIRCLES = [1, 2, 3, 16];
const chain = (aliases: number, from = 0): string[] =>
  Array.from({ length: aliases }, (_, i) => `a${from + i}.example. 300 CNAME a${from + i + 1}.example.`);

await t.test('aliases that lead in a circle, or that are too many, are a failure', t => {
  for (const aliases of CIRCLES) {
    const answer = lines(...chain(aliases - 1), `a${aliases - 1}.example. 300 CNAME a0.example.`);
    t.same(shown(replied({ name: 'a0.example.', answer })), { failure: 'alias_loop' }, `a circle of ${aliases}`);
    const entered = [...lines('www.example. 300 CNAME a0.example.'), ...answer];
    t.same(shown(replied({ answer: entered })), { failure: 'alias_loop' }, `a circle of ${aliases} behind an alias`);
    t.same(
      shown(replied({ name: 'a0.example.', answer: answer.toReversed() })),
      { failure: 'alias_loop' },
      'backwards',
    );
  }
  const ending = (aliases: number): Said => ({
    name: 'a0.example.',
    answer: lines(...chain(aliases), `a${aliases}.example. 300 A 192.0.2.1`),
  });
  t.equal((answersOf(ending(16)) as unknown[]).length, 17);
  for (const aliases of [17, 18, 100]) t.same(shown(replied(ending(aliases))), { failure: 'alias_loop' }, `${aliases}`);
  // A DNAME that leads below itself makes the name longer with each step.
  t.same(shown(replied({ answer: lines('example. 300 DNAME a.example.') })), { failure: 'alias_loop' });
  t.same(shown(replied({ answer: lines('example. 300 DNAME test.', 'test. 300 DNAME example.') })), {
    failure: 'alias_loop',
  });
  t.end();
});

await t.test('the target of the last alias is to be asked for, unless the server says that there is nothing', t => {
  const answer = lines('www.example. 300 CNAME a.test.', 'a.test. 300 CNAME b.test.');
  t.match(shown(replied({ answer })), { unfollowed: 'b.test.', ttlSec: 0 });
  const soa = lines('test. 300 SOA a. b. 1 1 1 1 60');
  t.equal(shown(replied({ answer, authority: soa }))['unfollowed'], undefined, 'no data');
  t.match(shown(replied({ answer, authority: soa })), { negative: true, ttlSec: 60 });
  t.equal(shown(replied({ answer, rcode: 3 }))['unfollowed'], undefined, 'no name');
  t.match(shown(replied({ answer, authority: soa.map(ofChaos) })), { unfollowed: 'b.test.' }, 'of another class');
  t.match(shown(replied({ answer, authority: lines(SOA) })), { unfollowed: 'b.test.' }, 'of another zone');
  t.end();
});

await t.test('names that cannot be read are no answer', t => {
  for (const rdata of ['ff', 'c0ff', '', '0161', '40']) {
    const octets = Buffer.from(rdata, 'hex');
    const alias = { owner: wireName('www.example.'), type: TYPE.CNAME, ttlSec: 1, rdata: octets };
    t.same(shown(replied({ answer: [alias] })), { failure: 'parse' }, `an alias to ${rdata}`);
    const dname = { ...alias, owner: wireName('example.'), type: TYPE.DNAME };
    t.same(shown(replied({ answer: [dname] })), { failure: 'parse' }, `a DNAME to ${rdata}`);
    // It is left out, whatever it says.
    const strange = { ...alias, owner: wireName('other.example.') };
    t.same(answersOf({ answer: [strange, ...lines(GOOD)] }), [`www.example. ${A1}`]);
  }
  t.end();
});
