// Expired answers while no server answers (RFC 8767), and answers that are refreshed before they expire.

import t from 'tap';

import { failure, RCODE } from '../../../src/base/outcome.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { queryMessage } from '../../fixtures/client.js';
import { responseTo } from '../../fixtures/messages.js';
import { fakeClock } from '../../fixtures/clock.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, resolving, type Resolving, type Says } from '../../fixtures/resolving.js';
import { signedTree } from '../../fixtures/signed-records.js';
import { putTogether, takeApart } from '../../fixtures/mutations.js';

const OK: Says = (query, name) => responseTo(query, { answers: `${name} 60 A 192.0.2.1` });
const down = failure('connect');
const answerNow = responseTo(queryMessage('www.example'), { answers: 'www.example. 60 A 192.0.2.1' });
const DOWN: Says = () => down;

/** Origin, extended errors and TTLs of an outcome. */
function told(outcomes: readonly Outcome[]): string {
  return outcomes
    .map(each => {
      if (each.at === 'failure') return each.code;
      const { entry, origin } = each;
      const ttls = takeApart(wholeOf(each)).answer.map(({ ttlSec }) => ttlSec);
      return [origin, ...entry.extendedErrors.map(({ infoCode }) => `EDE ${infoCode}`), ...ttls].join(' ');
    })
    .join(', ');
}
function wholeOf(outcome: Outcome): Buffer {
  if (outcome.at === 'failure') return Buffer.alloc(0);
  const octets = Buffer.from(outcome.entry.octets);
  octets.writeUInt16BE(outcome.entry.answers, 6);
  octets.writeUInt16BE(outcome.entry.authority, 8);
  return octets;
}
async function kept(says: Says = OK): Promise<Resolving> {
  const world = resolving(says);
  world.ask('www.example');
  await world.clock.advance(61_000);
  return world;
}

await t.test('a server that fails: the expired answer, at once, with a TTL of 30 s and EDE 3', async t => {
  const world = await kept();
  world.upstream.says = DOWN;
  t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
  t.equal(told(world.ask('other.example')), 'connect', 'what was never known fails');
  t.equal(world.recorder.count('cache', 'hit_stale'), 1);
});

await t.test('every failure of servers has the same consequence, and so has their SERVFAIL', async t => {
  for (const says of [
    DOWN,
    () => failure('timeout'),
    () => failure('tls_verify'),
    () => failure('no_upstream'),
    () => failure('overload'),
    () => failure('dnssec_indeterminate'),
    (query => responseTo(query, { rcode: RCODE.SERVFAIL })) satisfies Says,
    (query => responseTo(query, { rcode: RCODE.REFUSED })) satisfies Says,
  ]) {
    const world = await kept();
    world.upstream.says = says;
    t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
  }
});

await t.test('after a refresh has failed, the servers are left alone for 30 s', async t => {
  const world = await kept();
  world.upstream.says = DOWN;
  world.ask('www.example');
  const asked = world.upstream.asked.length;
  for (let i = 0; i < 29; i++) {
    t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
    await world.clock.advance(1000);
  }
  t.equal(world.upstream.asked.length, asked);
  world.upstream.says = OK;
  await world.clock.advance(2000);
  t.equal(told(world.ask('www.example')), 'upstream 60', 'and then they are asked');
});

await t.test(
  '30 s from the last time that the servers were asked, not from the last time that a client was told of it',
  async t => {
    const world = resolving(OK);
    world.ask('www.example');
    await world.clock.advance(30_000);
    world.upstream.says = () => failure('parse');
    // After the last of these, the failure is given for 16 s.
    for (const afterMs of [1500, 2500, 4500, 8500, 14_000]) {
      world.ask('www.example', { refresh: true });
      await world.clock.advance(afterMs);
    }
    const asked = world.upstream.asked.length;
    t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
    t.equal(world.upstream.asked.length, asked, 'they have just failed');
    world.upstream.says = OK;
    await world.clock.advance(2500);
    t.equal(told(world.ask('www.example')), 'upstream 60');
  },
);

await t.test(
  'it is known for how long clients have been given stale answers because servers do not answer',
  async t => {
    const world = await kept();
    t.equal(world.resolver.staleSec, undefined);
    world.upstream.says = DOWN;
    for (let i = 0; i < 5; i++) {
      world.ask('www.example');
      t.equal(world.resolver.staleSec, 50 * i);
      await world.clock.advance(50_000);
    }
    await world.clock.advance(11_000);
    t.equal(world.resolver.staleSec, undefined, 'nobody has got one for a minute');
    world.ask('www.example');
    t.equal(world.resolver.staleSec, 0, 'which is another trouble');
    const eager = await kept();
    eager.settings.stale = { ...eager.settings.stale, clientTimeoutMs: 0 };
    eager.ask('www.example');
    t.equal(eager.resolver.staleSec, undefined, 'those that are given before servers are asked are no trouble');
  },
);

await t.test('a question of before that fails late says nothing about another network', async t => {
  for (const clientTimeoutMs of [1800, 0]) {
    const world = await kept();
    world.settings.stale = { ...world.settings.stale, clientTimeoutMs };
    world.upstream.says = () => 'waits';
    world.ask('www.example');
    await world.clock.advance(2000);
    world.resolver.forgetFailures();
    world.upstream.settle(failure('closed'));
    const asked = world.upstream.asked.length;
    world.ask('www.example');
    t.equal(world.upstream.asked.length, asked + 1);
  }
});

await t.test('another network or other servers are asked at once', async t => {
  const world = await kept();
  world.upstream.says = DOWN;
  world.ask('www.example');
  world.resolver.forgetFailures();
  world.upstream.says = OK;
  t.equal(told(world.ask('www.example')), 'upstream 60');
});

await t.test('a server that is slow: after 1.8 s the expired answer; what comes later is kept', async t => {
  const world = await kept();
  world.upstream.says = () => 'waits';
  const outcomes = world.ask('www.example');
  await world.clock.advance(1700);
  t.equal(told(outcomes), '');
  await world.clock.advance(200);
  t.equal(told(outcomes), 'stale EDE 3 30');
  world.upstream.settle(answerNow);
  t.equal(told(outcomes), 'stale EDE 3 30', 'once');
  t.equal(told(world.ask('www.example')), 'cache 60');
});

await t.test('a server that answers in time: its answer, whatever it says', async t => {
  const world = await kept();
  world.upstream.says = () => 'waits';
  const outcomes = world.ask('www.example');
  await world.clock.advance(1000);
  world.upstream.settle(answerNow);
  t.equal(told(outcomes), 'upstream 60');
  await world.clock.advance(61_000);
  world.upstream.says = query =>
    responseTo(query, { rcode: RCODE.NXDOMAIN, authority: 'example. 60 SOA a. b. 1 1 1 1 60' });
  t.equal(told(world.ask('www.example')), 'upstream');
  await world.clock.advance(61_000);
  world.upstream.says = DOWN;
  t.equal(told(world.ask('www.example')), 'stale EDE 19', 'a denial is stale in its own way');
});

await t.test('a time of 0: the expired answer at once, and one refresh behind it', async t => {
  const world = await kept();
  world.settings.stale = { ...world.settings.stale, clientTimeoutMs: 0 };
  world.upstream.says = () => 'waits';
  const asked = world.upstream.asked.length;
  for (let i = 0; i < 3; i++) t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
  t.equal(world.upstream.asked.length, asked + 1);
  world.upstream.settle(answerNow);
  t.equal(told(world.ask('www.example')), 'cache 60');
});

await t.test('how old, and of which zones, is set', async t => {
  const world = await kept();
  world.upstream.says = DOWN;
  world.settings.stale = { ...world.settings.stale, mostSec: 0 };
  t.equal(told(world.ask('www.example')), 'connect', 'never');
  world.settings.stale = { ...world.settings.stale, mostSec: 600, excluded: [Buffer.from('\x03www\x07example\0')] };
  t.equal(told(world.ask('www.example')), 'connect', 'an excluded name');
  world.settings.stale = { ...world.settings.stale, excluded: [Buffer.from('\x02ww\x07example\0')] };
  t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
  await world.clock.advance(600_000);
  t.equal(told(world.ask('www.example')), 'connect', '600 s after its end, it is gone');
});

await t.test('an excluded zone is not reached by an alias either', async t => {
  const chain = `www.example. 60 CNAME a.elsewhere.\na.elsewhere. 60 CNAME Host.Dyn.example.\nHost.Dyn.example. 60 A 192.0.2.1`;
  for (const zone of ['www.example', 'elsewhere', 'dyn.example']) {
    const world = await kept(query => responseTo(query, { answers: chain }));
    world.upstream.says = DOWN;
    world.settings.stale = { ...world.settings.stale, excluded: [wireName('yn.example')] };
    t.equal(told(world.ask('www.example')), 'stale EDE 3 30 30 30');
    world.settings.stale = { ...world.settings.stale, excluded: [wireName('other'), wireName(zone)] };
    world.resolver.forgetFailures();
    t.equal(told(world.ask('www.example')), 'connect', zone);
  }
});

await t.test('an alias whose target has expired: the whole chain, whichever of its servers fails', async t => {
  // The server does not follow the alias.
  const says: Says = (query, name) =>
    responseTo(query, {
      answers: name.startsWith('alias') ? `${name} 600 CNAME target.example.` : `${name} 60 A 192.0.2.1`,
    });
  for (const fails of ['alias', 'target']) {
    const world = resolving(says);
    t.equal(told(world.ask('alias.example')), 'upstream 600 60');
    await world.clock.advance(61_000);
    world.upstream.says = (query, name) =>
      name.startsWith(fails) ? responseTo(query, { rcode: RCODE.SERVFAIL }) : says(query, name);
    t.equal(told(world.ask('alias.example')), 'stale EDE 3 30 30', `no ${fails}`);
    world.upstream.says = says;
    await world.clock.advance(31_000);
    t.equal(told(world.ask('alias.example')), 'upstream 600 60');
  }
});

await t.test('without RD nothing stale is given, and nothing is fetched', async t => {
  const world = await kept();
  world.settings.mayLook = true;
  const asked = world.upstream.asked.length;
  t.equal(told(world.ask('www.example', { flags: 0 })), 'not_cached');
  t.equal(world.upstream.asked.length, asked);
});

await t.test('a refresh that fails is never stored over the answer', async t => {
  for (const says of [DOWN, (query => responseTo(query, { rcode: RCODE.SERVFAIL })) satisfies Says]) {
    const world = await kept();
    world.upstream.says = says;
    for (let i = 0; i < 20; i++) {
      t.equal(told(world.ask('www.example')), 'stale EDE 3 30');
      await world.clock.advance(31_000);
    }
  }
});

const NOW_MS = Date.UTC(2026, 2, 1);
await t.test(
  'validated answers: AD as long as the signatures are valid; what is bogus now does not hide them',
  async t => {
    const tree = signedTree({ '.': { text: '' }, 'example.': { text: 'www.example. 60 A 192.0.2.1' } }, NOW_MS / 1000);
    const clock = fakeClock(NOW_MS);
    const world = resolving(query => tree.answer(query) ?? down, { anchors: tree.anchors, clock });
    await clock.advance(0);
    world.ask('www.example');
    await clock.advance(100);
    const verdict = async (): Promise<string> => {
      const outcomes = world.ask('www.example');
      await clock.advance(100);
      return outcomes.map(each => (each.at === 'failure' ? each.code : `${each.origin} ${each.entry.verdict}`)).join();
    };
    t.equal(await verdict(), 'cache secure');
    await clock.advance(61_000);
    world.upstream.says = DOWN;
    t.equal(await verdict(), 'stale secure');
    await clock.advance(31_000);
    world.upstream.says = query => {
      const message = tree.answer(query);
      // The last octets of an answer to a question for A are those of the signature.
      if (message !== undefined && query.includes('\x03www'))
        message.writeUInt8(message.readUInt8(message.length - 30) ^ 1, message.length - 30);
      return message ?? down;
    };
    t.equal(await verdict(), 'stale secure', 'the servers say something that is not proven');
    world.settings.stale = { ...world.settings.stale, mostSec: 40 * 86_400 };
    await clock.advance(35 * 86_400_000);
    t.equal(
      await verdict(),
      'signature_expired',
      'once its own signatures have expired, it is no better than what is said now',
    );
    await clock.advance(61_000);
    world.upstream.says = DOWN;
    t.equal(await verdict(), 'stale unchecked', 'if nobody says anything, it is given without AD');
  },
);

await t.test(
  'an answer that is asked for in the last tenth of its TTL is refreshed, once, behind the client',
  async t => {
    const world = resolving(OK);
    world.ask('www.example');
    await world.clock.advance(53_000);
    t.equal(told(world.ask('www.example')), 'cache 60');
    t.equal(world.upstream.asked.length, 1, 'not yet');
    await world.clock.advance(2000);
    world.upstream.says = () => 'waits';
    t.equal(told(world.ask('www.example')), 'cache 60');
    t.equal(told(world.ask('www.example')), 'cache 60');
    t.equal(world.upstream.asked.length, 2);
    world.upstream.settle(answerNow);
    t.equal(world.recorder.count('cache', 'prefetch_answered'), 1);
    await world.clock.advance(10_000);
    t.equal(told(world.ask('www.example')), 'cache 60', 'the new one, past the end of the old one');
  },
);

await t.test(
  'a refresh that fails takes nothing away; none is made without RD, for short TTLs, or when it is off',
  async t => {
    const world = resolving(OK);
    world.ask('www.example');
    await world.clock.advance(55_000);
    world.upstream.says = DOWN;
    t.equal(told(world.ask('www.example')), 'cache 60');
    t.equal(told(world.ask('www.example')), 'cache 60');
    const asked = world.upstream.asked.length;
    t.ok(world.recorder.count('cache', 'prefetch_failed') > 0);
    world.settings.mayLook = true;
    t.equal(told(world.ask('www.example', { flags: 0 })), 'cache 60');
    world.settings.prefetch = false;
    t.equal(told(world.ask('www.example')), 'cache 60');
    t.equal(world.upstream.asked.length, asked);
    const short = resolving((query, name) => responseTo(query, { answers: `${name} 9 A 192.0.2.1` }));
    short.ask('www.example');
    await short.clock.advance(8500);
    t.equal(told(short.ask('www.example')), 'cache 9');
    t.equal(short.upstream.asked.length, 1);
  },
);

await t.test('many answers that expire together are refreshed 32 at a time', async t => {
  const world = resolving(OK);
  for (let i = 0; i < 100; i++) world.ask(`n${i}.example`);
  await world.clock.advance(55_000);
  world.upstream.says = () => 'waits';
  for (let i = 0; i < 100; i++) world.ask(`n${i}.example`);
  t.equal(world.upstream.asked.length, 132);
});

/** Servers of which none follows an alias. */
const PARTS: Readonly<Record<string, string>> = {
  'www.lan.': 'www.lan. 600 CNAME mid.example.',
  'mid.example.': 'mid.example. 600 CNAME target.example.',
  'target.example.': 'target.example. 60 A 192.0.2.1',
  'x.round.': 'round. 600 DNAME example.',
  'x.example.': 'x.example. 60 A 192.0.2.1',
};
const unfollowing: Says = (query, name) => {
  const answers = PARTS[name];
  if (answers !== undefined) return responseTo(query, { answers });
  const authority = 'example. 60 SOA a. b. 1 1 1 1 60';
  return responseTo(query, name.startsWith('nodata') ? { authority } : { rcode: RCODE.NXDOMAIN, authority });
};
const except =
  (name: string, how: ReturnType<Says> = down, says = unfollowing): Says =>
  (query, asked) =>
    asked === name ? how : says(query, asked);

/** A world in which some names were asked for, and have expired. */
async function expired(...names: readonly string[]): Promise<Resolving> {
  const world = resolving(unfollowing);
  for (const name of names) world.ask(name);
  await world.clock.advance(61_000);
  return world;
}
/** A route whose server knows the names of `lan.`. */
function routed(world: Resolving): Resolving {
  const local = fakeUpstream(unfollowing, 3);
  world.settings.routes = [{ zones: [wireName('lan.')], kubernetes: false, upstream: () => local }];
  return world;
}

await t.test('an alias that is new leads to the expired answer about its target: of a route, and without', async t => {
  for (const prepare of [routed, (world: Resolving) => world]) {
    const world = prepare(await expired('target.example'));
    world.upstream.says = except('target.example.');
    t.equal(told(world.ask('www.lan')), 'stale EDE 3 600 600 30');
    t.equal(world.recorder.count('cache', 'hit_stale'), 1);
    t.equal(told(world.ask('www.lan', { type: 'AAAA' })), 'connect', 'of another type nothing is known');
    const asked = world.upstream.asked.length;
    await world.clock.advance(10_000);
    t.equal(told(world.ask('www.lan')), 'stale EDE 3 590 590 30', 'the servers are left alone for 30 s');
    t.match(world.look('www.lan'), { at: 'stale' });
    t.equal(world.upstream.asked.length, asked);
    world.upstream.says = DOWN;
    world.settings.routes = world.settings.routes.map(each => ({ ...each, upstream: () => fakeUpstream(DOWN, 3) }));
    await world.clock.advance(600_000);
    t.equal(told(world.ask('www.lan')), 'stale EDE 3 30 30 30', 'all have expired');
    t.equal(told(world.ask('mid.example')), 'stale EDE 3 30 30', 'each of them is an alias');
    t.equal(told(world.ask('mid.example', { type: 'CNAME' })), 'stale EDE 3 30');
    world.upstream.says = unfollowing;
    world.resolver.forgetFailures();
    world.settings.routes = [];
    t.equal(told(world.ask('www.lan')), 'upstream 600 600 60');
    t.equal(told(world.ask('www.lan')), 'cache 600 600 60');
  }
});

await t.test('a chain of which nothing has expired is no stale answer', async t => {
  const world = await expired('target.example');
  world.upstream.says = except('target.example.');
  world.ask('www.lan');
  world.upstream.says = unfollowing;
  await world.clock.advance(61_000);
  t.equal(told(world.ask('target.example')), 'upstream 60');
  world.upstream.says = DOWN;
  await world.clock.advance(5000);
  t.equal(told(world.ask('www.lan')), 'cache 534 534 55');
  world.settings.stale = { ...world.settings.stale, mostSec: 0, excluded: [wireName('example')] };
  const counted = (): number[] =>
    (['hit_positive', 'hit_stale'] as const).map(kind => world.recorder.count('cache', kind));
  const [fresh = 0, stale = 0] = counted();
  t.equal(told(world.ask('www.lan')), 'cache 534 534 55', 'the settings about stale answers are not about it');
  t.same([...counted(), world.resolver.staleSec], [fresh + 1, stale, undefined], 'nor is it counted as one');
  await world.clock.advance(60_000);
  t.equal(told(world.ask('www.lan')), 'connect');
});

await t.test('an expired denial at the end of the chain is stale in its own way', async t => {
  for (const [target, want] of [
    ['nothing.example.', 'stale EDE 19 600'],
    ['nodata.example.', 'stale EDE 3 600'],
  ] as const) {
    const alias: Says = (query, name) =>
      name === 'a.lan.' ? responseTo(query, { answers: `a.lan. 600 CNAME ${target}` }) : unfollowing(query, name);
    const world = resolving(alias);
    world.settings.aggressive = false;
    world.ask(target);
    await world.clock.advance(61_000);
    world.upstream.says = except(target, down, alias);
    const outcomes = world.ask('a.lan');
    t.equal(told(outcomes), want);
    t.match(outcomes, [{ entry: { rcode: target.startsWith('nothing') ? RCODE.NXDOMAIN : 0, authority: 1 } }]);
  }
});

await t.test('a DNAME leads there, too', async t => {
  const world = await expired('x.example');
  world.upstream.says = except('x.example.');
  t.equal(told(world.ask('x.round')), 'stale EDE 3 600 600 30');
});

await t.test('a client waits 1.8 s for the whole chain, not for each of its names', async t => {
  const world = await expired('target.example');
  world.upstream.says = () => 'waits';
  const both = [world.ask('www.lan'), world.ask('www.lan')];
  for (const [name, ms] of [
    ['www.lan.', 1000],
    ['mid.example.', 500],
  ] as const) {
    await world.clock.advance(ms);
    world.upstream.settle((query, asked) => (asked === name ? unfollowing(query, asked) : 'waits'));
    world.upstream.says = except('target.example.', 'waits');
  }
  await world.clock.advance(200);
  t.same(both.map(told), ['', '']);
  await world.clock.advance(150);
  t.same(both.map(told), ['stale EDE 3 600 600 30', 'stale EDE 3 600 600 30']);
  world.upstream.settle(unfollowing);
  t.same(both.map(told), ['stale EDE 3 600 600 30', 'stale EDE 3 600 600 30'], 'once');
  t.equal(told(world.ask('www.lan')), 'cache 600 600 60', 'and what comes later is kept');
});

await t.test('whoever answers for a route says nothing about names outside, and nobody else about its names', t => {
  const says: Readonly<Record<string, string>> = {
    'evil.org.': 'evil.org. 300 A 203.0.113.66',
    'x.org.': 'x.org. 300 CNAME www.corp.net.\nwww.corp.net. 300 CNAME evil.org.',
  };
  const said: Says = (query, name) => {
    const answers = says[name];
    return answers === undefined ? down : responseTo(query, { answers });
  };
  const world = resolving(said);
  world.ask('evil.org');
  world.upstream.says = (query, name) => (name === 'evil.org.' ? down : said(query, name));
  const chain =
    'a.corp.net. 300 CNAME b.corp.net.\nb.corp.net. 300 CNAME www.bank.org.\nwww.bank.org. 300 CNAME evil.org.';
  const home = fakeUpstream(
    (query, name) => (name === 'a.corp.net.' ? responseTo(query, { answers: chain }) : down),
    3,
  );
  world.settings.routes = [{ zones: [wireName('corp.net')], kubernetes: false, upstream: () => home }];
  for (const name of ['a.corp.net', 'x.org']) world.ask(name);
  for (const name of ['a.corp.net', 'b.corp.net', 'x.org']) t.match(told(world.ask(name, { type: 'CNAME' })), /^cache/);
  for (const name of ['www.bank.org', 'www.corp.net'])
    t.equal(told(world.ask(name, { type: 'CNAME' })), 'connect', name);
  t.end();
});

await t.test('no name of the chain may be excluded, or forgotten', async t => {
  const names = ['www.lan', 'mid.example', 'target.example'];
  for (const name of names) {
    const world = await expired('target.example');
    world.upstream.says = except('target.example.');
    world.settings.stale = { ...world.settings.stale, excluded: [wireName('other'), wireName(name)] };
    t.equal(told(world.ask('www.lan')), 'connect', `${name} excluded`);
    world.settings.stale = { ...world.settings.stale, excluded: [] };
    t.equal(told(world.ask('www.lan')), 'stale EDE 3 600 600 30');
    const forgotten = wireName(name).toString('latin1');
    world.resolver.forget(each => each === forgotten);
    world.resolver.forgetFailures();
    world.upstream.says = DOWN;
    t.equal(told(world.ask('www.lan')), 'connect', `${name} forgotten`);
  }
  const world = await expired('target.example');
  world.settings.stale = { ...world.settings.stale, mostSec: 100 };
  world.upstream.says = except('target.example.');
  t.equal(told(world.ask('www.lan')), 'stale EDE 3 600 600 30');
  await world.clock.advance(105_000);
  t.equal(told(world.ask('www.lan')), 'connect', 'nor be too old');
});

await t.test(
  'validated: an alias is kept once it was validated, and all of the chain must be proven for AD',
  async t => {
    const tree = signedTree(
      {
        '.': { text: '' },
        'example.': { text: 'www.example. 600 CNAME www.other.' },
        'other.': { text: 'www.other. 60 A 192.0.2.1' },
      },
      NOW_MS / 1000,
    );
    const alone: Says = (query, name) => {
      const message = tree.answer(query);
      if (message === undefined) return down;
      const parts = takeApart(message);
      if (name === 'www.example.') parts.answer.splice(2);
      return putTogether(parts);
    };
    const forged: Says = (query, name) => {
      const message = alone(query, name);
      // The last octets are those of the signature.
      if (Buffer.isBuffer(message) && name === 'www.example.')
        message.writeUInt8(message.readUInt8(message.length - 30) ^ 1, message.length - 30);
      return message;
    };
    for (const [says, want] of [
      [alone, 'stale secure'],
      [forged, 'connect'],
    ] as const) {
      const clock = fakeClock(NOW_MS);
      const world = resolving(alone, { anchors: tree.anchors, clock });
      await clock.advance(0);
      const verdict = async (name: string, type = 'A'): Promise<string> => {
        const outcomes = world.ask(name, { type });
        await clock.advance(100);
        return outcomes
          .map(each => (each.at === 'failure' ? each.code : `${each.origin} ${each.entry.verdict}`))
          .join();
      };
      t.equal(await verdict('www.other'), 'upstream secure');
      await clock.advance(61_000);
      world.upstream.says = except('www.other.', down, says);
      t.equal(await verdict('www.example'), want);
      if (says === forged) {
        world.upstream.says = DOWN;
        t.equal(await verdict('www.example', 'CNAME'), 'connect', 'it is kept nowhere');
        continue;
      }
      world.upstream.says = DOWN;
      t.equal(await verdict('www.example', 'CNAME'), 'cache secure');
      world.settings.stale = { ...world.settings.stale, mostSec: 40 * 86_400 };
      await clock.advance(35 * 86_400_000);
      t.equal(await verdict('www.example'), 'stale unchecked', 'never once a signature has expired');
    }
  },
);

/** A tree whose servers follow no alias. */
const unfollowed = (tree: ReturnType<typeof signedTree>): Says => {
  return query => {
    const message = tree.answer(query);
    const parts = message && takeApart(message);
    // The alias and its signature.
    if (parts?.answer[0]?.type === TYPE.CNAME) parts.answer.splice(2);
    return parts === undefined ? down : putTogether(parts);
  };
};

await t.test('an alias made of a wildcard is kept with its proof', async t => {
  const zones = {
    '.': { text: '' },
    'example.': { text: '*.example. 600 CNAME www.other.' },
    'other.': { text: 'www.other. 60 A 192.0.2.1' },
  };
  for (const isValidated of [true, false]) {
    const tree = signedTree(zones, NOW_MS / 1000);
    const says = unfollowed(tree);
    const clock = fakeClock(NOW_MS);
    const world = resolving(says, isValidated ? { anchors: tree.anchors, clock } : { clock });
    await clock.advance(0);
    const ask = async (name: string): Promise<readonly Outcome[]> => {
      const outcomes = world.ask(name);
      await clock.advance(100);
      return outcomes;
    };
    await ask('www.other');
    await clock.advance(61_000);
    world.upstream.says = except('www.other.', down, says);
    const [outcome] = await ask('any.example');
    t.match(outcome, { origin: 'stale', entry: { verdict: isValidated ? 'secure' : 'unchecked' } });
    const { authority } = takeApart(outcome === undefined ? Buffer.alloc(0) : wholeOf(outcome));
    t.same(
      authority.map(({ type }) => type),
      [TYPE.NSEC, TYPE.RRSIG],
    );
    t.match(world.validations.verdicts.state, { bogus: undefined }, 'nothing is told of the zone');
  }
});

await t.test('an alias is validated once, however long the chain is that it is in', async t => {
  for (const length of [4, 8]) {
    const links = Array.from({ length }, (_, i) => `a${i}.example. 600 CNAME a${i + 1}.example.`);
    const text = [...links, `a${length}.example. 600 A 192.0.2.1`].join('\n');
    const tree = signedTree({ '.': { text: '' }, 'example.': { text } }, NOW_MS / 1000);
    const clock = fakeClock(NOW_MS);
    const world = resolving(unfollowed(tree), { anchors: tree.anchors, clock });
    await clock.advance(0);
    const validations = async (name: string): Promise<number> => {
      const before = world.recorder.count('validation');
      world.ask(name);
      await clock.advance(3000);
      return world.recorder.count('validation') - before;
    };
    for (let i = length; i > 0; i--) await validations(`a${i}.example`);
    await clock.advance(700_000);
    t.equal(await validations('a0.example'), length + 1, 'one for each, and one for the whole');
  }
});
