// dnssec.mode prefer: behind a router that leaves out signatures, however it does so, names resolve unvalidated; what is
// there and wrong stays bogus.

import t from 'tap';

import { RCODE } from '../../../src/base/outcome.js';
import { FLAG, flagsOf } from '../../../src/wire/header.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { fakeClock } from '../../fixtures/clock.js';
import { type Parts, putTogether, takeApart } from '../../fixtures/mutations.js';
import { responseTo } from '../../fixtures/messages.js';
import { honest, queryFor, signedTree } from '../../fixtures/signed-records.js';
import { type Upstream, type Validating, validating, verdictOf } from '../../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const tree = signedTree(
  {
    '.': { text: '' },
    'example.': { text: 'www.example. 300 A 192.0.2.80\nmail.example. 300 A 192.0.2.25\n' },
    'other.': { text: 'www.other. 300 A 192.0.2.81\n' },
    'bad.': { text: 'www.bad. 300 A 192.0.2.82\n' },
    'plain.': { unsigned: true, text: 'www.plain. 300 A 192.0.2.70\n' },
  },
  NOW_MS / 1000,
);
const typeIn = (question: Buffer): number => question.readUInt16BE(question.length - 4);
const isForValidation = (question: Buffer): boolean => [TYPE.DS, TYPE.DNSKEY].includes(typeIn(question) as 43 | 48);
const truth = honest(tree);

const PROOFS: readonly number[] = [TYPE.RRSIG, TYPE.NSEC, TYPE.NSEC3];
function withoutProofs(parts: Parts): void {
  for (const section of [parts.answer, parts.authority])
    section.splice(0, Infinity, ...section.filter(({ type }) => !PROOFS.includes(type)));
}
/** Answers without signatures, and without anything of these types. */
const stripped: Upstream = question => {
  const reply = tree.answer(queryFor(question));
  if (reply === undefined) return undefined;
  const parts = takeApart(reply);
  withoutProofs(parts);
  return putTogether(parts);
};
const answersTo =
  (rcode: number): Upstream =>
  question => {
    const reply = responseTo(queryFor(question));
    reply.writeUInt16BE((flagsOf(reply) & ~15) | FLAG.QR | rcode, 2);
    return reply;
  };
const routerThat =
  (aboutValidation: Upstream): Upstream =>
  (question, upstream) =>
    (isForValidation(question) ? aboutValidation : stripped)(question, upstream);

/** What routers do to questions about DS and DNSKEY. */
const ROUTERS: Readonly<Record<string, Upstream>> = {
  'leaves signatures out': stripped,
  'knows no such types': routerThat(answersTo(RCODE.NOERROR)),
  'says that there is no root': routerThat(answersTo(RCODE.NXDOMAIN)),
  'answers SERVFAIL': routerThat(answersTo(RCODE.SERVFAIL)),
  'answers REFUSED': routerThat(answersTo(RCODE.REFUSED)),
  'answers NOTIMP': routerThat(answersTo(RCODE.NOTIMP)),
  'answers FORMERR': routerThat(answersTo(RCODE.FORMERR)),
  'never answers them': routerThat(() => undefined),
};

const prefers = (
  upstream: Upstream,
  upstreams = ['router'],
): Validating & { readonly clock: ReturnType<typeof fakeClock> } => {
  const clock = fakeClock(NOW_MS);
  return { ...validating({ anchors: tree.anchors, upstream, upstreams, clock, mode: 'prefer' }), clock };
};

for (const [what, router] of Object.entries(ROUTERS)) {
  await t.test(`a router that ${what}: the first name resolves, and so do all others, at once`, async t => {
    const world = prefers(router);
    t.equal(verdictOf(await world.ask('www.example.')), 'unchecked');
    t.equal(world.validations.strippers.stateOf(1), 'strips');
    t.match(world.log.lines, [/^warn: router leaves DNSSEC signatures out .* nothing is validated/]);
    const before = world.asked.length;
    t.equal(verdictOf(await world.ask('www.other.')), 'unchecked');
    t.equal(verdictOf(await world.ask('www.plain.')), 'unchecked');
    t.equal(world.asked.length, before + 2, 'nothing is asked for that the router does not give');
  });
}

await t.test('a server that passes signatures on is validated, though one zone lacks them or its keys', async t => {
  for (const aboutBad of [stripped, answersTo(RCODE.SERVFAIL)]) {
    const world = prefers((question, upstream) =>
      (question.includes('\x03bad\0') && (aboutBad === stripped || isForValidation(question)) ? aboutBad : truth)(
        question,
        upstream,
      ),
    );
    t.not(verdictOf(await world.ask('www.bad.')), 'unchecked');
    t.equal(world.validations.strippers.stateOf(1), 'ok');
    t.equal(verdictOf(await world.ask('www.example.')), 'secure');
    t.equal(verdictOf(await world.ask('www.plain.')), 'insecure');
  }
});

await t.test('an outage of the keys alone, with all else silent, is no router that strips', async t => {
  const world = prefers(question => (typeIn(question) === TYPE.A ? stripped(question, '') : undefined));
  t.equal(verdictOf(await world.ask('www.example.')), 'dnssec_indeterminate');
  t.equal(world.validations.strippers.stateOf(1), 'unknown');
});

await t.test('signatures that are there and wrong stay bogus, also behind a router that leaves out others', async t => {
  let honestToo = false;
  const world = prefers((question, upstream) => {
    if (!question.includes('\x04mail')) return (honestToo ? truth : stripped)(question, upstream);
    const parts = takeApart(tree.answer(queryFor(question)) ?? Buffer.alloc(0));
    parts.answer.forEach((each, i) => {
      if (each.type === TYPE.A) parts.answer[i] = { ...each, rdata: Buffer.from([192, 0, 2, 66]) };
    });
    return putTogether(parts);
  });
  t.equal(verdictOf(await world.ask('www.example.')), 'unchecked');
  honestToo = true;
  t.equal(verdictOf(await world.ask('mail.example.')), 'bogus');
});

await t.test(
  'another network, whose router strips: the first name resolves, though the keys of the root are known',
  async t => {
    let router: Upstream = truth;
    const world = prefers((question, upstream) => router(question, upstream));
    t.equal(verdictOf(await world.ask('www.example.')), 'secure');
    router = stripped;
    world.validations.forgetFailures();
    t.equal(verdictOf(await world.ask('mail.example.')), 'unchecked');
    router = truth;
    world.validations.forgetFailures();
    t.equal(verdictOf(await world.ask('www.other.')), 'secure', 'and back');
  },
);

await t.test(
  'a router that has learned to pass signatures on is noticed within minutes, beside a question',
  async t => {
    let router: Upstream = ROUTERS['never answers them'] ?? stripped;
    const world = prefers((question, upstream) => router(question, upstream));
    await world.ask('www.example.');
    router = stripped;
    await world.clock.advance(601_000);
    const before = world.asked.length;
    t.equal(verdictOf(await world.ask('www.other.')), 'unchecked', 'nobody waits');
    t.ok(world.asked.length > before + 1, 'it was asked for the keys');
    t.equal(world.validations.strippers.stateOf(1), 'strips');
    router = truth;
    await world.clock.advance(601_000);
    t.equal(verdictOf(await world.ask('mail.example.')), 'secure');
    t.equal(world.validations.strippers.stateOf(1), 'ok');
    t.match(world.log.lines.at(-1), 'router passes DNSSEC signatures on again');
  },
);

await t.test('of two servers the one that passes signatures on is asked, and the other only without it', async t => {
  const world = prefers(
    (question, upstream) => (upstream === 'router' ? stripped : truth)(question, upstream),
    ['router', 'good'],
  );
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
  const answer = await world.ask('www.other.');
  t.equal(verdictOf(answer), 'secure');
  t.equal(answer.at === 'answer' && answer.entry.upstream, 'good');
});

await t.test(
  'names resolve without validation rather than late: a second server that is dead is not waited for',
  async t => {
    const asked: string[] = [];
    const world = validating({
      anchors: tree.anchors,
      clock: fakeClock(NOW_MS),
      mode: 'prefer',
      upstreams: ['router', 'dead'],
      doubtful: ['dead'],
      upstream: (question, upstream) => {
        asked.push(upstream);
        return upstream === 'router' ? stripped(question, upstream) : undefined;
      },
    });
    t.equal(verdictOf(await world.ask('www.example.')), 'unchecked');
    t.equal(verdictOf(await world.ask('www.other.')), 'unchecked');
    t.notOk(asked.includes('dead'));
  },
);
