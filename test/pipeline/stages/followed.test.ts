// Conversations about aliases that servers have not followed: who is asked for their targets, what becomes of the answers,
// and what may be said about all of it together.

import t from 'tap';

import { failure, type Failure, failureRow } from '../../../src/base/outcome.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { recordFrom } from '../../../src/policy/local/record-text.js';
import { LocalTable } from '../../../src/policy/local/table.js';
import { nat64PrefixFrom } from '../../../src/policy/nat64.js';
import { FLAG, writeHeader } from '../../../src/wire/header.js';
import { nameToText } from '../../../src/wire/name.js';
import { TYPE, typeToText } from '../../../src/wire/rrtype.js';
import { fakeClock } from '../../fixtures/clock.js';
import { responseTo, type ResponseParts } from '../../fixtures/messages.js';
import { type Parts, putTogether, takeApart } from '../../fixtures/mutations.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, resolving, type Says } from '../../fixtures/resolving.js';
import { queryFor, signedTree } from '../../fixtures/signed-records.js';
import { type Upstream, validating, verdictOf } from '../../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const tree = signedTree(
  {
    '.': { text: '' },
    'example.': {
      text:
        'www.example. 300 A 192.0.2.80\nalias.example. 300 CNAME www.example.\nto.example. 300 CNAME www.other.\n' +
        'plain.example. 300 CNAME www.unsigned.\nnone.example. 300 CNAME nothing.other.\n' +
        'nas.example. 300 CNAME nas.home.arpa.\nonion.example. 300 CNAME abc.onion.\n' +
        'two.example. 300 CNAME nas.example.\nround.example. 300 CNAME a.lan.\n' +
        'split.example. 300 CNAME in.other.\n',
    },
    'other.': { text: 'www.other. 200 A 192.0.2.81\nback.other. 300 CNAME to.example.\n' },
    'unsigned.': {
      text: 'www.unsigned. 300 A 192.0.2.82\nalias.unsigned. 300 CNAME www.example.\nnas.unsigned. 300 CNAME nas.home.arpa.\n',
      unsigned: true,
    },
  },
  NOW_MS / 1000,
);

/** A server that says this about each name, and about others that they do not exist. */
const saying =
  (said: Readonly<Record<string, ResponseParts | string | Failure>>): Says =>
  (query, name) => {
    const about = said[name];
    if (about === undefined) return responseTo(query, { rcode: 3, authority: '. 300 SOA a. b. 1 1 1 1 60' });
    if (typeof about === 'string') return responseTo(query, { answers: about });
    return 'at' in about ? about : responseTo(query, about);
  };
const A = (name: string, ttl = 300): string => `${name} ${ttl} A 192.0.2.1`;
const alias = (from: string, to: string, ttl = 300): string => `${from} ${ttl} CNAME ${to}`;

function shown(outcome: Outcome | undefined): Readonly<Record<string, unknown>> {
  if (outcome === undefined) return {};
  if (outcome.at === 'failure') return { failure: outcome.code };
  const { octets, answers, authority, additional, rcode, ttlSec, verdict } = outcome.entry;
  const copy = Buffer.from(octets);
  writeHeader(copy, 0, FLAG.QR, { questions: 1, answers, authority, additional });
  const parts = takeApart(copy);
  return {
    ...{ rcode, ttlSec, verdict },
    question: nameToText(parts.question.subarray(0, -4)),
    answer: parts.answer.map(each => `${nameToText(each.owner)} ${typeToText(each.type)} ${each.ttlSec}`),
    authority: parts.authority.map(each => `${nameToText(each.owner)} ${typeToText(each.type)}`),
  };
}

await t.test('an alias alone is followed, and both answers are one, which is kept', t => {
  const { ask, upstream } = resolving(
    saying({ 'www.example.': alias('www.example.', 'a.round.', 200), 'a.round.': A('a.round.', 100) }),
  );
  const want = {
    ...{ rcode: 0, ttlSec: 100, verdict: 'unchecked', question: 'www.example.', authority: [] },
    answer: ['www.example. CNAME 200', 'a.round. A 100'],
  };
  t.same(shown(ask('www.example.')[0]), want);
  t.match(ask('www.example.')[0], { origin: 'cache' });
  t.same(shown(ask('WWW.example.')[0])['answer'], want.answer);
  t.same(upstream.asked, ['www.example.', 'a.round.']);
  t.end();
});

await t.test('while a target is waited for, the alias grows older', async t => {
  const { ask, upstream, clock } = resolving((query, name) =>
    name === 'a.round.' ? 'waits' : responseTo(query, { answers: alias('www.example.', 'a.round.', 20) }),
  );
  const outcomes = ask('www.example.');
  await clock.advance(3000);
  upstream.settle(saying({ 'a.round.': A('a.round.', 100) }));
  t.match(shown(outcomes[0]), { ttlSec: 17, answer: ['www.example. CNAME 17', 'a.round. A 100'] });
});

await t.test('chains over the answers of several servers', t => {
  const { ask, upstream } = resolving(
    saying({
      'www.example.': `${alias('www.example.', 'b.round.')}\n${alias('b.round.', 'c.round.')}`,
      'c.round.': 'round. 50 DNAME last.',
      'c.last.': { answers: alias('c.last.', 'none.other.'), authority: 'evil.round. 5 NS evil.round.' },
    }),
  );
  t.same(shown(ask('www.example.')[0]), {
    ...{ rcode: 3, ttlSec: 50, verdict: 'unchecked', question: 'www.example.', authority: ['. SOA'] },
    answer: [
      'www.example. CNAME 300',
      'b.round. CNAME 300',
      'round. DNAME 50',
      'c.round. CNAME 50',
      'c.last. CNAME 300',
    ],
  });
  t.same(upstream.asked, ['www.example.', 'c.round.', 'c.last.', 'none.other.']);
  t.end();
});

await t.test('the target has no data, or there is no answer about it', t => {
  const www = alias('www.example.', 'a.round.');
  const soa = 'round. 300 SOA a. b. 1 1 1 1 60';
  const about = (target: ResponseParts | Failure): Readonly<Record<string, unknown>> =>
    shown(resolving(saying({ 'www.example.': www, 'a.round.': target })).ask('www.example.')[0]);
  t.match(about({ authority: soa }), { rcode: 0, ttlSec: 60, authority: ['round. SOA'] });
  t.match(about({ rcode: 3, authority: soa }), { rcode: 3, ttlSec: 60, answer: ['www.example. CNAME 300'] });
  t.match(about({}), { rcode: 0, ttlSec: 0, answer: ['www.example. CNAME 300'] }, 'asked once, and not kept');
  for (const code of ['timeout', 'parse', 'connect'] as const) t.match(about(failure(code)), { failure: code });
  for (const rcode of [1, 2, 4, 5, 9])
    t.same(about({ rcode }), {
      ...{ rcode: 2, ttlSec: 0, verdict: 'unchecked', question: 'www.example.', answer: [], authority: [] },
    });
  t.end();
});

const circle = (aliases: number): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Array.from({ length: aliases }, (_, i) => [`a${i}.round.`, alias(`a${i}.round.`, `a${(i + 1) % aliases}.round.`)]),
  );

await t.test('aliases in a circle are SERVFAIL, never AD, whatever is validated', async t => {
  for (const aliases of [1, 2, 3, 16]) {
    const { ask, upstream } = resolving(saying(circle(aliases)));
    t.same(shown(ask('a0.round.')[0]), { failure: 'alias_loop' }, `${aliases}`);
    t.equal(upstream.asked.length, aliases, 'each is asked for once');
    t.same(new Set(upstream.asked).size, aliases);
    for (const mode of ['require', 'prefer', 'off', 'trust_ad'] as const) {
      const world = validating({
        ...{ anchors: tree.anchors, clock: fakeClock(NOW_MS), mode },
        upstream: question => {
          const answer = saying(circle(aliases))(queryFor(question), nameToText(question.subarray(0, -4)));
          if (!Buffer.isBuffer(answer)) return undefined;
          answer[3] = (answer[3] ?? 0) | FLAG.AD;
          return answer;
        },
      });
      t.equal(verdictOf(await world.ask('a0.round.')), 'alias_loop', mode);
    }
  }
  t.match(failureRow('alias_loop'), { rcode: 2, ede: 0 });
});

await t.test('circles and chains of which each server knows a part', t => {
  const parts: Readonly<Record<string, string>> = {
    'a.round.': alias('a.round.', 'b.round.'),
    'b.round.': `${alias('b.round.', 'a.round.')}\n${A('a.round.')}`,
  };
  // A name with data is no alias: only the data is passed on.
  t.same(shown(resolving(saying(parts)).ask('a.round.')[0])['answer'], ['a.round. A 300']);
  // Ten aliases by each of two servers.
  const chain = (from: number, aliases: number): string =>
    Array.from({ length: aliases }, (_, i) => alias(`a${from + i}.round.`, `a${from + i + 1}.round.`)).join('\n');
  const both = (first: number, second: number): Outcome | undefined =>
    resolving(
      saying({
        'a0.round.': chain(0, first),
        [`a${first}.round.`]: `${chain(first, second)}\n${A(`a${first + second}.round.`)}`,
      }),
    ).ask('a0.round.')[0];
  t.equal((shown(both(8, 8))['answer'] as unknown[]).length, 17);
  t.equal((shown(both(15, 1))['answer'] as unknown[]).length, 17);
  t.same(shown(both(10, 10)), { failure: 'alias_loop' });
  t.same(shown(both(16, 1)), { failure: 'alias_loop' });
  t.end();
});

await t.test('sixteen aliases, one by one, are followed; one more is a failure', t => {
  const one = (aliases: number): Outcome | undefined =>
    resolving(
      saying({
        ...Object.fromEntries(
          Array.from({ length: aliases }, (_, i) => [`a${i}.round.`, alias(`a${i}.round.`, `a${i + 1}.round.`)]),
        ),
        [`a${aliases}.round.`]: A(`a${aliases}.round.`),
      }),
    ).ask('a0.round.')[0];
  for (const aliases of [1, 2, 16]) t.equal((shown(one(aliases))['answer'] as unknown[]).length, aliases + 1);
  for (const aliases of [17, 18, 40]) t.same(shown(one(aliases)), { failure: 'alias_loop' });
  t.end();
});

await t.test('a record that both servers send is one record', t => {
  const dname = 'round. 50 DNAME last.';
  const { ask } = resolving(
    saying({
      'www.round.': dname,
      'www.last.': `${alias('www.last.', 'x.round.')}\n${dname}\n${A('x.last.')}`,
    }),
  );
  t.same(shown(ask('www.round.')[0])['answer'], [
    'round. DNAME 50',
    'www.round. CNAME 50',
    'www.last. CNAME 300',
    'x.round. CNAME 50',
    'x.last. A 300',
  ]);
  t.end();
});

await t.test('an alias of a route leads into another route, or out of all: the right server is asked', t => {
  const local = fakeUpstream(
    saying({ 'www.lan.': alias('www.lan.', 'a.home.'), 'out.lan.': alias('out.lan.', 'a.round.') }),
    3,
  );
  const home = fakeUpstream(saying({ 'a.home.': alias('a.home.', 'b.round.') }), 4);
  const { ask, upstream, settings } = resolving(saying({ 'a.round.': A('a.round.'), 'b.round.': A('b.round.') }));
  settings.routes = [
    { zones: [wireName('lan.')], kubernetes: false, upstream: () => local },
    { zones: [wireName('home.')], kubernetes: false, upstream: () => home },
  ];
  t.same(shown(ask('www.lan.')[0])['answer'], ['www.lan. CNAME 300', 'a.home. CNAME 300', 'b.round. A 300']);
  t.same([local.asked, home.asked, upstream.asked], [['www.lan.'], ['a.home.'], ['b.round.']]);
  t.same(shown(ask('out.lan.')[0])['answer'], ['out.lan. CNAME 300', 'a.round. A 300']);
  t.same([local.asked.length, home.asked.length, upstream.asked], [2, 1, ['b.round.', 'a.round.']]);
  t.match(ask('www.lan.')[0], { origin: 'cache' });
  t.end();
});

/** A server that tells the truth, but follows no alias. */
const forgetful =
  (change: (parts: Parts, name: string) => unknown = () => undefined): Upstream =>
  question => {
    const name = nameToText(question.subarray(0, -4));
    const message = tree.answer(queryFor(question));
    if (message === undefined) return undefined;
    const parts = takeApart(message);
    const own = parts.answer.filter(({ owner }) => owner.equals(wireName(name)));
    if (own.some(({ type }) => type === TYPE.CNAME)) {
      parts.answer.splice(0, Infinity, ...own);
      parts.authority.splice(0);
      parts.rcode = 0;
    }
    change(parts, name);
    return putTogether(parts);
  };
/** The address at the end is another one. */
const forged = (parts: Parts): void =>
  parts.answer.forEach((each, i) => {
    if (each.type === TYPE.A) parts.answer[i] = { ...each, rdata: Buffer.from([192, 0, 2, 66]) };
  });
const misled = (parts: Parts, name: string): void =>
  parts.answer.forEach((each, i) => {
    if (each.type === TYPE.CNAME && name !== 'www.other.') parts.answer[i] = { ...each, rdata: wireName('www.other.') };
  });
const strip = (parts: Parts, name: string): void =>
  void (
    name.startsWith('www') &&
    parts.answer.splice(0, Infinity, ...parts.answer.filter(({ type }) => type !== TYPE.RRSIG))
  );

await t.test('the whole chain has one verdict: secure only if each link is', async t => {
  const verdict = async (name: string, upstream = forgetful(), type = 'A'): Promise<string> => {
    const world = validating({ anchors: tree.anchors, upstream, clock: fakeClock(NOW_MS) });
    return verdictOf(await world.ask(name, type));
  };
  t.equal(await verdict('alias.example.'), 'secure');
  t.equal(await verdict('to.example.'), 'secure');
  t.equal(await verdict('back.other.'), 'secure', 'two aliases');
  t.equal(await verdict('none.example.'), 'secure', 'a denial at the end');
  t.equal(await verdict('to.example.', forgetful(), 'AAAA'), 'secure', 'no data at the end');
  t.equal(await verdict('plain.example.'), 'insecure');
  t.equal(await verdict('alias.unsigned.'), 'insecure');
  for (const name of ['alias.example.', 'to.example.', 'back.other.'])
    t.equal(await verdict(name, forgetful(forged)), 'bogus', `${name} forged at the end`);
  t.equal(await verdict('alias.example.', forgetful(misled)), 'bogus', 'a forged alias');
  t.equal(await verdict('to.example.', forgetful(strip)), 'rrsigs_missing');
  t.equal(await verdict('plain.example.', forgetful(forged)), 'insecure', 'nobody has signed it');
});

/** What such a server says in the whole pipeline. */
const said =
  (server: Upstream): Says =>
  (query, name) => {
    const message = server(query.subarray(12, 12 + wireName(name).length + 4), '');
    return Buffer.isBuffer(message) ? message : 'waits';
  };

/** Names of a network that are answered here. */
function tableOf(...records: readonly string[]): LocalTable {
  const table = new LocalTable();
  for (const text of records) {
    const read = recordFrom(text);
    if (read.at === 'record') table.addRecord(read.record);
  }
  return table;
}

for (const mode of ['require', 'prefer', 'off'] as const)
  for (const isRouted of [false, true])
    await t.test(
      `a name that is answered here leaves for nobody by an alias of others: ${mode}${isRouted ? ', a validated route' : ''}`,
      async t => {
        const clock = fakeClock(NOW_MS);
        const world = resolving(said(forgetful()), { anchors: tree.anchors, clock });
        world.settings.mode = mode;
        world.settings.localNames = tableOf(
          'nas.home.arpa. A 192.168.1.5',
          'in.other. A 192.168.1.8',
          'a.lan. CNAME round.example.',
        );
        const upstream = () => world.upstream;
        if (isRouted)
          world.settings.routes = [{ zones: [wireName('example.')], kubernetes: false, validated: true, upstream }];
        await clock.advance(0);
        const ask = async (name: string, type = 'A'): Promise<Readonly<Record<string, unknown>>> => {
          const outcomes = world.ask(name, { type });
          await clock.advance(100);
          return shown(outcomes[0]);
        };
        for (const which of ['asked', 'asked once more']) {
          const found = await ask('nas.example.');
          const records = found['answer'] as readonly string[];
          t.match(found, { rcode: 0, verdict: 'unchecked' }, 'nobody has validated the end');
          t.same(
            records.filter(each => !each.includes('RRSIG')),
            ['nas.example. CNAME 300', 'nas.home.arpa. A 300'],
            which,
          );
        }
        t.match(await ask('two.example.'), { rcode: 0 });
        t.match(await ask('onion.example.'), { rcode: 3 });
        t.match(await ask('split.example.'), { rcode: 0 }, 'a name of ours in a zone of others');
        t.match(await ask('nas.unsigned.'), { rcode: 0 });
        t.match(await ask('round.example.'), { failure: 'alias_loop' });
        world.settings.localNames = tableOf('nas.home.arpa. A 192.168.1.6', 'a.lan. A 192.168.1.7');
        t.match(await ask('nas.example.', 'AAAA'), { rcode: 0 });
        const ours = world.upstream.asked.filter(name => /(arpa|onion|lan|other)\.$/.test(name));
        t.same(ours, [], 'neither it nor its chain of trust');
      },
    );

await t.test('an alias that leads here is validated itself', async t => {
  const clock = fakeClock(NOW_MS);
  const says = said(forgetful(misled));
  const asked = async (change: Says): Promise<unknown> => {
    const world = resolving(change, { anchors: tree.anchors, clock });
    world.settings.localNames = tableOf('www.other. A 192.168.1.5', 'nas.home.arpa. A 192.168.1.5');
    await clock.advance(0);
    const outcomes = world.ask('nas.example.');
    await clock.advance(100);
    return shown(outcomes[0])['failure'];
  };
  t.equal(await asked(says), 'bogus', 'a forged one that leads to another name which is answered here');
  const unsigned: Says = (query, name) =>
    name === 'nas.example.' ? responseTo(query, { answers: alias(name, 'nas.home.arpa.') }) : says(query, name);
  t.equal(await asked(unsigned), 'rrsigs_missing');
});

await t.test('what is secure is the whole chain, with its signatures', async t => {
  const world = validating({ anchors: tree.anchors, upstream: forgetful(), clock: fakeClock(NOW_MS) });
  t.match(shown(await world.ask('back.other.')), {
    ...{ verdict: 'secure', ttlSec: 200, question: 'back.other.' },
    answer: [
      'back.other. CNAME 300',
      'back.other. RRSIG 300',
      'to.example. CNAME 300',
      'to.example. RRSIG 300',
      'www.other. A 200',
      'www.other. RRSIG 200',
    ],
  });
  const names = world.asked
    .filter(each => each.startsWith('1 '))
    .map(each => nameToText(Buffer.from(each.slice(2), 'latin1')));
  t.same(names, ['back.other.', 'to.example.', 'www.other.']);
});

await t.test('trust_ad: AD only if both servers have set it, and never for an error', async t => {
  const world = (ad: readonly string[], rcode = 0) =>
    validating({
      ...{ anchors: tree.anchors, clock: fakeClock(NOW_MS), mode: 'trust_ad' },
      upstream: question => {
        const name = nameToText(question.subarray(0, -4));
        const answers = name === 'www.example.' ? alias('www.example.', 'a.round.') : A(name);
        const flags = ad.includes(name) ? FLAG.AD : 0;
        return responseTo(queryFor(question), rcode === 0 ? { answers, flags } : { rcode, flags });
      },
    });
  t.equal(verdictOf(await world(['www.example.', 'a.round.']).ask('www.example.')), 'secure');
  t.equal(verdictOf(await world(['www.example.']).ask('www.example.')), 'unchecked');
  t.equal(verdictOf(await world(['a.round.']).ask('www.example.')), 'unchecked');
  t.equal(verdictOf(await world(['a.round.']).ask('a.round.')), 'secure');
  for (const rcode of [1, 2, 5]) t.equal(verdictOf(await world(['a.round.'], rcode).ask('a.round.')), 'unchecked');
});

/** What a server says that gives each alias alone. */
const ALIASES = saying({
  'pub.example.': alias('pub.example.', 'b.lan.'),
  'far.example.': alias('far.example.', 'pub.example.'),
  'inv.example.': alias('inv.example.', 'foo.invalid.'),
  'real.example.': A('real.example.', 200),
  'other.example.': A('other.example.', 100),
});
const answersTo = (outcome: Outcome | undefined): unknown => shown(outcome)['answer'];

await t.test('what a name of this network is part of counts at once when it changes, also in the middle', t => {
  const { ask, settings, answers, resolver } = resolving(ALIASES);
  settings.localNames = tableOf('b.lan. CNAME real.example.');
  for (const time of ['first', 'again']) {
    const [outcome] = ask('pub.example.');
    t.same(answersTo(outcome), ['pub.example. CNAME 300', 'b.lan. CNAME 300', 'real.example. A 200'], time);
    t.match(outcome, { origin: 'upstream', mayBeKeptReady: false, entry: { ttlSec: 0 } });
  }
  settings.localNames = tableOf('b.lan. CNAME other.example.');
  resolver.forgetAliasLoops();
  t.same(answersTo(ask('pub.example.')[0]), ['pub.example. CNAME 300', 'b.lan. CNAME 300', 'other.example. A 100']);
  settings.localNames = tableOf('b.lan. A 192.168.1.5');
  t.same(answersTo(ask('far.example.')[0]), ['far.example. CNAME 300', 'pub.example. CNAME 300', 'b.lan. A 300']);
  // Those of servers only: b.lan is none.
  t.equal(answers.entries, 2);
  settings.localNames = tableOf();
  t.match(shown(ask('b.lan.')[0]), { rcode: 3, answer: [] });
  t.end();
});

await t.test('an alias that leads here is asked for once in its TTL', async t => {
  const { ask, look, settings, upstream, clock } = resolving(ALIASES);
  settings.localNames = tableOf('b.lan. A 192.168.1.5');
  t.match(look('inv.example.'), { at: 'servers' });
  t.match(ask('inv.example.')[0], { origin: 'upstream' });
  await clock.advance(100_000);
  const [again] = ask('inv.example.');
  t.match(shown(again), { rcode: 3, ttlSec: 0, answer: ['inv.example. CNAME 200'], authority: ['invalid. SOA'] });
  t.match(again, { origin: 'cache', mayBeKeptReady: false });
  t.match(look('inv.example.'), { at: 'cache', leftSec: 200, outcome: { entry: { rcode: 3 } } });
  t.match(shown(ask('inv.example.', { type: 'AAAA' })[0]), { rcode: 3 }, 'whatever the type');
  t.same(upstream.asked, ['inv.example.']);
  // Over two aliases: the name counts as it is now.
  ask('far.example.');
  settings.localNames = tableOf('b.lan. A 192.168.1.6');
  const [far] = ask('far.example.');
  t.same(answersTo(far), ['far.example. CNAME 300', 'pub.example. CNAME 300', 'b.lan. A 300']);
  t.ok(far?.at === 'answer' && far.entry.octets.includes(Buffer.of(192, 168, 1, 6)));
  t.same(upstream.asked, ['inv.example.', 'far.example.', 'pub.example.']);
  ask('inv.example.', { refresh: true });
  t.equal(upstream.asked.length, 4, 'a refresh asks');
  await clock.advance(301_000);
  ask('inv.example.');
  t.equal(upstream.asked.length, 5, 'so does the first question after its TTL');
  t.end();
});

await t.test('a kept alias that leads here no more is asked for', t => {
  const { ask, settings, upstream } = resolving(ALIASES);
  settings.localNames = tableOf('b.lan. A 192.168.1.5');
  ask('pub.example.');
  settings.localNames = tableOf();
  t.match(shown(ask('pub.example.')[0]), { rcode: 3 });
  t.same(upstream.asked, ['pub.example.', 'pub.example.', 'b.lan.']);
  t.end();
});

await t.test('a verdict holds no longer than that of each part: what expires is not AD afterwards', async t => {
  const clock = fakeClock(NOW_MS);
  const world = resolving(said(forgetful()), { anchors: tree.anchors, clock });
  world.settings.localNames = tableOf('nas.home.arpa. A 192.168.1.5');
  world.settings.routes = [
    { zones: [wireName('example.')], kubernetes: false, validated: true, upstream: () => world.upstream },
  ];
  world.settings.stale = { ...world.settings.stale, mostSec: 40 * 86_400 };
  await clock.advance(0);
  const ask = async (name: string, type: string): Promise<string> => {
    const outcomes = world.ask(name, { type });
    await clock.advance(100);
    const [outcome] = outcomes;
    return outcome?.at === 'answer' ? `${outcome.origin} ${outcome.entry.verdict}` : `${outcome?.code}`;
  };
  t.equal(await ask('to.example.', 'A'), 'upstream secure');
  await ask('nas.example.', 'A');
  t.equal(await ask('to.example.', 'A'), 'cache secure');
  t.equal(await ask('nas.example.', 'CNAME'), 'cache secure');
  world.upstream.says = () => failure('closed');
  await clock.advance(86_400_000);
  t.equal(await ask('to.example.', 'A'), 'stale secure');
  t.equal(await ask('nas.example.', 'CNAME'), 'stale secure');
  await clock.advance(34 * 86_400_000);
  t.equal(await ask('to.example.', 'A'), 'stale unchecked', 'a chain');
  t.equal(await ask('nas.example.', 'CNAME'), 'stale unchecked', 'a kept alias');
});

await t.test('a local name that changes ends failures by circles over it, and no others', async t => {
  const { ask, settings, upstream, resolver, clock } = resolving(ALIASES);
  settings.localNames = tableOf('b.lan. CNAME pub.example.');
  t.match(shown(ask('real.example.')[0]), { rcode: 0 });
  await clock.advance(201_000);
  t.same(shown(ask('pub.example.')[0]), { failure: 'alias_loop' });
  upstream.says = () => failure('parse');
  t.same(shown(ask('dead.example.')[0]), { failure: 'parse' });
  t.match(ask('real.example.'), [{ origin: 'stale' }]);
  upstream.says = ALIASES;
  const asked = upstream.asked.length;
  settings.localNames = tableOf('b.lan. A 192.168.1.5');
  resolver.forgetAliasLoops();
  t.same(shown(ask('dead.example.')[0]), { failure: 'parse' });
  t.match(ask('real.example.'), [{ origin: 'stale' }], 'nor are servers asked again that have not answered');
  t.equal(upstream.asked.length, asked);
  t.same(answersTo(ask('pub.example.')[0]), ['pub.example. CNAME 300', 'b.lan. A 300']);
});

await t.test('names of made addresses, to which an alias leads, leave for nobody', async t => {
  const clock = fakeClock(NOW_MS);
  const address = `${'0.'.repeat(30)}d.f.ip6.arpa.`;
  for (const made of [address, `1.${address.slice(2)}`]) {
    const world = resolving(saying({ 'ptr.example.': alias('ptr.example.', made) }), { clock });
    world.settings.mode = 'prefer';
    world.settings.nat64 = nat64PrefixFrom('fd00::/96');
    await clock.advance(0);
    const outcomes = world.ask('ptr.example.', { type: 'PTR' });
    await clock.advance(100);
    t.match(shown(outcomes[0]), { rcode: 3, answer: ['ptr.example. CNAME 300'] });
    t.same(
      world.upstream.asked.filter(name => name.endsWith('f.ip6.arpa.')),
      [],
    );
  }
});
