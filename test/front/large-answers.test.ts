// Answers that are near to the longest message: data comes before options, and what clients without DO get of them is made once.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import type { Entry } from '../../src/cache/entry.js';
import { PlainForms } from '../../src/front/plain-forms.js';
import { compose, questionOf, type RecordData } from '../../src/wire/compose.js';
import { OPTION, readOpt } from '../../src/wire/edns.js';
import { countsOf, FLAG, flagsOf, MAX_MESSAGE_BYTES } from '../../src/wire/header.js';
import { type ClientQuery, parseQuery } from '../../src/wire/query.js';
import { answerReply, STREAM_LIMIT_BYTES } from '../../src/wire/reply.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { queryMessage } from '../fixtures/client.js';
import { wireName } from '../fixtures/records.js';
import { takeApart } from '../fixtures/mutations.js';

const NAME = wireName('www.example.');
const QUESTION = questionOf(NAME, TYPE.TXT);
const text = (octets: number): RecordData => ({
  owner: NAME,
  type: TYPE.TXT,
  ttlSec: 300,
  rdata: Buffer.alloc(octets, 1),
});
const address = (i: number): RecordData => ({
  ...{ owner: NAME, type: TYPE.A, ttlSec: 300 },
  rdata: Buffer.from([10, 0, i >> 8, i & 255]),
});
const signature = (octets = 90): RecordData => ({
  ...{ owner: NAME, type: TYPE.RRSIG, ttlSec: 300 },
  rdata: Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(16), wireName('example.'), Buffer.alloc(octets)]),
});

const CLIENT_OPTIONS = [
  { code: OPTION.PADDING, data: Buffer.alloc(10) },
  { code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) },
];
function queryOf(name: string, type: string): ClientQuery {
  const parsed = parseQuery(queryMessage(name, { type, options: CLIENT_OPTIONS }));
  if (parsed.at !== 'query') throw new Error('not a query');
  return parsed.query;
}

await t.test('options that do not fit are dropped, and there is no TC on a stream', t => {
  const query = queryOf('www.example', 'TXT');
  const fixed = compose(QUESTION, { answer: [text(0)] }, { compress: true }).octets.length;
  const errors = [{ infoCode: 6, text: 'x'.repeat(100) }];
  const keepalive = { code: OPTION.TCP_KEEPALIVE, data: Buffer.from([0, 100]) };
  const told: Record<string, number> = { none: 0, bare: 0, all: 0 };
  for (let left = 0; left < 700; left++) {
    const stored = compose(QUESTION, { answer: [text(MAX_MESSAGE_BYTES - fixed - left)] }, { compress: true });
    const shape = { limitBytes: STREAM_LIMIT_BYTES, pad: true, options: [keepalive] };
    const reply = answerReply(query, stored, 0, errors, shape, false);
    const { additional } = countsOf(reply);
    if (reply.length > MAX_MESSAGE_BYTES || (flagsOf(reply) & FLAG.TC) !== 0 || countsOf(reply).answers !== 1)
      t.fail(`${left} octets left`);
    const opt = additional === 0 ? undefined : readOpt(reply, stored.octets.length + 1);
    const has = opt === undefined ? 'none' : opt.optionsBytes === 0 ? 'bare' : 'all';
    if ((has === 'none') !== left < 11) t.fail(`${left} octets left: ${has}`);
    told[has] = (told[has] ?? 0) + 1;
  }
  t.equal(told['none'], 11);
  t.ok((told['bare'] ?? 0) > 0 && (told['all'] ?? 0) > 0, JSON.stringify(told));
  t.end();
});

await t.test('over UDP, too, options go before data; what does not fit without them is truncated', t => {
  const query = queryOf('www.example', 'TXT');
  const fixed = compose(QUESTION, { answer: [text(0)] }, { compress: true }).octets.length;
  const limitBytes = 512;
  for (let left = -20; left < 60; left++) {
    const stored = compose(QUESTION, { answer: [text(limitBytes - fixed - left)] }, { compress: true });
    const options = [{ code: OPTION.REPORT, data: Buffer.alloc(40) }];
    const reply = answerReply(query, stored, 0, [], { limitBytes, pad: false, options }, false);
    if (reply.length > limitBytes) t.fail('longer than the limit');
    if (((flagsOf(reply) & FLAG.TC) !== 0) !== left < 11) t.fail(`${left} octets left`);
    if (countsOf(reply).additional !== 1) t.fail('the client speaks EDNS');
  }
  t.pass('80 sizes');
  t.end();
});

function entryOf(answer: readonly RecordData[], type: number, storedAt = 0): Entry {
  return {
    ...compose(questionOf(NAME, type), { answer }, { compress: true }),
    ...{
      storedAt: ageSec(storedAt),
      ttlSec: 300,
      negative: false,
      canBePadded: false,
      verdict: 'secure',
      verdictSec: 900,
      extendedErrors: [],
    },
    ...{ upstream: 'one', protocol: 'dot' },
  };
}
const STREAM = STREAM_LIMIT_BYTES;
const typesOf = (octets: Buffer): number[] => takeApart(octets).answer.map(({ type }) => type);

await t.test('what a client without DO gets of a large answer is made once, wherever the signatures stand', t => {
  const addresses = Array.from({ length: 3000 }, (_, i) => address(i));
  const query = queryOf('www.example', 'A');
  for (const [what, answer] of [
    ['first', [signature(), ...addresses]],
    ['in the middle', [...addresses.slice(0, 1500), signature(), ...addresses.slice(1500)]],
    ['last', [...addresses, signature()]],
    ['nowhere', addresses],
    ['thousands behind', [address(1), ...Array.from({ length: 700 }, (_, i) => signature(i % 100))]],
    ['thousands before', [...Array.from({ length: 700 }, (_, i) => signature(i % 100)), address(1)]],
  ] as const) {
    const forms = new PlainForms();
    const entry = entryOf(answer, TYPE.A);
    const made = forms.of(query, entry, STREAM);
    t.equal(forms.of(query, entry, STREAM), made, `${what}: the same object again`);
    t.equal(forms.of(query, { ...entry, octets: Buffer.from(entry.octets) }, STREAM), made, 'from the cache');
    const plain = answer.filter(({ type }) => type !== TYPE.RRSIG);
    t.equal(made.answers, plain.length, what);
    t.equal(made.ttlOffsets.length, plain.length);
    const octets = Buffer.from(made.octets);
    octets.writeUInt16BE(made.answers, 6);
    t.same(new Set(typesOf(octets)), new Set([TYPE.A]));
    // The octets of an entry are borrowed.
    entry.octets.fill(0xff);
    t.equal(made.octets.readUInt8(12), 3, 'it is in memory of its own');
    t.not(forms.of(query, entryOf(answer, TYPE.A, 1), STREAM), made, 'another answer, with another date');
  }
  t.end();
});

await t.test('where not even that fits, nothing is made', t => {
  const forms = new PlainForms();
  const query = queryOf('www.example', 'A');
  const large = entryOf([signature(), ...Array.from({ length: 3000 }, (_, i) => address(i))], TYPE.A);
  t.equal(forms.of(query, large, 1232), large);
  const small = entryOf([address(1), ...Array.from({ length: 500 }, () => signature())], TYPE.A);
  const made = forms.of(query, small, 1232);
  t.equal(
    made.octets.length,
    compose(questionOf(NAME, TYPE.A), { answer: [address(1)] }, { compress: true }).octets.length,
  );
  t.equal(forms.of(query, small, 1232), made);
  // A client that asks for signatures gets them without DO, too.
  const asked = queryOf('www.example', 'RRSIG');
  const signatures = entryOf(
    Array.from({ length: 500 }, () => signature()),
    TYPE.RRSIG,
  );
  t.equal(forms.of(asked, signatures, STREAM).answers, 500);
  t.end();
});
