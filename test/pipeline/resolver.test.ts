// Conversations with the whole pipeline: what is asked of upstream, what is kept, and what a reload changes.

import t from 'tap';

import { failure, FAILURES, type FailureCode } from '../../src/base/outcome.js';
import { HOLDS } from '../../src/cache/failures.js';
import type { Outcome } from '../../src/pipeline/answer.js';
import type { RouteTarget } from '../../src/pipeline/stages/routed.js';
import { nat64PrefixFrom } from '../../src/policy/nat64.js';
import { LocalTable } from '../../src/policy/local/table.js';
import { FLAG } from '../../src/wire/header.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { putTogether, takeApart } from '../fixtures/mutations.js';
import { fakeUpstream, resolving, type Says } from '../fixtures/resolving.js';
import { wireName } from '../fixtures/records.js';
import { signedTree } from '../fixtures/signed-records.js';

const good: Says = (query, name) => responseTo(query, { answers: `${name} 300 A 192.0.2.1` });
const rcode =
  (code: number): Says =>
  query =>
    responseTo(query, { rcode: code });
const failing =
  (code: FailureCode): Says =>
  () =>
    failure(code, 'as it happened');
const codeOf = (outcome: Outcome | undefined): string | undefined =>
  outcome?.at === 'failure' ? outcome.code : outcome && `rcode ${outcome.entry.rcode}`;

const NOW_MS = Date.UTC(2026, 2, 1);
const tree = signedTree({ '.': { text: '' }, 'example.': { text: 'www.example. 300 A 192.0.2.80\n' } }, NOW_MS / 1000);
const signed: Says = query => tree.answer(query) ?? failure('timeout');
/** Signed by nobody. */
const forged: Says = (query, name) => {
  const message = tree.answer(query);
  if (message === undefined) return failure('timeout');
  const parts = takeApart(message);
  if (name !== 'www.example.') return message;
  parts.answer.forEach((each, i) => {
    if (each.type === TYPE.A) parts.answer[i] = { ...each, rdata: Buffer.from([192, 0, 2, 66]) };
  });
  return putTogether(parts);
};
const validating = (says: Says) => resolving(says, { anchors: tree.anchors, clock: fakeClock(NOW_MS) });

await t.test('RFC 9520: a name that fails is asked once, however often it is repeated within a second', async t => {
  for (const [what, says] of [
    ['timeout', failing('timeout')],
    ['parse', failing('parse')],
    ['rcode 2', rcode(2)],
    // An error of the server is SERVFAIL for the client.
    ['rcode 2', rcode(5)],
  ] as const) {
    const { ask, upstream, clock } = resolving(says);
    for (let i = 0; i < 20; i++) {
      t.equal(codeOf(ask('www.example')[0]), what);
      await clock.advance(45);
    }
    t.equal(upstream.asked.length, 1, what);
    await clock.advance(200);
    ask('www.example');
    t.equal(upstream.asked.length, 2, `${what}: asked again a second later`);
  }
  const { ask, upstream } = validating(forged);
  t.equal(codeOf(ask('www.example')[0]), 'bogus');
  const { length } = upstream.asked;
  for (let i = 0; i < 20; i++) t.equal(codeOf(ask('www.example')[0]), 'bogus');
  t.equal(upstream.asked.length, length);
});

await t.test('the pause doubles with each failure in a row, up to half a minute, and ends with an answer', async t => {
  const { ask, upstream, clock, settings } = resolving(rcode(2));
  const asks: number[] = [];
  for (let i = 0; i < 160; i++) {
    const before = upstream.asked.length;
    ask('www.example');
    if (upstream.asked.length > before) asks.push(i);
    await clock.advance(500);
  }
  t.same(
    asks.map((at, i) => (at - (asks[i - 1] ?? 0)) / 2),
    [0, 1, 2, 4, 8, 16, 30],
  );
  await clock.advance(30_000);
  upstream.says = good;
  t.equal(codeOf(ask('www.example')[0]), 'rcode 0');
  await clock.advance(301_000);
  settings.stale = { ...settings.stale, mostSec: 0 };
  upstream.says = rcode(2);
  const before = upstream.asked.length;
  ask('www.example');
  await clock.advance(1100);
  ask('www.example');
  t.equal(upstream.asked.length, before + 2, 'back to a second');
});

await t.test('a failure that speaks of the network or of this program is never kept', async t => {
  const codes = (Object.keys(FAILURES) as FailureCode[]).filter(code => HOLDS[code] === undefined);
  t.ok(codes.includes('connect') && codes.includes('handed_back') && codes.includes('not_ready'));
  for (const code of codes) {
    const { ask, upstream } = resolving(failing(code));
    t.equal(codeOf(ask('www.example')[0]), code);
    upstream.says = good;
    t.equal(codeOf(ask('www.example')[0]), 'rcode 0', `${code}: used at once`);
  }
});

await t.test('a kept failure is a failure, with its own words, and says that it was kept', async t => {
  const { ask } = validating(forged);
  const [first] = ask('www.example');
  const [second] = ask('www.example');
  t.match(first, { at: 'failure', code: 'bogus', cached: undefined });
  t.same(second, { ...failure('bogus', first?.at === 'failure' ? first.detail : ''), cached: true });
  const refused = resolving(rcode(5));
  refused.ask('www.example');
  t.match(refused.ask('www.example')[0], { at: 'answer', origin: 'cache', entry: { rcode: 2, upstream: 'server 1' } });
});

await t.test('a refresh that fails or is bogus leaves the good answer as it is', async t => {
  for (const says of [failing('timeout'), failing('connect'), rcode(2), forged]) {
    const { ask, upstream } = validating(signed);
    t.match(ask('www.example')[0], { origin: 'upstream', entry: { verdict: 'secure' } });
    upstream.says = says;
    t.not(codeOf(ask('www.example', { refresh: true })[0]), 'rcode 0');
    t.match(ask('www.example')[0], { origin: 'cache', entry: { verdict: 'secure', rcode: 0 } });
  }
});

await t.test('on another network nothing is left of what failed, not even of what was asked before', async t => {
  const { ask, upstream, resolver } = validating(forged);
  t.equal(codeOf(ask('www.example')[0]), 'bogus');
  resolver.forgetFailures();
  upstream.says = signed;
  t.match(ask('www.example')[0], { origin: 'upstream', entry: { verdict: 'secure' } });

  const late = resolving(() => 'waits');
  const outcomes = late.ask('www.example');
  late.resolver.forgetFailures();
  late.upstream.settle(failure('timeout'));
  t.equal(codeOf(outcomes[0]), 'timeout');
  late.upstream.says = good;
  t.equal(codeOf(late.ask('www.example')[0]), 'rcode 0');
});

await t.test('leaving a network whose router strips signatures: signed names are secure at once', async t => {
  const stripped: Says = (query, name) => {
    const parts = takeApart(signed(query, name) as Buffer);
    for (const section of [parts.answer, parts.authority])
      section.splice(0, Infinity, ...section.filter(({ type }) => type !== TYPE.RRSIG && type !== TYPE.NSEC));
    return putTogether(parts);
  };
  const { ask, upstream, resolver, validations } = validating(stripped);
  t.equal(codeOf(ask('www.example')[0]), 'rrsigs_missing');
  t.equal(validations.strippers.stateOf(1), 'strips');
  resolver.forgetFailures();
  t.equal(validations.strippers.stateOf(1), 'unknown');
  upstream.says = signed;
  t.match(ask('www.example')[0], { entry: { verdict: 'secure' } });
  t.equal(validations.strippers.stateOf(1), 'ok');
});

await t.test('flushing a name forgets its failure', async t => {
  const { ask, upstream, failures } = resolving(rcode(2));
  ask('www.example');
  failures.forget(name => name === '\x03www\x07example\0');
  ask('www.example');
  t.equal(upstream.asked.length, 2);
});

await t.test('without RD nothing is fetched, and only access.snoop may look, at answers alone', async t => {
  const { ask, upstream, settings } = resolving(good);
  ask('www.example');
  upstream.says = rcode(2);
  ask('bad.example');
  const look = (name: string): string | undefined => codeOf(ask(name, { flags: 0 })[0]);
  t.same([look('www.example'), look('bad.example'), look('new.example')], ['not_cached', 'not_cached', 'not_cached']);
  settings.mayLook = true;
  t.same([look('www.example'), look('bad.example'), look('new.example')], ['rcode 0', 'not_cached', 'not_cached']);
  t.equal(upstream.asked.length, 2);
});

await t.test('while the portal window is open its names go to the network, and their answers are not kept', async t => {
  const { ask, upstream, network, portal } = resolving(good);
  ask('login.portal');
  portal.start(60_000, [], { by: 'command' });
  t.match(ask('login.portal')[0], { origin: 'portal', source: 'upstream', mayBeKeptReady: false });
  t.same([upstream.asked.length, network.asked.length], [1, 1]);
  ask('www.example');
  t.same([upstream.asked.length, network.asked.length], [2, 1]);
  portal.stop();
  t.match(ask('login.portal')[0], { origin: 'cache', entry: { upstream: 'server 1' } });
});

await t.test('what the portal resolvers hand back is asked of others, but at the end', async t => {
  const { ask, upstream, network, portal } = resolving(good);
  network.says = () => 'waits';
  portal.start(60_000, [], { by: 'command' });
  const outcomes = ask('login.portal');
  portal.stop();
  network.settle(failure('handed_back'));
  t.match(outcomes, [{ origin: 'upstream' }], 'the window has closed meanwhile');
  t.equal(upstream.asked.length, 1);
  portal.start(60_000, [], { by: 'command' });
  const last = ask('login.portal');
  network.settle(failure('handed_back'));
  t.same(last.map(codeOf), ['handed_back'], 'the window is open, and nobody else is to be asked');
});

await t.test('what was asked before answers were forgotten is given, and kept nowhere', async t => {
  let message: Buffer | undefined;
  const { ask, upstream, answers } = resolving((query, name) => {
    message = good(query, name) as Buffer;
    return 'waits';
  });
  const settled = (): Buffer => {
    if (message === undefined) throw new Error('nothing was asked');
    return message;
  };
  const late = ask('www.example');
  answers.forget(() => true);
  upstream.settle(settled());
  t.match(late, [{ origin: 'upstream', entry: { rcode: 0 }, mayBeKeptReady: false }]);
  t.equal(answers.entries, 0);
  const next = ask('www.example');
  upstream.settle(settled());
  t.match(next, [{ origin: 'upstream', mayBeKeptReady: true }]);
  t.equal(answers.entries, 1);
});

await t.test('what a reload changes holds for the next question: routes, TTLs, the mode of validation', async t => {
  const { ask, upstream, settings } = validating(forged);
  const home = fakeUpstream(good, 3);
  settings.routes = [{ zones: [Buffer.from('\x07example\0')], kubernetes: false, upstream: () => home }];
  settings.ttlLimits = { minSec: 0, maxSec: 5, negativeMaxSec: 5 };
  t.match(ask('www.example')[0], { origin: 'route', entry: { upstream: 'server 3', ttlSec: 5 } });
  t.equal(upstream.asked.length, 0);
  settings.routes = [];
  settings.mode = 'off';
  t.match(ask('www.example', { type: 'AAAA' })[0], {
    at: 'answer',
    origin: 'upstream',
    entry: { verdict: 'unchecked' },
  });
  settings.mode = 'require';
  t.equal(codeOf(ask('www.example', { refresh: true })[0]), 'bogus');
  settings.mode = 'off';
  t.equal(codeOf(ask('www.example', { flags: FLAG.RD | FLAG.CD })[0]), 'rcode 0');
});

/** What becomes of questions in flight when their route leaves. */
function leaving(isValidated: boolean) {
  const world = resolving(() => 'waits');
  const home = fakeUpstream(() => 'waits', 3);
  const { settings, upstream } = world;
  const route = (...zones: readonly string[]): RouteTarget => ({
    ...{ zones: zones.map(wireName), kubernetes: false, validated: isValidated, upstream: () => home },
  });
  settings.localNames = new LocalTable([wireName('lan').toString('latin1')]);
  settings.routes = [route('10.in-addr.arpa', 'home.arpa', 'local', 'corp.lan', 'corp.example')];
  /** Asks, and changes the routes while the question is on its way. */
  const leave = (
    name: string,
    type = 'A',
    after: readonly string[] = [],
  ): { word: string | undefined; publicly: number } => {
    const before = settings.routes;
    const outcomes = world.ask(name, { type });
    const asked = upstream.asked.length;
    settings.routes = after.length === 0 ? [] : [route(...after)];
    (isValidated ? upstream : home).settle(failure('handed_back'));
    const publicly = upstream.asked.length - asked;
    settings.routes = before;
    upstream.settle(failure('timeout'));
    home.settle(failure('timeout'));
    return { word: codeOf(outcomes[0]), publicly };
  };
  return { ...world, leave };
}

for (const isValidated of [false, true])
  await t.test(
    `a route leaves: what is answered here then begins anew, and goes nowhere (validated: ${isValidated})`,
    async t => {
      const { leave, settings, ask, upstream } = leaving(isValidated);
      const stays = { word: 'rcode 3', publicly: 0 };
      t.same(leave('1.0.0.10.in-addr.arpa', 'PTR'), stays);
      t.same(leave('printer.home.arpa'), stays);
      t.same(leave('tv.local'), stays);
      t.same(leave('wiki.corp.lan'), stays, 'an own zone');
      t.same(leave('camera.home.arpa', 'A', ['.']), stays, 'a route of all names knows none');
      t.same(
        leave('www.corp.example'),
        { word: 'timeout', publicly: 1 },
        'other names are asked of the servers of now',
      );
      settings.forwarded = [wireName('home.arpa')];
      t.same(leave('scanner.home.arpa'), { word: 'timeout', publicly: 1 }, 'one that is forwarded, too');
      settings.forwarded = [];
      settings.routes = [];
      const asked = upstream.asked.length;
      t.match(ask('printer.home.arpa')[0], { origin: 'local', entry: { rcode: 3 } }, 'the client asks again');
      t.equal(upstream.asked.length, asked);
    },
  );

await t.test(
  'a route leaves: no stage that has something else to give keeps the question from beginning anew',
  async t => {
    const { ask, upstream, clock, settings } = resolving(good);
    const home = fakeUpstream(good, 3);
    const routes = [{ zones: [wireName('example')], kubernetes: false, upstream: () => home }];
    settings.routes = routes;
    ask('www.example');
    await clock.advance(301_000);
    home.says = () => 'waits';
    const refreshed = ask('www.example');
    settings.routes = [];
    home.settle(failure('handed_back'));
    t.match(refreshed, [{ origin: 'upstream' }], 'no stale answer');

    settings.nat64 = nat64PrefixFrom('64:ff9b::/96');
    settings.routes = routes;
    const empty: Says = query => responseTo(query, {});
    home.says = query => (query.readUInt16BE(query.indexOf(0, 12) + 1) === TYPE.AAAA ? empty(query, '') : 'waits');
    upstream.says = (query, name) =>
      query.readUInt16BE(query.indexOf(0, 12) + 1) === TYPE.AAAA ? empty(query, name) : good(query, name);
    const made = ask('new.example', { type: 'AAAA' });
    settings.routes = [];
    home.settle(failure('handed_back'));
    t.match(made, [{ entry: { answers: 1 } }], 'not the empty answer of before');
  },
);

await t.test('an alias that was asked for before answers were forgotten is kept nowhere', async t => {
  const { ask, answers, settings } = resolving(good);
  const says: Says = (query, name) =>
    responseTo(query, {
      answers: name === 'www.example.' ? `${name} 300 CNAME x.example.` : `${name} 300 A 192.0.2.1`,
    });
  const home = fakeUpstream(() => 'waits', 3);
  settings.routes = [{ zones: [wireName('example')], kubernetes: false, upstream: () => home }];
  const late = ask('www.example');
  answers.forget(() => true);
  home.says = says;
  home.settle(says);
  t.match(late, [{ at: 'answer', entry: { answers: 2 } }]);
  t.equal(answers.entries, 0);
  ask('www.example');
  t.ok(answers.entries > 1, 'it is of the next question');
});

await t.test('a lookup of before zones were forgotten is not waited for by who comes after', async t => {
  const { ask, upstream, validations } = validating((query, name) =>
    name === '.' || name === 'example.' ? 'waits' : signed(query, name),
  );
  const lookups = (): number => upstream.asked.filter(each => each === '.').length;
  ask('www.example');
  const first = lookups();
  t.ok(first > 0);
  ask('www.example', { type: 'AAAA' });
  t.equal(lookups(), first, 'one at a time');
  validations.forget(() => true);
  ask('www.example', { type: 'TXT' });
  t.equal(lookups(), 2 * first);
});
