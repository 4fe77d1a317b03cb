// What explain says of a question is what a client then gets, over a configuration in which all rules for names meet.

import { createSocket } from 'node:dgram';

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { OPTION } from '../../src/wire/edns.js';
import { messageToText, type MessageText } from '../../src/wire/message.js';
import { queryMessage } from '../fixtures/client.js';
import { records } from '../fixtures/records.js';
import { type Json, Rig } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

const EDE_BLOCKED = 15;
const EDE_FILTERED = 17;

/** What the servers know. Aliases lead over every border: to lists, routes, own zones, special-use names and inside. */
const OUTSIDE = `
  example.            3600 SOA ns.example. hostmaster.example. 1 7200 3600 1209600 3600
  www.example.         300 A     192.0.2.80
  dual.example.        300 A     192.0.2.81
  dual.example.        300 AAAA  2001:db8::81
  six.example.         300 AAAA  2001:db8::82
  inside.example.      300 A     192.168.1.1
  mixed.example.       300 A     192.168.1.1
  mixed.example.       300 A     192.0.2.83
  ads.example.         300 A     192.0.2.66
  x.ads.example.       300 A     192.0.2.67
  fine.ads.example.    300 A     192.0.2.68
  games.example.       300 A     192.0.2.69
  games.example.       300 AAAA  2001:db8::69
  blockedaddress.example. 300 A  192.0.2.250
  to-ads.example.      300 CNAME x.ads.example.
  to-fine.example.     300 CNAME fine.ads.example.
  to-ads-twice.example. 300 CNAME to-ads.example.
  to-corp.example.     300 CNAME www.corp.example.
  to-local.example.    300 CNAME nas.home.arpa.
  to-localhost.example. 300 CNAME localhost.
  to-inside.example.   300 CNAME inside.example.
  to-onion.example.    300 CNAME abc.onion.
  to-nothing.example.  300 CNAME nothing.example.
  loop.example.        300 CNAME loop.example.
  cafe.example.        300 HTTPS \\# 11 0001000004 0004c0000250
  lan-hint.example.    300 HTTPS \\# 11 00010000040004 0a000001
`;
const CORP = `
  corp.example.       3600 SOA ns.corp.example. hostmaster.example. 1 7200 3600 1209600 3600
  www.corp.example.    300 A     10.0.0.7
  ads.corp.example.    300 A     10.0.0.8
  out.corp.example.    300 CNAME www.example.
  out-ads.corp.example. 300 CNAME x.ads.example.
  out-inside.corp.example. 300 CNAME inside.example.
`;
const LOCAL = [
  'nas.home.arpa. A 192.168.1.5',
  'tv.home.arpa. CNAME www.example.',
  'bad.home.arpa. CNAME x.ads.example.',
  'deep.home.arpa. CNAME to-corp.example.',
  'self.home.arpa. CNAME localhost.',
  'inner.home.arpa. CNAME inside.example.',
  'garden.home.arpa. A 192.168.1.9',
  '*.wild.home.arpa. A 192.168.1.6',
  'there.wild.home.arpa. TXT "x"',
  'www.own.example. A 192.168.1.7',
  'ads.own.example. CNAME ads.example.',
];
const NAMES = [
  ...[...OUTSIDE.matchAll(/^ +(\S+\.example)\. /gm), ...CORP.matchAll(/^ +(\S+\.example)\. /gm)].map(each => each[1]),
  ...LOCAL.map(each => each.split('. ')[0]?.replace('*', 'a.b')),
  ...[
    'nothing.example',
    'walled.example',
    'WWW.Example',
    'x.wild.home.arpa',
    'there.wild.home.arpa',
    'y.there.wild.home.arpa',
  ],
  ...['own.example', 'z.own.example', 'x.deep.ads.example', 'localhost', 'a.localhost', 'x.test', 'x.local', 'x.alt'],
  ...['home.arpa', 'none.home.arpa', 'service.arpa', 'x.onion', 'invalid', 'ipv4only.arpa', 'resolver.arpa'],
  ...['_dns.resolver.arpa', '1.0.0.127.in-addr.arpa', '5.1.168.192.in-addr.arpa', '9.9.168.192.in-addr.arpa'],
  ...['7.0.0.10.in-addr.arpa', '80.2.0.192.in-addr.arpa', 'example', 'corp.example', 'x.corp.example', '.'],
].flatMap(each => each ?? []);
const TYPES = ['A', 'AAAA', 'HTTPS', 'PTR', 'DS', 'SOA', 'ANY'];
const CLIENTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];

/** How a question was answered: what the reply itself says of it. */
interface Given {
  readonly text: MessageText;
  readonly source: string;
  readonly upstream: string;
}

async function given(rig: Rig, from: string, name: string, type: string): Promise<Given> {
  const query = queryMessage(name, { type, options: [{ code: OPTION.REPORT, data: Buffer.alloc(0) }] });
  const reply = await new Promise<Buffer>((resolve, reject) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => reject(new Error(`silence about ${name} ${type}`)), 8000);
    socket.on('message', message => {
      clearTimeout(timer);
      socket.close();
      resolve(message);
    });
    socket.bind(0, from, () => socket.send(query, rig.port, '127.0.0.1'));
  });
  const text = messageToText(reply);
  if (text === undefined) throw new Error('the reply cannot be read');
  const report = new URLSearchParams(text.option(OPTION.REPORT)?.toString() ?? '');
  return { text, source: report.get('source') ?? '', upstream: report.get('upstream') ?? '' };
}

interface By {
  readonly at: string;
  readonly rule?: { readonly list: string; readonly action: string };
  readonly upstream?: string;
  readonly servers?: readonly string[];
}

interface Explained {
  readonly by: By;
  readonly then: readonly { readonly by: By }[];
  readonly changes: readonly By[];
}

async function explained(rig: Rig, client: string, name: string, type: string): Promise<Explained> {
  const asked = { command: 'explain', args: [name, type, '--client', client] };
  const reply = await askDaemon(rig.path('control.sock'), asked);
  if (!reply.ok) throw new Error(reply.problem);
  return reply.data as Explained;
}

const RCODES: Readonly<Record<string, string>> = {
  ...{ nxdomain: 'NXDOMAIN', refused: 'REFUSED', null: 'NOERROR', data: 'NOERROR' },
};

/** In what a reply differs from what was explained; undefined: in nothing. */
function difference({ by, then, changes }: Explained, { text, source, upstream }: Given): string | undefined {
  const rule = [by, ...then.map(each => each.by), ...changes].find(each => each.at === 'rule')?.rule;
  const told = text.extendedErrors.filter(each => each.infoCode === EDE_BLOCKED || each.infoCode === EDE_FILTERED);
  const words = told.map(each => each.text).join();
  if (rule !== undefined) {
    if (!words.includes(`list ${rule.list}`)) return `the rule of ${rule.list} is not told: ${words}`;
    return text.rcode === RCODES[rule.action] ? undefined : `${text.rcode}, not ${rule.action}`;
  }
  // It asks nobody, and what is not kept, e.g. because a server has refused a target, it cannot know.
  if ((by.at === 'upstream' || by.at === 'route') && words.includes('its alias')) return undefined;
  if (words.includes(' list ')) return `a rule that is not explained: ${words}`;
  const isScreened = changes.some(each => each.at === 'rebinding');
  if (isScreened !== words.includes('rebinding')) return `rebinding ${isScreened}, and the reply says: ${words}`;
  const last = then.at(-1)?.by ?? by;
  switch (by.at) {
    case 'cache':
      if (source !== 'cache') return `from the cache, and the reply says ${source}`;
      return changes.length > 0 || (by.upstream ?? '') === upstream ? undefined : `${by.upstream} and not ${upstream}`;
    case 'upstream':
    case 'route':
      return source === 'upstream' || source === 'error' ? undefined : `of servers, and the reply says ${source}`;
    case 'failure':
      return source === 'error' ? undefined : `the failure of before, and the reply says ${source}`;
    case 'any':
      return text.answers.every(({ type }) => type === 'HINFO') ? undefined : 'ANY was looked up';
    default:
      return source === 'local' || then.length > 0 || last !== by
        ? undefined
        : `made here, and the reply says ${source}`;
  }
}

const config = (rig: Rig, upstream: Json, corp: string, more: Json): Json => ({
  ...{ upstream, routes: [{ zones: ['corp.example', '0.0.10.in-addr.arpa'], resolvers: [corp] }] },
  lists: [
    {
      ...{ name: 'ads', action: 'nxdomain' },
      sources: [rig.file('ads.txt', '||ads.example^\n@@||fine.ads.example^\n||ads.corp.example^\n||nas.home.arpa^\n')],
    },
    { name: 'games', action: 'null', sources: [rig.file('games.txt', '0.0.0.0 games.example\n')] },
    {
      ...{ name: 'zone', action: 'refused', format: 'rpz' },
      sources: [
        rig.file(
          'zone.rpz',
          '32.250.2.0.192.rpz-ip CNAME .\nabc.onion CNAME .\nwalled.example CNAME garden.home.arpa.\n',
        ),
      ],
    },
  ],
  clients: [
    { name: 'kids', networks: ['127.0.0.2'], lists: ['ads', 'games', 'zone'] },
    { name: 'free', networks: ['127.0.0.3'], lists: [], routes: false },
    { name: 'rest', networks: ['10.0.0.0/8'], lists: ['ads', 'zone'], default: true },
  ],
  local: { records: LOCAL, own_zones: ['own.example'] },
  ...more,
});

for (const [title, more] of [
  ['nothing else', {}],
  [
    'rebinding protection and DNS64',
    { rebinding: { protect: true, allow: ['to-inside.example'] }, dns64: { prefix: '2001:db8:64::/96' } },
  ],
] as const)
  await t.test(`what is explained is what is given, to each group, cached or not: ${title}`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(OUTSIDE)) });
    const corp = await rig.plain(world(records(CORP)));
    await rig.start(config(rig, { servers: [main.entry] }, corp.at, more));
    const wrong: string[] = [];
    let compared = 0;
    for (const name of NAMES)
      for (const type of TYPES)
        for (const client of CLIENTS) {
          await given(rig, client, name, type);
          // What servers have said is in the cache now: explain knows it, too.
          const words = await explained(rig, client, name, type);
          const found = difference(words, await given(rig, client, name, type));
          compared++;
          if (found !== undefined) wrong.push(`${name} ${type} for ${client}: ${found}: ${JSON.stringify(words)}`);
        }
    t.equal(compared, NAMES.length * TYPES.length * CLIENTS.length);
    t.same(wrong.slice(0, 40), []);
  });
