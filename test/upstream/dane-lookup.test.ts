// The lookup of TLSA records over a stream: what is asked there, what is believed, and how a refusal is put into words.
// Validation is the real one.

import fc from 'fast-check';
import t from 'tap';

import { failure } from '../../src/base/outcome.js';
import { ageSec, wallSec } from '../../src/base/time.js';
import { readAnchors } from '../../src/dnssec/anchors.js';
import { nameOf } from '../../src/dnssec/name.js';
import { negativeAnchors } from '../../src/dnssec/negative.js';
import { validator } from '../../src/dnssec/validator.js';
import { provenLookup } from '../../src/pipeline/proven-lookup.js';
import { lookUpTlsa, type TlsaFound } from '../../src/upstream/dane-lookup.js';
import { UnprovedQuestions } from '../../src/upstream/unproved.js';
import { framed, frameReader } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { tlsaText } from '../../src/wire/tlsa.js';
import { questionOf } from '../../src/wire/compose.js';
import * as client from '../fixtures/client.js';
import { type FakeClock, fakeClock, fakeRandom } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { type Parts, putTogether, takeApart } from '../fixtures/mutations.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';
import type { SignedTree } from '../fixtures/signed-records.js';
import { daneTree, tlsaHex } from '../fixtures/tlsa.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const NOW_SEC = NOW_MS / 1000;
const KEY = `030101${'ab'.repeat(32)}`;
const OTHER = `030101${'cd'.repeat(32)}`;
const OWNER = '_853._tcp.dns.example.';
const TREE = daneTree(tlsaHex(OWNER, KEY) + tlsaHex(OWNER, OTHER), NOW_SEC);

/** What a server answers; undefined: nothing. */
type Answers = (query: Buffer) => Buffer | undefined;

interface Looking {
  readonly anchors?: readonly string[];
  readonly clock?: FakeClock;
  readonly negative?: readonly string[];
  readonly name?: string;
  readonly built?: number;
}

interface Looked {
  /** `TYPE name` of everything that was asked. */
  readonly asked: string[];
  readonly found: TlsaFound[];
  readonly questions: UnprovedQuestions;
}

/** Looks the records up over a stream whose other end answers like this. */
async function look(answers: Answers, looking: Looking = {}): Promise<Looked> {
  const { anchors = TREE.anchors, clock = fakeClock(NOW_MS), negative = [], name = 'dns.example', built = 0 } = looking;
  const asked: string[] = [];
  const reader = frameReader();
  const questions: UnprovedQuestions = new UnprovedQuestions(fakeRandom(), { id: 1, label: 'dns.example' }, bytes =>
    reader.push(bytes, message => {
      const query = Buffer.from(message);
      const { name: about, type } = messageToText(query)?.question ?? { name: '', type: '' };
      asked.push(`${type} ${about}`);
      setImmediate(() => {
        const reply = answers(query);
        if (reply !== undefined) questions.received(framed(reply), () => t.fail('a reply that nobody waits for'));
      });
    }),
  );
  const ageNow = () => ageSec(clock.monotonicMs() / 1000);
  const lookup = provenLookup({
    clock,
    ageNow,
    log: recordedLog(),
    observer: recorder().observer,
    freshValidator: () =>
      validator({
        anchors: () => readAnchors(anchors),
        negative: negativeAnchors(
          negative.map(each => nameOf(wireName(each))),
          ageNow,
        ),
        settings: () => ({ sha1: 'insecure', maxNsec3Iterations: 50, clockNames: [] }),
        clockIsSet: () => undefined,
        built: wallSec(built),
        bytes: 1 << 18,
      }),
  });
  const found: TlsaFound[] = [];
  lookUpTlsa(lookup, questions, { name, port: 853 }, each => found.push(each));
  await clock.advance(0);
  return { asked, found, questions };
}

const words = ({ found: [first] }: Looked): string =>
  first === undefined
    ? 'nothing yet'
    : first.at === 'found'
      ? first.set.records.map(tlsaText).toSorted().join(', ')
      : first.detail;

/** The reply with the id of the query. */
const withId = (reply: Buffer, query: Buffer): Buffer => Buffer.concat([query.subarray(0, 2), reply.subarray(2)]);

/** Answers of a tree that are changed on their way. */
const changing =
  (tree: SignedTree, change: (parts: Parts) => void): Answers =>
  query => {
    const reply = tree.answer(query);
    if (reply === undefined) return undefined;
    const parts = takeApart(reply);
    change(parts);
    return withId(putTogether(parts), query);
  };

await t.test('the set and what may be its chain are asked for at once, and nothing else is', async t => {
  const silent = await look(() => undefined);
  const looked = await look(TREE.answer);
  t.same(looked.asked, silent.asked, 'all before the first answer');
  const above = ['_tcp.dns.example.', 'dns.example.', 'example.'];
  const chain = ['DNSKEY .', ...above.flatMap(name => [`DNSKEY ${name}`, `DS ${name}`])];
  t.same(looked.asked.toSorted(), [...chain, `TLSA ${OWNER}`].toSorted());
  t.equal(words(looked), `3 1 1 ${'ab'.repeat(32)}, 3 1 1 ${'cd'.repeat(32)}`);
  const [found] = looked.found;
  t.equal(found?.at === 'found' && found.ttlSec, 300);
  t.same(found?.at === 'found' && found.set.names, ['dns.example']);
  t.equal(found?.at === 'found' && found.set.owner, OWNER);
});

await t.test('a set that was changed on its way is bogus', async t => {
  const forged = changing(TREE, ({ answer }) => {
    for (const [i, each] of answer.entries())
      if (each.type === TYPE.TLSA) answer[i] = { ...each, rdata: Buffer.from(`030101${'ee'.repeat(32)}`, 'hex') };
  });
  t.match(words(await look(forged)), /^the TLSA records of _853\._tcp\.dns\.example\. are bogus: /);
});

await t.test('a set without signatures is bogus, and so is one that is left out', async t => {
  const stripped = changing(TREE, parts => {
    for (const list of [parts.answer, parts.authority])
      list.splice(0, Infinity, ...list.filter(({ type }) => type !== TYPE.RRSIG));
  });
  t.match(words(await look(stripped)), /are bogus: RRSIG records are missing/);
  const emptied = changing(TREE, parts => {
    if (parts.answer.some(({ type }) => type === TYPE.TLSA)) parts.answer.splice(0, Infinity);
  });
  t.match(words(await look(emptied)), /are bogus: the denial of existence is not proven/);
});

await t.test('signatures of other keys are bogus', async t => {
  const other = daneTree(tlsaHex(OWNER, KEY), NOW_SEC);
  t.match(words(await look(other.answer)), /are bogus: /);
});

await t.test('no set, which is proven, is said so', async t => {
  const tree = daneTree('dns.example. 300 A 192.0.2.1\n', NOW_SEC);
  const looked = await look(tree.answer, { anchors: tree.anchors });
  t.match(words(looked), /^there are no TLSA records at _853\._tcp\.dns\.example\., which DNSSEC proves/);
});

await t.test('a zone without signatures, or below a negative trust anchor, is said so', async t => {
  const tree = daneTree('', NOW_SEC, { 'dns.example.': { unsigned: true, text: tlsaHex(OWNER, KEY) } });
  t.match(words(await look(tree.answer, { anchors: tree.anchors })), /in a zone that is not signed/);
  t.match(words(await look(TREE.answer, { negative: ['example.'] })), /in a zone that is not signed/);
});

await t.test('a server that answers nothing but errors is said so', async t => {
  const failing = await look(query => responseTo(query, { rcode: 2 }));
  t.match(words(failing), /^the TLSA records of _853\._tcp\.dns\.example\. were not received: .*SERVFAIL/);
});

await t.test('a stream that ends, ends the lookup with its reason', async t => {
  const looked = await look(() => undefined);
  t.equal(words(looked), 'nothing yet');
  looked.questions.end(failure('closed', 'reset'));
  t.match(words(looked), /were not received: .*reset/);
  t.equal(looked.found.length, 1);
});

await t.test('with a clock that is wrong, the refusal says so', async t => {
  const clock = fakeClock(Date.UTC(1970, 0, 2));
  t.match(words(await look(TREE.answer, { clock, built: NOW_SEC })), /this machine's clock says 1970-01-02/);
  t.match(words(await look(TREE.answer, { clock: fakeClock(NOW_MS + 30 * 86_400_000) })), /a signature has expired/);
});

await t.test('an alias of the TLSA owner leads to the set, and does not add a name (RFC 7671 §7)', async t => {
  const tree = daneTree(`${OWNER} 300 CNAME tlsa.example.\n${tlsaHex('tlsa.example.', KEY, 60)}`, NOW_SEC);
  const looked = await look(tree.answer, { anchors: tree.anchors });
  t.equal(words(looked), `3 1 1 ${'ab'.repeat(32)}`);
  const [found] = looked.found;
  t.same(found?.at === 'found' && [found.set.names, found.ttlSec], [['dns.example'], 60]);
});

await t.test('a name that is an alias has the set of its target, whose name counts, too', async t => {
  const tree = daneTree(
    `dns.example. 300 CNAME one.example.\none.example. 200 CNAME two.example.\n${tlsaHex('_853._tcp.two.example.', KEY)}`,
    NOW_SEC,
  );
  const looked = await look(tree.answer, { anchors: tree.anchors });
  t.equal(words(looked), `3 1 1 ${'ab'.repeat(32)}`);
  const [found] = looked.found;
  t.same(found?.at === 'found' && [found.set.names, found.ttlSec], [
    ['dns.example', 'one.example', 'two.example'],
    200,
  ]);
});

await t.test('aliases that go on for ever, or in a circle, end', async t => {
  const circle = daneTree('dns.example. 300 CNAME one.example.\none.example. 300 CNAME dns.example.\n', NOW_SEC);
  t.match(
    words(await look(circle.answer, { anchors: circle.anchors })),
    /no TLSA records at _853\._tcp\.dns\.example\. and _853\._tcp\.one\.example\., which/,
  );
  const lines = Array.from({ length: 9 }, (_, i) => `n${i}.example. 300 CNAME n${i + 1}.example.\n`).join('');
  const long = daneTree(`dns.example. 300 CNAME n0.example.\n${lines}`, NOW_SEC);
  t.match(
    words(await look(long.answer, { anchors: long.anchors })),
    /no TLSA records at .* and _853\._tcp\.n3\.example\./,
  );
});

await t.test('a record of another name in the answer is not taken, though it is validly signed', async t => {
  const tree = daneTree(tlsaHex('_853._tcp.other.example.', OTHER) + 'dns.example. 300 A 192.0.2.1\n', NOW_SEC);
  const mixing: Answers = query => {
    const parts = takeApart(tree.answer(query) ?? Buffer.alloc(0));
    const asked = messageToText(query)?.question?.name;
    if (asked === OWNER) {
      const other = tree.answer(client.queryMessage('_853._tcp.other.example', { type: 'TLSA', dnssec: true }));
      parts.answer.push(...takeApart(other ?? Buffer.alloc(0)).answer);
    }
    return withId(putTogether(parts), query);
  };
  t.match(words(await look(mixing, { anchors: tree.anchors })), /no TLSA records at|are bogus/);
});

await t.test('whatever is changed in the answers, no records are found but those that were signed', async t => {
  const random = fakeRandom(42);
  const whole = words(await look(TREE.answer));
  const seen = new Set<string>();
  for (let run = 0; run < 300; run++) {
    const looked = await look(query => {
      const reply = TREE.answer(query);
      if (reply === undefined) return undefined;
      const changed = Buffer.from(reply);
      // Behind the id and the question, which show whose answer it is.
      const start = 12 + (messageToText(query)?.question?.name.length ?? 0) + 5;
      for (let flips = random.below(3); flips > 0; flips--)
        changed[start + random.below(changed.length - start)] = random.below(256);
      return random.below(20) === 0 ? changed.subarray(0, start + random.below(changed.length - start)) : changed;
    });
    for (const { at } of looked.found) seen.add(at);
    if (looked.found[0]?.at === 'found') t.equal(words(looked), whole);
    t.ok(looked.found.length <= 1);
  }
  t.same([...seen].toSorted(), ['found', 'refused'], 'both happened');
});

await t.test('octets at random before the proof end nothing but the stream', t => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), chunks => {
      const sent: Buffer[] = [];
      const questions = new UnprovedQuestions(fakeRandom(), { id: 1, label: 'x' }, bytes =>
        sent.push(Buffer.from(bytes)),
      );
      let replies = 0;
      const question = questionOf(wireName('example.'), TYPE.DS);
      questions.exchange({ question, dnssecOk: true, checkingDisabled: true }, TYPE.DS, () => replies++);
      const query = (sent[0] ?? Buffer.alloc(0)).subarray(2);
      // Octets that follow the start of a reply, too.
      const start = responseTo(query).subarray(0, 12 + question.length);
      for (const chunk of chunks) {
        questions.received(Buffer.from(chunk), () => undefined);
        questions.received(framed(Buffer.concat([start, chunk])), () => undefined);
      }
      questions.end(failure('closed'));
      return replies === 1;
    }),
  );
  t.end();
});

await t.test('only questions of authentication can be asked before the proof', t => {
  const questions = new UnprovedQuestions(fakeRandom(), { id: 1, label: 'x' }, () => t.fail('it left'));
  const ask = (type: number) => ({
    question: questionOf(wireName('www.example.'), type),
    dnssecOk: true,
    checkingDisabled: true,
  });
  for (const type of [TYPE.A, TYPE.AAAA, TYPE.HTTPS, TYPE.NS])
    t.throws(() => questions.exchange(ask(type), type, () => undefined), { message: /before its server/ });
  t.throws(() => questions.exchange(ask(TYPE.A), TYPE.DS, () => undefined), { message: /before its server/ });
  t.end();
});

await t.test('replies of others pass, in whatever pieces they come, and replies to these questions do not', async t => {
  const sent: Buffer[] = [];
  const questions = new UnprovedQuestions(fakeRandom(), { id: 1, label: 'x' }, bytes => sent.push(Buffer.from(bytes)));
  const question = questionOf(wireName('example.'), TYPE.DS);
  let replies = 0;
  questions.exchange({ question, dnssecOk: true, checkingDisabled: true }, TYPE.DS, () => replies++);
  t.equal(questions.isIdle, false);
  const query = (sent[0] ?? Buffer.alloc(0)).subarray(2);
  const own = responseTo(query);
  // The same id, another question: a question of the connection may have it.
  const other = responseTo(Buffer.concat([query.subarray(0, 2), client.queryMessage('www.example').subarray(2)]));
  const passed: Buffer[] = [];
  const stream = Buffer.concat([framed(other), framed(own), framed(other), framed(own)]);
  for (const octet of stream) questions.received(Buffer.from([octet]), frame => passed.push(frame));
  t.equal(replies, 1);
  t.same(Buffer.concat(passed), Buffer.concat([framed(other), framed(other), framed(own)]));
  t.equal(questions.isIdle, true);
});
