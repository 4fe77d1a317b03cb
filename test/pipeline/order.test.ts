// The order of the stages that decide (pipeline/resolver): for each pair that matters, who would be harmed if the lower one came
// first, played with the pipeline as it is.

import t from 'tap';

import { recordFrom } from '../../src/policy/local/record-text.js';
import { LocalTable } from '../../src/policy/local/table.js';
import { nat64PrefixFrom } from '../../src/policy/nat64.js';
import { decidingStages, type DecidingStage } from '../../src/pipeline/resolver.js';
import { describe } from '../fixtures/described.js';
import { listsOf } from '../fixtures/lists.js';
import { responseTo } from '../fixtures/messages.js';
import { wireName } from '../fixtures/records.js';
import { type Asking, resolving, type Resolving, type Says } from '../fixtures/resolving.js';

const ANSWERS: Readonly<Record<string, string>> = {
  'www.example.': 'www.example. 300 A 192.0.2.80',
  'private.example.': 'private.example. 300 A 192.168.1.1',
  'cloaked.example.': 'cloaked.example. 300 CNAME tracker.example.\ntracker.example. 300 A 192.0.2.67',
  'video.example.': 'video.example. 300 A 192.0.2.7',
  'page.portal.': 'page.portal. 300 A 10.0.0.1',
};
const AAAA = Buffer.from([0, 28, 0, 1]);
const says: Says = (query, name) => {
  const answers = query.includes(AAAA) ? undefined : ANSWERS[name.toLowerCase()];
  return responseTo(query, answers === undefined ? {} : { answers });
};

type House = Resolving & { readonly sets: string[]; said(name: string, asking?: Asking): string };

/** A house with everything. */
function house(): House {
  const sets: string[] = [];
  const it = resolving(says, {
    nft: (commands, then) => {
      sets.push(commands);
      then(undefined);
    },
  });
  const table = new LocalTable([]);
  for (const text of ['localhost. 60 A 192.0.2.66', 'tv.lan. 60 CNAME localhost.', 'page.portal. 60 A 192.168.1.2']) {
    const read = recordFrom(text);
    if (read.at === 'record') table.addRecord(read.record);
  }
  it.settings.localNames = table;
  it.settings.rebinding = { protect: true, allow: [] };
  it.settings.nat64 = nat64PrefixFrom('64:ff9b::/96');
  it.settings.firewallSets = [{ zones: [wireName('video.example')], set4: 'inet t s4', set6: 'inet t s6' }];
  it.lists.take(listsOf([{ text: 'tracker.example\nother.portal\nwww.example' }]), [
    { group: undefined, lists: 0, schedule: undefined },
    { group: 'kids', lists: 1, schedule: undefined },
  ]);
  return { ...it, sets, said: (name, asking) => describe(it.ask(name, asking)[0]) };
}

interface Pair {
  readonly above: DecidingStage;
  /** `found`: the stages that find answers, the cache first. */
  readonly below: DecidingStage | 'found';
  readonly harmed: string;
  play(it: House): readonly [seen: unknown, expected: unknown];
}

const PAIRS: readonly Pair[] = [
  {
    ...{ above: 'any', below: 'local', harmed: 'those who are flooded with large answers to ANY (RFC 8482)' },
    play: it => [it.said('localhost', { type: 'ANY' }), 'NOERROR localhost. 3600 HINFO'],
  },
  {
    ...{
      above: 'local_aliases',
      below: 'special_names',
      harmed: 'who follows a local alias to a name that must not leave',
    },
    play: it => [
      [it.said('tv.lan').includes('localhost'), it.upstream.asked],
      [true, []],
    ],
  },
  {
    ...{ above: 'special_names', below: 'local', harmed: 'programs that mean this machine by localhost' },
    play: it => {
      const [outcome] = it.ask('localhost');
      return [outcome?.at === 'answer' && outcome.entry.octets.includes(Buffer.of(127, 0, 0, 1)), true];
    },
  },
  {
    ...{ above: 'local', below: 'portal', harmed: 'the names of this network, while a portal window is open' },
    play: it => {
      it.portal.start(60_000, [], { by: 'command' });
      return [
        [it.said('page.portal'), it.network.asked],
        ['NOERROR page.portal. 60 A', []],
      ];
    },
  },
  {
    ...{ above: 'portal', below: 'list', harmed: 'who cannot sign in because the page of the portal is on a list' },
    play: it => {
      it.portal.start(60_000, [], { by: 'command' });
      it.said('other.portal');
      return [it.network.asked, ['other.portal.']];
    },
  },
  {
    ...{ above: 'portal', below: 'rebinding', harmed: 'the same: sign-in pages have private addresses' },
    play: it => {
      it.settings.localNames = new LocalTable([]);
      it.portal.start(60_000, [], { by: 'command' });
      return [it.said('page.portal'), 'NOERROR page.portal. 0 A'];
    },
  },
  {
    ...{
      above: 'firewall',
      below: 'dns64',
      harmed: 'a client whose first packet goes to an address that is in no set',
    },
    play: it => {
      it.said('video.example', { type: 'AAAA' });
      return [it.sets.some(each => each.includes('64:ff9b::c000:207')), true];
    },
  },
  {
    ...{ above: 'list', below: 'found', harmed: 'a group that gets what was cached for another one' },
    play: it => {
      const before = it.said('cloaked.example');
      it.lists.take(listsOf([{ text: 'tracker.example' }]), [{ group: 'kids', lists: 1, schedule: undefined }]);
      return [
        [before, it.said('cloaked.example'), it.upstream.asked.length],
        ['NOERROR cloaked.example. 300 CNAME, tracker.example. 300 A', 'NXDOMAIN | example. 60 SOA [17]', 1],
      ];
    },
  },
  {
    ...{ above: 'dns64', below: 'rebinding', harmed: 'a house whose private addresses come back in IPv6 addresses' },
    play: it => [it.said('private.example', { type: 'AAAA' }).includes('AAAA'), false],
  },
  {
    ...{
      above: 'dns64',
      below: 'found',
      harmed: 'a client that would get made addresses of another translator from the cache',
    },
    play: it => {
      const first = it.said('www.example', { type: 'AAAA' });
      it.settings.nat64 = undefined;
      return [
        [first, it.said('www.example', { type: 'AAAA' })],
        ['NOERROR www.example. 300 AAAA', 'NOERROR'],
      ];
    },
  },
  {
    ...{ above: 'rebinding', below: 'found', harmed: 'who has just switched protection on, and gets what is cached' },
    play: it => {
      it.settings.rebinding = { protect: false, allow: [] };
      const before = it.said('private.example');
      it.settings.rebinding = { protect: true, allow: [] };
      return [
        [before, it.said('private.example').includes(' A')],
        ['NOERROR private.example. 300 A', false],
      ];
    },
  },
];

await t.test('who would be harmed', async t => {
  for (const { above, below, harmed, play } of PAIRS) {
    const [seen, expected] = play(house());
    t.match(seen, expected, `${above} above ${below}: ${harmed}`);
  }
});

await t.test('the stages stand in this order', async t => {
  const { resolver } = house();
  const names = decidingStages(resolver.parts).map(([name]) => name);
  const place = (name: DecidingStage | 'found'): number => (name === 'found' ? names.length : names.indexOf(name));
  for (const { above, below } of PAIRS) t.ok(place(above) < place(below), `${above} above ${below}`);
  const named = new Set(PAIRS.flatMap(({ above, below }) => [above, below]));
  // Those that follow aliases stand around the stage that gives them.
  for (const name of names) if (!name.endsWith('_aliases')) t.ok(named.has(name), `${name} is in a pair`);
  for (const of of ['local', 'portal', 'list'] as const) t.ok(place(`${of}_aliases`) < place(of));
});
