// Sets of the firewall: what is put into them and when, and what a reply waits for.

import t from 'tap';

import type { Outcome } from '../../src/pipeline/answer.js';
import { MOST_WAIT_MS, type RunCommands } from '../../src/pipeline/set-filler.js';
import { commandsOf } from '../../src/policy/firewall-sets.js';
import { nat64PrefixFrom } from '../../src/policy/nat64.js';
import { fakeClock } from '../fixtures/clock.js';
import { describe } from '../fixtures/described.js';
import { responseTo } from '../fixtures/messages.js';
import { wireName } from '../fixtures/records.js';
import { type Resolving, resolving } from '../fixtures/resolving.js';

/** nft, as a test has it: commands wait until `end` is called. */
class FakeNft {
  readonly batches: string[] = [];
  private readonly waiting: ((problem: string | undefined) => void)[] = [];

  readonly run: RunCommands = (commands, then) => {
    // One `add` for each address is enough to look at.
    this.batches.push(
      commands
        .split('\n')
        .filter((line, i) => i % 3 === 0 && line !== '')
        .join('; '),
    );
    this.waiting.push(then);
  };

  end(problem?: string): void {
    this.waiting.shift()?.(problem);
  }
}

const ANSWERS: Readonly<Record<string, string>> = {
  'a.video.': 'a.video. 300 A 192.0.2.1\na.video. 300 A 192.0.2.2',
  'b.video.': 'b.video. 300 A 192.0.2.3',
  'zero.video.': 'zero.video. 0 A 192.0.2.4',
  'alias.video.': 'alias.video. 300 CNAME x.cdn.\nx.cdn. 60 A 192.0.2.5',
  'both.video.': 'both.video. 300 A 192.168.1.1\nboth.video. 300 A 192.0.2.6',
  'hints.video.':
    'hints.video. 300 TYPE65 \\# 35 000100 00040008c0000209c000020a 0006001020010db8000000000000000000000001',
  'www.example.': 'www.example. 300 A 192.0.2.7',
};

function filling(): { readonly it: Resolving; readonly nft: FakeNft } {
  const nft = new FakeNft();
  const it = resolving(
    (query, name) => {
      const answers = ANSWERS[name];
      return responseTo(query, answers === undefined || query.includes(AAAA) ? {} : { answers });
    },
    { clock: fakeClock(), nft: nft.run },
  );
  it.settings.firewallSets = [{ zones: [wireName('video.')], set4: 'inet fw4 v4', set6: 'inet fw4 v6' }];
  return { it, nft };
}

const AAAA = Buffer.from([0, 0, 28, 0, 1]);
const add = (address: string, seconds = 300, set = 'inet fw4 v4'): string =>
  `add element ${set} { ${address} timeout ${seconds}s }`;
const shown = (outcomes: readonly Outcome[]): string => outcomes.map(describe).join('; ');

await t.test('the addresses are in their set before the client has them, for their TTL', t => {
  const { it, nft } = filling();
  const outcomes = it.ask('a.video.');
  t.same(nft.batches, [`${add('192.0.2.1')}; ${add('192.0.2.2')}`]);
  t.same(outcomes, [], 'the reply waits');
  nft.end();
  t.equal(shown(outcomes), 'NOERROR a.video. 300 A, a.video. 300 A');
  t.equal(it.recorder.count('firewallSet', 'added', 2), 1);
  t.end();
});

await t.test('address hints of an HTTPS record are in their sets, too: clients connect to them first', t => {
  const { it, nft } = filling();
  const outcomes = it.ask('hints.video.', { type: 'HTTPS' });
  t.same(outcomes, [], 'the reply waits');
  nft.end();
  nft.end();
  t.same(nft.batches, [`${add('192.0.2.9')}; ${add('192.0.2.10')}`, add('2001:db8::1', 300, 'inet fw4 v6')]);
  t.equal(outcomes.length, 1);
  t.end();
});

await t.test('an address is added anew in one transaction: else its time would stay as it was', t => {
  const lines = commandsOf('inet fw4 v4', new Map([['192.0.2.3', 300]]))
    .trim()
    .split('\n');
  t.same(lines, [add('192.0.2.3'), 'delete element inet fw4 v4 { 192.0.2.3 }', add('192.0.2.3')]);
  t.end();
});

await t.test('other names are not looked at, and wait for nothing', t => {
  const { it, nft } = filling();
  t.equal(shown(it.ask('www.example.')), 'NOERROR www.example. 300 A');
  t.equal(it.ask('a.video.', { type: 'TXT' }).length, 1);
  t.same(nft.batches, []);
  t.end();
});

await t.test(
  'what is in its set already waits for nothing, from the cache, and is put there again after a while',
  async t => {
    const { it, nft } = filling();
    it.ask('b.video.');
    nft.end();
    const [again] = it.ask('b.video.');
    t.match(again, { origin: 'cache' });
    t.equal(nft.batches.length, 1);
    await it.clock.advance(11_000);
    const later = it.ask('b.video.');
    t.same(nft.batches.slice(1), [add('192.0.2.3', 289)], 'rules may have been loaded anew, which empties sets');
    nft.end();
    t.equal(later.length, 1);
    t.end();
  },
);

await t.test('such answers are never kept ready: front threads would give them past the sets', t => {
  const { it, nft } = filling();
  const first = it.ask('b.video.');
  nft.end();
  for (const [outcome] of [first, it.ask('b.video.')])
    t.equal(outcome?.at === 'answer' && outcome.mayBeKeptReady, false);
  const [other] = it.ask('www.example.');
  t.equal(other?.at === 'answer' && other.mayBeKeptReady, true);
  t.end();
});

await t.test('the end of an alias counts under the name that was asked for; a TTL of 0 is ten seconds', t => {
  const { it, nft } = filling();
  it.ask('alias.video.');
  t.same(nft.batches, [add('192.0.2.5', 60)]);
  nft.end();
  it.ask('zero.video.');
  t.same(nft.batches.slice(1), [add('192.0.2.4', 10)]);
  t.end();
});

await t.test('the sets get what the client gets: addresses that are made, and none that are left out', t => {
  const { it, nft } = filling();
  it.settings.nat64 = nat64PrefixFrom('64:ff9b::/96');
  it.settings.rebinding = { protect: true, allow: [] };
  it.ask('b.video.', { type: 'AAAA' });
  t.same(nft.batches, [add('64:ff9b::c000:203', 300, 'inet fw4 v6')]);
  nft.end();
  it.ask('both.video.');
  t.same(nft.batches.slice(1), [add('192.0.2.6')]);
  t.end();
});

await t.test('one batch runs at a time; what comes meanwhile is the next one', t => {
  const { it, nft } = filling();
  const one = it.ask('a.video.');
  const two = it.ask('b.video.');
  const three = it.ask('zero.video.');
  t.equal(nft.batches.length, 1);
  nft.end();
  t.same([one.length, two.length, three.length], [1, 0, 0]);
  t.same(nft.batches.slice(1), [`${add('192.0.2.3')}; ${add('192.0.2.4', 10)}`]);
  nft.end();
  t.same([one.length, two.length, three.length], [1, 1, 1]);
  t.end();
});

await t.test('no reply waits longer than the bound; it is counted, and the set is filled all the same', async t => {
  const { it, nft } = filling();
  const outcomes = it.ask('b.video.');
  await it.clock.advance(MOST_WAIT_MS - 1);
  t.equal(outcomes.length, 0);
  await it.clock.advance(1);
  t.equal(shown(outcomes), 'NOERROR b.video. 300 A');
  t.equal(it.recorder.count('firewallSetLate'), 1);
  nft.end();
  t.equal(outcomes.length, 1, 'and given once');
  t.equal(it.recorder.count('firewallSet', 'added', 1), 1);
  t.end();
});

await t.test('a set that cannot be filled is told and counted, and nobody waits for it for a while', async t => {
  const { it, nft } = filling();
  const first = it.ask('b.video.');
  nft.end('No such file or directory');
  t.equal(shown(first), 'NOERROR b.video. 300 A', 'the reply goes');
  t.same(it.filler.problems, ['the set inet fw4 v4 cannot be filled: No such file or directory']);
  t.equal(it.ask('a.video.').length, 1);
  t.equal(nft.batches.length, 1);
  t.ok(it.recorder.count('firewallSet', 'failed') >= 2);
  await it.clock.advance(1000);
  t.equal(nft.batches.length, 2, 'it is tried again');
  nft.end('No such file or directory');
  await it.clock.advance(1999);
  t.equal(it.ask('a.video.').length, 1);
  t.equal(nft.batches.length, 2, 'ever later');
  await it.clock.advance(1);
  t.equal(nft.batches.length, 3);
  nft.end();
  t.same(it.filler.problems, [], 'until it works');
  t.end();
});

await t.test('addresses that clients got while a set could not be filled are put in once it can be', async t => {
  const { it, nft } = filling();
  it.ask('b.video.');
  nft.end('No such file or directory');
  it.ask('a.video.');
  it.ask('zero.video.');
  await it.clock.advance(1000);
  t.same(nft.batches.slice(1), [add('192.0.2.4', 9)], 'with the latest one it is tried');
  nft.end('No such file or directory');
  for (const seconds of [2, 4, 8]) {
    await it.clock.advance(1000 * seconds);
    nft.end('No such file or directory');
  }
  const tried = nft.batches.length;
  t.equal(it.recorder.count('firewallSet', 'failed', 1), 4, 'each is counted once');
  await it.clock.advance(10_000);
  t.same(
    nft.batches.slice(tried),
    [add('192.0.2.2', 275)],
    'ten seconds later at most, without those that have expired',
  );
  nft.end();
  t.same(nft.batches.slice(tried + 1), [`${add('192.0.2.3', 275)}; ${add('192.0.2.1', 275)}`], 'and then the others');
  nft.end();
  t.same(it.filler.problems, []);
  await it.clock.advance(100_000);
  t.equal(nft.batches.length, tried + 2);
});

await t.test('an address that a set does not take keeps no other one from it', async t => {
  const { it, nft } = filling();
  it.ask('b.video.');
  nft.end('conflicting intervals');
  it.ask('zero.video.');
  await it.clock.advance(1000);
  t.same(nft.batches.slice(1), [add('192.0.2.4', 9)]);
  nft.end();
  t.same(nft.batches.slice(2), [add('192.0.2.3', 299)]);
  nft.end('conflicting intervals');
  await it.clock.advance(100_000);
  t.equal(nft.batches.length, 3, 'it is not tried over and over');
  const outcomes = it.ask('alias.video.');
  t.same(nft.batches.slice(3), [add('192.0.2.5', 60)]);
  nft.end();
  t.equal(outcomes.length, 1);
});

/** A set that refuses some addresses, as one of intervals does where they overlap, and every batch with one of them. */
class FakeSet {
  readonly has = new Set<string>();
  /** Whether it is there. */
  isThere = (): boolean => true;
  /** Batches until now. */
  runs = 0;

  constructor(private readonly refuses: readonly string[]) {}

  readonly run: RunCommands = (commands, then) => {
    this.runs++;
    const addresses = [...commands.matchAll(/\{ (\S+) timeout/g)].map(([, address = '']) => address);
    if (!this.isThere()) return then('No such file or directory');
    if (addresses.some(address => this.refuses.includes(address))) return then('interval overlaps');
    for (const address of addresses) this.has.add(address);
    then(undefined);
  };
}

function intoSet(...refuses: readonly string[]) {
  const set = new FakeSet(refuses);
  const it = resolving(query => responseTo(query), { clock: fakeClock(), nft: set.run });
  const put = (...addresses: readonly string[]): void => {
    const elements = addresses.map(address => ({ set: 'inet fw4 v4', address, seconds: 600 }));
    it.filler.fill(it.filler.missing(elements), () => undefined);
  };
  return { set, put, clock: it.clock, filler: it.filler };
}

const range = (from: number, to: number): readonly string[] =>
  Array.from({ length: to - from }, (_, i) => `10.1.${(from + i) >> 8}.${(from + i) & 255}`);

await t.test('an address that is refused takes no other one of its batch with it', async t => {
  for (const refused of [['10.1.0.1'], ['10.1.0.3'], ['10.1.0.9'], ['10.1.0.0', '10.1.0.4', '10.1.0.9']]) {
    const { set, put, clock, filler } = intoSet(...refused);
    put(...range(0, 10));
    await clock.advance(60_000);
    t.same(
      [...set.has].sort(),
      range(0, 10).filter(each => !refused.includes(each)),
    );
    t.same(filler.problems, []);
  }
});

await t.test('nor those that come while the set is left alone, or while it catches up', async t => {
  const { set, put, clock, filler } = intoSet('10.0.0.9');
  put('10.0.0.9');
  await clock.advance(100);
  for (const address of range(0, 5)) put(address);
  await clock.advance(2000);
  t.same([...set.has].sort(), range(0, 5));
  t.same(filler.problems, []);
  put('10.0.0.9');
  put('192.0.2.1');
  t.ok(set.has.has('192.0.2.1'), 'it was known to be refused');
  const { runs } = set;
  await clock.advance(100_000);
  t.equal(set.runs, runs, 'and it is not tried over and over');
});

await t.test('the refused one among many is found in few batches', async t => {
  const { set, put, clock } = intoSet('10.1.1.100');
  put(...range(0, 1000));
  await clock.advance(2000);
  t.equal(set.has.size, 999);
  t.ok(set.runs < 25, `${set.runs} batches`);
});

await t.test('many that are refused cost few batches at a time, and keep no other one out for long', async t => {
  const refused = range(200, 260);
  const { set, put, clock } = intoSet(...refused);
  put(...range(0, 500));
  await clock.advance(2000);
  t.ok(set.runs < 100, `${set.runs} batches`);
  await clock.advance(120_000);
  t.equal(set.has.size, 440);
  t.ok(set.runs < 400, `${set.runs} batches`);
});

await t.test('a set that goes away again while it catches up loses nothing', async t => {
  const { set, put, clock, filler } = intoSet();
  set.isThere = () => false;
  put(...range(0, 100));
  await clock.advance(500);
  set.isThere = () => set.has.size === 0;
  await clock.advance(1000);
  t.equal(set.has.size, 1);
  t.ok(set.runs < 30, `${set.runs} batches`);
  t.equal(filler.problems.length, 1);
  set.isThere = () => true;
  await clock.advance(20_000);
  t.equal(set.has.size, 100);
  t.same(filler.problems, []);
});

await t.test('other sets: a batch that runs, and those that wait, are those of before', async t => {
  const { it, nft } = filling();
  const [runs, waits] = [it.ask('b.video.'), it.ask('a.video.')];
  it.filler.forget();
  t.equal(waits.length, 1, 'it waits for nothing any more');
  nft.end('No such file or directory');
  t.equal(runs.length, 1);
  t.same(it.filler.problems, []);
  await it.clock.advance(100_000);
  t.equal(nft.batches.length, 1);
  const { it: other, nft: filled } = filling();
  other.ask('b.video.');
  other.filler.forget();
  filled.end();
  other.ask('b.video.');
  t.equal(filled.batches.length, 2, 'nor is it known to be in the set of now');
});

await t.test('after it is closed or has other sets, none is tried again', async t => {
  for (const end of ['close', 'forget'] as const) {
    const { it, nft } = filling();
    it.ask('b.video.');
    nft.end('No such file or directory');
    it.filler[end]();
    await it.clock.advance(100_000);
    t.equal(nft.batches.length, 1);
  }
});

await t.test('a set that cannot be filled does no harm to another one', t => {
  const { it, nft } = filling();
  it.settings.firewallSets = ['inet fw4 none', 'inet fw4 v4'].map(set4 => ({
    zones: [wireName('video.')],
    set4,
    set6: undefined,
  }));
  const outcomes = it.ask('b.video.');
  t.same(nft.batches, [add('192.0.2.3', 300, 'inet fw4 none')]);
  nft.end('No such file or directory');
  t.equal(outcomes.length, 0, 'the other one is waited for');
  t.same(nft.batches.slice(1), [add('192.0.2.3')]);
  nft.end();
  t.equal(outcomes.length, 1);
  t.equal(it.filler.problems.length, 1);
  t.end();
});

await t.test('when it is closed, replies go at once', t => {
  const { it, nft } = filling();
  const waiting = [it.ask('b.video.'), it.ask('a.video.')];
  it.filler.close();
  t.equal(it.ask('zero.video.').length, 1);
  nft.end('ended');
  t.same(
    waiting.map(each => each.length),
    [1, 1],
  );
  t.equal(nft.batches.length, 1);
  t.end();
});
