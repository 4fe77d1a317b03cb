// Lists in a running daemon: from files and from a real server over HTTPS, exchanged while it answers, for groups of clients.

import { createSocket } from 'node:dgram';
import { rmSync } from 'node:fs';
import { createServer } from 'node:https';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';

import t, { type Test } from 'tap';

import { RCODE } from '../../src/base/outcome.js';
import { framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { records } from '../fixtures/records.js';
import { eventually, KNOWN, Rig, type Json } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

const NAMES = `${KNOWN}
  lists.example.  300 A 127.0.0.1
  moved.example.  300 A 127.0.0.1
  ads.example.    300 A 192.0.2.66
  more.example.   300 A 192.0.2.67
  games.example.  300 A 192.0.2.68
`;

async function rigged(t: Test): Promise<{ readonly rig: Rig; readonly upstream: Json }> {
  const rig = await Rig.make(t);
  const answer = world(records(NAMES));
  const isRefused = (query: Buffer): boolean => query.includes('broken');
  const main = await rig.server('dns.test', {
    answer: query => (isRefused(query) ? responseTo(query, { rcode: RCODE.REFUSED }) : answer(query)),
  });
  return { rig, upstream: { servers: [main.entry] } };
}

const adsFrom = (...sources: readonly string[]): Json => ({ lists: [{ name: 'ads', sources }] });

await t.test('a file is in force from the first query on, and read again when it changes', async t => {
  const { rig, upstream } = await rigged(t);
  const file = rig.file('ads.txt', '0.0.0.0 ads.example\n');
  await rig.start({ upstream, ...adsFrom(file) });
  t.equal(await rig.answer('ads.example'), 'NXDOMAIN');
  // From the second time on, the reply is a ready one.
  for (let time = 0; time < 3; time++) t.equal(await rig.answer('more.example'), 'NOERROR 192.0.2.67');
  t.match(rig.overview().lists, {
    lists: [{ name: 'ads', rules: 1, sources: [{ source: file, problem: undefined }] }],
  });
  t.match(await rig.command('status'), /lists +ads: 1 rules/);
  t.match(rig.status, { lists: [{ name: 'ads', rules: 1 }] });
  rig.file('ads.txt', '0.0.0.0 more.example\nnot a rule\n');
  t.equal(
    await eventually(async () => rig.answer('more.example'), 'NXDOMAIN'),
    'NXDOMAIN',
    'a ready reply is not given',
  );
  t.equal(await rig.answer('ads.example'), 'NOERROR 192.0.2.66');
  t.ok(
    rig.lines.some(line => line.includes(`${file}:2:`)),
    'a line that is not used is told with file and line',
  );
  rmSync(file);
  t.match(await rig.command('lists', ['refresh']).catch(String), /ENOENT|no such file/i);
  t.match(rig.health, 'the list ads is not current');
  t.equal(await rig.answer('more.example'), 'NXDOMAIN', 'what was in force stays in force');
  t.match(await rig.command('lists', ['status']), /ads[^]*1 rules?[^]*no such file/);
  t.equal((await rig.metrics()).get('dotstub_list_answers_total{list="ads",action="nxdomain"}'), 3);
  await rig.reload({ upstream, lists: [{ name: 'other', sources: [rig.file('other.txt', 'other.example')] }] });
  t.equal(await rig.answer('other.example'), 'NXDOMAIN');
  const series = [...(await rig.metrics()).keys()].filter(key => key.startsWith('dotstub_list_answers_total'));
  t.same(
    series,
    ['dotstub_list_answers_total{list="other",action="nxdomain"}'],
    'a list that is gone leaves the metrics',
  );
});

await t.test(
  'a source that cannot be read keeps its rules of before, and all others change, also with a reload',
  async t => {
    const { rig, upstream } = await rigged(t);
    const ads = rig.file('ads.txt', '||ads.example^$denyallow=fine.ads.example\n');
    const games = rig.file('games.rpz', '$ORIGIN rpz.\n@ SOA a. b. 1 1 1 1 1\ngames.example A 192.0.2.99\n');
    const more = rig.file('more.txt', 'none.example\n');
    const source = (name: string, path: string, format = 'auto'): Json => ({ name, sources: [path], format });
    await rig.start({ upstream, lists: [source('ads', ads), source('games', games), source('more', more)] });
    const blocked = async (): Promise<readonly string[]> =>
      Promise.all(['ads', 'fine.ads', 'games', 'more'].map(async name => rig.answer(`${name}.example`)));
    t.same(await blocked(), ['NXDOMAIN', 'NXDOMAIN', 'NOERROR 192.0.2.99', 'NOERROR 192.0.2.67']);
    rmSync(ads);
    rmSync(games);
    rig.file('more.txt', 'more.example\n');
    t.match(await rig.command('lists', ['refresh', 'more']), /more[^]*1 rules?/);
    const kept = ['NXDOMAIN', 'NXDOMAIN', 'NOERROR 192.0.2.99', 'NXDOMAIN'];
    t.same(await blocked(), kept);
    t.match(rig.health, `the list ads is not current, and its rules of before are in force: ${ads}`);
    t.notMatch(rig.health, 'the list more');
    const status = await rig.command('lists', ['status']);
    t.match(status, `${ads}: 1 rules\n    there is no such file; its rules of before are in force`);
    const explained = await rig.command('explain', ['ads.example']);
    t.match(explained, `answer    nxdomain, by ${ads}:1, list ads`);
    t.notMatch(await rig.command('explain', ['fine.ads.example']), ads, 'what hangs on a rule is kept with it');

    await rig.reload({ upstream, lists: [source('more', more), source('games', games), source('ads', ads)] });
    t.same(await blocked(), kept);
    rig.file('more.txt', 'none.example\n');
    await rig.command('lists', ['refresh', 'more']);
    t.same(await blocked(), [...kept.slice(0, 3), 'NOERROR 192.0.2.67']);
    const warnings = rig.lines.filter(line => line.includes('ads.txt cannot be read any more'));
    t.equal(warnings.length, 1, 'which is said once');

    rig.file('ads.txt', 'more.example\n');
    rig.file('games.rpz', '');
    t.notMatch(await rig.command('lists', ['refresh']), 'no such file');
    t.same(await blocked(), ['NOERROR 192.0.2.66', 'NXDOMAIN', 'NOERROR 192.0.2.68', 'NXDOMAIN']);
    t.notMatch(rig.health, 'not current');
  },
);

await t.test('a file that is not there at the start is read as soon as it is', async t => {
  const { rig, upstream } = await rigged(t);
  const file = rig.file('ads.txt', '');
  rmSync(file);
  await rig.start({ upstream, ...adsFrom(file) });
  t.equal(await rig.answer('ads.example'), 'NOERROR 192.0.2.66');
  t.match(rig.health, 'the list ads is not current');
  rig.file('ads.txt', 'ads.example\n');
  t.equal(await eventually(async () => rig.answer('ads.example'), 'NXDOMAIN'), 'NXDOMAIN');
  t.notMatch(rig.health, 'not current');
});

interface ListServer {
  readonly port: number;
  text: string;
  status: number;
  /** How each request was answered. */
  readonly answered: number[];
}

async function listServer(rig: Rig, name: string): Promise<ListServer> {
  const identity = rig.issued(name);
  const made: ListServer & { port: number } = { port: 0, text: '', status: 200, answered: [] };
  const server = createServer({ cert: identity.cert, key: identity.key }, (request, response) => {
    const etag = `"${made.text.length}"`;
    const status = request.headers['if-none-match'] === etag && made.status === 200 ? 304 : made.status;
    made.answered.push(status);
    response.writeHead(status, {
      ...{ etag, 'content-type': 'text/plain' },
      ...(status === 302 ? { location: `https://lists.example:${made.port}/ads.txt` } : {}),
    });
    response.end(status === 200 ? made.text : '');
    if (made.status === 302) made.status = 200;
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  rig.onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  made.port = (server.address() as AddressInfo).port;
  return made;
}

await t.test(
  'a URL: fetched with a name that is resolved here; kept over a restart and over failures; asked with its ETag',
  async t => {
    const { rig, upstream } = await rigged(t);
    const server = await listServer(rig, 'lists.example');
    server.text = 'ads.example\n';
    server.status = 302;
    const url = `https://lists.example:${server.port}/ads.txt`;
    const config = { upstream, ...adsFrom(url) };
    await rig.start(config);
    t.equal(await eventually(async () => rig.answer('ads.example'), 'NXDOMAIN'), 'NXDOMAIN');
    t.same(server.answered, [302, 200], 'a redirect is followed');
    t.match(await rig.command('lists', ['refresh', 'ads']), /ads/);
    t.same(server.answered, [302, 200, 304]);

    server.status = 503;
    t.match(await rig.command('lists', ['refresh']).catch(String), 'status 503');
    t.equal(await rig.answer('ads.example'), 'NXDOMAIN', 'the copy of before stays in force');
    t.match(rig.health, 'its rules of before are in force');
    server.status = 200;
    server.text = 'more.example\nads.example\n';
    await rig.command('lists', ['refresh']);
    t.equal(await rig.answer('more.example'), 'NXDOMAIN');
    t.notMatch(rig.health, 'list');

    const count = server.answered.length;
    await rig.daemon.stop();
    await rig.start(config);
    t.equal(await rig.answer('more.example'), 'NXDOMAIN', 'at once, from the copy');
    t.equal(server.answered.length, count, 'which is not due yet');
    t.same(await rig.reload({ upstream }), { now: ['lists'], later: [] });
    t.equal(await rig.answer('more.example'), 'NOERROR 192.0.2.67');
  },
);

await t.test('a URL that could not be fetched is fetched at once when the network has changed', async t => {
  const { rig, upstream } = await rigged(t);
  const server = await listServer(rig, 'lists.example');
  server.status = 503;
  await rig.start({ upstream, ...adsFrom(`https://lists.example:${server.port}/ads.txt`) });
  t.match(await rig.command('lists', ['refresh']).catch(String), 'status 503');
  server.status = 200;
  server.text = 'ads.example\n';
  rig.resolvers = ['127.0.0.9'];
  let asked = 0;
  const look = async (): Promise<string> => {
    // The network is looked at before a question leaves.
    await rig.answer(`n${asked++}.example`);
    return rig.answer('ads.example');
  };
  t.equal(await eventually(look, 'NXDOMAIN'), 'NXDOMAIN', 'long before it is tried again');
});

await t.test('a server that does not prove its name gives no list', async t => {
  const { rig, upstream } = await rigged(t);
  const server = await listServer(rig, 'other.example');
  server.text = 'ads.example\n';
  await rig.start({ upstream, ...adsFrom(`https://lists.example:${server.port}/ads.txt`) });
  t.match(await rig.command('lists', ['refresh']).catch(String), 'lists.example: ');
  t.equal(await rig.answer('ads.example'), 'NOERROR 192.0.2.66');
  t.match(rig.health, 'none of its rules are in force');
  t.same(server.answered, []);
});

/** Asks from an address of this machine; the RCODE and the first data. */
async function askFrom(from: string, port: number, name: string, tcp: boolean): Promise<string> {
  const query = queryMessage(name);
  const reply = await new Promise<Buffer>((resolve, reject) => {
    if (tcp) {
      const socket = connect({ port, host: '127.0.0.1', localAddress: from }, () => socket.write(framed(query)));
      socket.on('data', chunk => {
        resolve(chunk.subarray(2));
        socket.destroy();
      });
      socket.on('error', reject);
      return;
    }
    const socket = createSocket('udp4');
    socket.on('message', message => {
      resolve(message);
      socket.close();
    });
    socket.bind(0, from, () => socket.send(query, port, '127.0.0.1'));
  });
  const text = messageToText(reply);
  return `${text?.rcode ?? ''} ${text?.answers[0]?.data ?? ''}`.trim();
}

for (const threads of [0, 1])
  await t.test(`groups have their own answers, cached or not, with ${threads} front threads`, async t => {
    const { rig, upstream } = await rigged(t);
    const list = (name: string, text: string, action = 'nxdomain'): Json => {
      return { name, sources: [rig.file(`${name}.txt`, text)], action };
    };
    const clients = [
      { name: 'kids', networks: ['127.0.0.2'], lists: ['games', 'ads'] },
      { name: 'all', networks: ['127.0.0.0/24'], lists: ['ads'], default: true },
      { name: 'free', networks: ['127.0.0.4/31'], lists: [] },
    ];
    const lists = [list('games', 'games.example', 'null'), list('ads', 'ads.example')];
    await rig.start({ upstream, front: { threads }, lists, clients });
    const expected: Readonly<Record<string, readonly [string, string]>> = {
      '127.0.0.2': ['NOERROR 0.0.0.0', 'NXDOMAIN'],
      '127.0.0.3': ['NOERROR 192.0.2.68', 'NXDOMAIN'],
      '127.0.0.4': ['NOERROR 192.0.2.68', 'NOERROR 192.0.2.66'],
      '127.0.1.1': ['NOERROR 192.0.2.68', 'NXDOMAIN'],
    };
    const rounds = Number(process.env['LISTS_ROUNDS'] ?? 100);
    for (let round = 0; round < rounds; round++)
      for (const [from, [games, ads]] of Object.entries(expected)) {
        const tcp = round % 10 === 9;
        const seen = [
          await askFrom(from, rig.port, 'games.example', tcp),
          await askFrom(from, rig.port, 'ads.example', tcp),
        ];
        if (seen[0] !== games || seen[1] !== ads) t.same(seen, [games, ads], `${from}, round ${round}`);
      }
    const hits = (await rig.metrics()).get('dotstub_cache_hits_total{kind="positive"}') ?? 0;
    t.ok(hits >= 3 * rounds, `a hit stays a hit (${hits})`);

    await rig.command('lists', ['pause', '5m', '--client-group', 'kids']);
    t.equal(await askFrom('127.0.0.2', rig.port, 'games.example', false), 'NOERROR 192.0.2.68');
    t.equal(await askFrom('127.0.0.3', rig.port, 'ads.example', false), 'NXDOMAIN');
    await rig.command('lists', ['resume']);
    t.equal(
      await askFrom('127.0.0.2', rig.port, 'games.example', false),
      'NOERROR 0.0.0.0',
      'the ready reply is forgotten',
    );
    t.same(await rig.reload({ upstream, front: { threads }, lists }), { now: ['clients'], later: [] });
    t.equal(
      await askFrom('127.0.0.4', rig.port, 'games.example', false),
      'NOERROR 0.0.0.0',
      'without groups, lists are for all',
    );
  });

for (const threads of [0, 1])
  await t.test(`DROP of a response policy zone: no reply, and nothing else waits (threads ${threads})`, async t => {
    const { rig, upstream } = await rigged(t);
    const file = rig.file('drop.rpz', '$ORIGIN rpz.example.\n@ SOA a. b. 1 1 1 1 1\nads.example CNAME rpz-drop.\n');
    await rig.start({ ...{ upstream, front: { threads } }, lists: [{ name: 'ads', sources: [file], format: 'rpz' }] });
    for (const tcp of [false, true]) {
      t.equal(await rig.answer('ads.example', { tcp, timeoutMs: 300 }), 'silence');
      t.equal(await rig.answer('more.example', { tcp }), 'NOERROR 192.0.2.67');
    }
    const metrics = await rig.metrics();
    t.equal(metrics.get('dotstub_dropped_total{reason="list"}'), 2);
    t.equal(metrics.get('dotstub_list_answers_total{list="ads",action="drop"}'), 2);
    t.equal(rig.overview().inflight, 0);
    t.match(await rig.command('explain', ['ads.example']), `answer    drop, by ${file}:3, list ads`);
  });

await t.test('where the alias of a rule leads: a name that is answered here leaves for nobody', async t => {
  const { rig, upstream } = await rigged(t);
  const main = await rig.server('dns.test');
  const rules = ['garden.home.arpa', 'localhost', 'x.own.example', 'chain.home.arpa', 'www.example'];
  const zone = rules.map((target, i) => `ads${i}.example CNAME ${target}.\n`).join('');
  await rig.start({
    upstream: { ...upstream, servers: [main.entry] },
    local: {
      records: ['garden.home.arpa. A 192.168.1.5', 'chain.home.arpa. CNAME www.example.'],
      own_zones: ['own.example'],
    },
    lists: [{ name: 'ads', format: 'rpz', sources: [rig.file('ads.rpz', zone)] }],
  });
  const given = [];
  for (const i of rules.keys()) given.push(await rig.answer(`ads${i}.example`));
  t.same(given, [
    'NOERROR garden.home.arpa. 192.168.1.5',
    'NOERROR localhost. 127.0.0.1',
    'NXDOMAIN x.own.example.',
    'NOERROR chain.home.arpa. www.example. 192.0.2.80',
    'NOERROR www.example. 192.0.2.80',
  ]);
  t.same([...new Set(main.asked)], ['www.example']);
  t.match(await rig.command('explain', ['ads0.example']), /then {6}garden\.home\.arpa\. A: made here: a local name/);
});

await t.test('explain says by which rule of which file and line, for which client, and asks nobody', async t => {
  const { rig, upstream } = await rigged(t);
  const file = rig.file('ads.txt', '! title\n||ads.example^\n@@||fine.example^\n');
  const corp = await rig.plain(world(records('www.corp.example. 300 A 192.0.2.11\n')));
  const cluster = { zones: ['cluster.local'], resolvers: [corp.at], kubernetes: true };
  await rig.start({
    ...{ upstream, ...adsFrom(file) },
    routes: [{ zones: ['corp.example', 'home.arpa'], resolvers: [corp.at] }, cluster],
    clients: [{ name: 'kids', networks: ['127.0.0.2'], lists: ['ads'], routes: false }],
    local: { records: ['tv.lan. CNAME www.example.', 'nas.lan. A 192.168.1.5'] },
    dns64: { prefix: '64:ff9b::/96' },
  });
  const kids = ['--client', '127.0.0.2'];
  const explained = async (...words: readonly string[]): Promise<string> => rig.command('explain', words);
  t.match(await explained('www.ads.example', ...kids), `answer    nxdomain, by ${file}:2, list ads`);
  t.match(await explained('fine.example', ...kids), `let through by ${file}:3, list ads`);
  t.match(
    await explained('ads.example', 'AAAA'),
    /in no group[^]*lists {5}none[^]*answer {4}of dns\.test, which would be asked/,
  );
  t.match(await explained('www.corp.example'), `answer    of the route for corp.example.: ${corp.at} would be asked`);
  t.match(await explained('www.corp.example', ...kids), 'of dns.test');
  t.match(
    await explained('www.example.com.cluster.local'),
    'answer    made here: the cluster of the route for cluster.local. has no such name (routes[].kubernetes)',
  );
  t.match(await explained('www.example', '--client', '192.0.2.1'), 'REFUSED');
  t.same(corp.asked, []);
  await rig.answer('www.example');
  t.match(await explained('www.example'), /answer {4}from the cache, for \d+ s more; dns\.test sent it/);
  t.match(await explained('localhost'), /answer {4}made here: it is a special-use name/);
  t.match(await explained('nas.lan'), /answer {4}made here: a local name/);
  t.match(
    await explained('tv.lan'),
    /answer {4}made here: a local name[^]*\nthen {6}www\.example\. A: from the cache/,
    'where its alias leads',
  );
  t.match(await explained('ipv4only.arpa', 'AAAA'), /answer {4}made here: .*dns64/);
  t.match(
    await explained('www.example', 'AAAA'),
    /answer {4}of dns\.test[^]*then {6}www\.example\. A: from the cache[^]*then {6}IPv6 addresses are made/,
  );
  t.match(await explained('x.home.arpa'), 'of the route for home.arpa.');
  t.match(
    await explained('x.home.arpa', ...kids),
    'special-use name',
    'a name of the house does not leave for anybody',
  );
  await rig.answer('broken.example');
  const failed = await explained('broken.example');
  t.match(failed, /answer {4}the failure of a moment ago, for \d s more: dns\.test answered REFUSED/);
  for (const bad of [['a..b'], ['a', 'NOTYPE'], ['a', 'A', '--client', 'x']]) await t.rejects(explained(...bad));
});

await t.test(
  'a group without routes is answered as if there were none, and neither has the answers of the other',
  async t => {
    const { rig, upstream } = await rigged(t);
    const corp = await rig.plain(world(records('www.example. 300 A 192.0.2.11\n')));
    const config = { routes: [{ zones: ['example'], resolvers: [corp.at] }] };
    await rig.start({ upstream, ...config, clients: [{ name: 'guests', networks: ['127.0.0.2'], routes: false }] });
    for (let i = 0; i < 4; i++) {
      t.equal(await askFrom('127.0.0.1', rig.port, 'www.example', i > 1), 'NOERROR 192.0.2.11');
      t.equal(await askFrom('127.0.0.2', rig.port, 'www.example', i > 1), 'NOERROR 192.0.2.80');
    }
    t.equal(corp.asked.length, 1);
  },
);
