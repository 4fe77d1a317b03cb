// Routes whose resolvers are asked over TLS, and whose answers are validated.

import t from 'tap';

import { records } from '../fixtures/records.js';
import { relay } from '../fixtures/relay.js';
import { eventually, KNOWN, Rig, type Json } from '../fixtures/rig.js';
import { signedTree } from '../fixtures/signed-records.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { world } from '../fixtures/world.js';

const CORP = world(records('www.corp.example. 300 A 10.0.0.7\n'));

await t.test('a route over TLS: who does not prove the name, or shows no pin, gets no query', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test', { answer: world(records(KNOWN)) });
  const identity = rig.issued('dns.corp.example');
  const corp = await rig.server('dns.corp.example', { answer: CORP, identity });
  const resolvers = corp.entry['addresses'];
  const config = (route: Json): Json => ({
    upstream: { servers: [main.entry] },
    routes: [{ zones: ['corp.example'], resolvers, ...route }],
  });
  await rig.start(config({ mode: 'strict', name: 'dns.corp.example' }));
  t.equal(await rig.answer('www.corp.example'), 'NOERROR 10.0.0.7');
  t.match(rig.overview().servers, [
    { purpose: 'main' },
    { purpose: 'route', label: 'dns.corp.example', addresses: [{ state: 'private', path: 'tls' }] },
  ]);

  await rig.reload(config({ mode: 'strict', name: 'other.corp.example' }));
  const before = corp.asked.length;
  t.equal(await rig.answer('www.corp.example'), 'SERVFAIL');
  t.equal(corp.asked.length, before, 'it has not proved the name');
  await rig.reload(config({ mode: 'encrypted' }));
  t.equal(await rig.answer('www.corp.example'), 'NOERROR 10.0.0.7', 'it need not');

  await rig.reload(config({ mode: 'strict', pins: [`sha256/${rig.identity.pin}`] }));
  t.equal(await rig.answer('www.corp.example'), 'SERVFAIL', 'the pin of another');
  await rig.reload(config({ mode: 'strict', pins: [`sha256/${identity.pin}`] }));
  t.equal(await rig.answer('www.corp.example'), 'NOERROR 10.0.0.7');
  t.notOk(
    main.asked.some(name => name.includes('corp')),
    'nobody else is asked',
  );
  t.equal((await rig.metrics()).get('dotstub_cleartext_queries_total{reason="conditional"}') ?? 0, 0);
});

await t.test('the longest zone wins, each with its own mode', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const corp = await rig.server('dns.corp.example', { answer: CORP });
  const inner = await rig.plain(world(records('www.lab.corp.example. 300 A 10.0.1.7\n')));
  await rig.start({
    upstream: { servers: [main.entry] },
    routes: [
      { zones: ['corp.example'], resolvers: corp.entry['addresses'], mode: 'strict', name: 'dns.corp.example' },
      { zones: ['lab.corp.example'], resolvers: [inner.at] },
    ],
  });
  t.equal(await rig.answer('www.lab.corp.example'), 'NOERROR 10.0.1.7');
  t.equal(await rig.answer('www.corp.example'), 'NOERROR 10.0.0.7');
  t.same(
    corp.asked.filter(name => name.includes('lab')),
    [],
  );
  t.same(inner.asked, ['www.lab.corp.example']);
});

await t.test('a route that is validated: its answers are secure, bogus or insecure like all others', async t => {
  const rig = await Rig.make(t);
  const nowSec = Math.floor(Date.now() / 1000);
  const tree = signedTree(
    {
      '.': { text: '' },
      'example.': { text: 'www.example. 60 A 192.0.2.1\n' },
      'corp.example.': { text: 'www.corp.example. 60 A 10.0.0.7\nold.corp.example. 60 A 10.0.0.8\n' },
    },
    nowSec,
  );
  const forged = signedTree({ 'corp.example.': { text: 'www.corp.example. 60 A 10.0.0.66\n' } }, nowSec);
  const main = await rig.server('dns.test', { answer: tree.answer });
  let lies = false;
  const corp = await rig.server('dns.corp.example', {
    answer: query => (lies ? forged : tree).answer(query),
  });
  const config = (dnssec: string): Json => ({
    upstream: { servers: [main.entry] },
    dnssec: { mode: 'require', trust_anchors: tree.anchors },
    routes: [
      {
        ...{ zones: ['corp.example'], resolvers: corp.entry['addresses'] },
        ...{ mode: 'strict', name: 'dns.corp.example', dnssec },
      },
    ],
  });
  await rig.start(config('require'));
  t.equal(await rig.answer('www.corp.example', { dnssec: true }), 'NOERROR ad 10.0.0.7');
  t.equal(await rig.answer('www.example', { dnssec: true }), 'NOERROR ad 192.0.2.1');
  t.ok(corp.asked.includes('www.corp.example'));
  t.notOk(main.asked.includes('www.corp.example'), 'nobody else is asked about its names');
  t.ok(main.asked.includes('corp.example'), 'the DS records of the zone are those of its parent');

  lies = true;
  t.equal(await rig.answer('old.corp.example'), 'SERVFAIL', 'not what the zone has signed');
  await rig.reload(config('insecure'));
  t.equal(await rig.answer('www.corp.example'), 'NOERROR 10.0.0.66', 'not validated, and so without AD');
});

await t.test(
  'routes within a route: no name of them is asked of anybody else, for the chain of trust neither',
  async t => {
    const rig = await Rig.make(t);
    const nowSec = Math.floor(Date.now() / 1000);
    const tree = signedTree(
      {
        '.': { text: '' },
        'example.': { text: 'www.example. 60 A 192.0.2.1\n' },
        'corp.example.': { text: 'app.corp.example. 60 CNAME host.ad.corp.example.\n' },
        'lab.corp.example.': { text: 'www.lab.corp.example. 60 A 10.0.1.7\n' },
      },
      nowSec,
    );
    const main = await rig.server('dns.test', { answer: tree.answer });
    const corp = await rig.server('dns.corp.example', { answer: tree.answer });
    const inner = await rig.plain(world(records('host.ad.corp.example. 300 A 10.0.2.7\n')));
    const over = {
      ...{ resolvers: corp.entry['addresses'], mode: 'strict', name: 'dns.corp.example', dnssec: 'require' },
    };
    await rig.start({
      upstream: { servers: [main.entry] },
      dnssec: { mode: 'require', trust_anchors: tree.anchors },
      routes: [
        { zones: ['corp.example', 'lab.corp.example'], ...over },
        { zones: ['ad.corp.example'], resolvers: [inner.at] },
      ],
    });
    t.equal(await rig.answer('www.lab.corp.example', { dnssec: true }), 'NOERROR ad 10.0.1.7');
    t.equal(await rig.answer('host.ad.corp.example'), 'NOERROR 10.0.2.7');
    await rig.answer('app.corp.example');
    t.ok(inner.asked.includes('host.ad.corp.example'));
    t.same(
      main.asked.filter(name => name.endsWith('.corp.example')),
      [],
    );
  },
);

await t.test('a question on its way to a validated route that goes elsewhere is asked there', async t => {
  const rig = await Rig.make(t);
  const tree = signedTree(
    { '.': { text: '' }, 'corp.example.': { text: 'www.corp.example. 60 A 10.0.0.7\n' } },
    Math.floor(Date.now() / 1000),
  );
  const main = await rig.server('dns.test', { answer: tree.answer });
  const silent = await rig.server('dns.corp.example', { answer: () => undefined });
  const other = await rig.server('dns.corp.example', { answer: tree.answer });
  const config = (server: typeof other): Json => ({
    upstream: { servers: [main.entry] },
    dnssec: { mode: 'require', trust_anchors: tree.anchors },
    routes: [
      {
        ...{ zones: ['corp.example'], resolvers: server.entry['addresses'] },
        ...{ mode: 'strict', name: 'dns.corp.example', dnssec: 'require' },
      },
    ],
  });
  await rig.start(config(silent));
  const answer = rig.answer('www.corp.example', { dnssec: true });
  await eventually(() => silent.asked.includes('www.corp.example'), true);
  await rig.reload(config(other));
  t.equal(await answer, 'NOERROR ad 10.0.0.7');
});

await t.test(
  'a question that waits for a handshake with a main server goes to the route that takes its name',
  async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test');
    const inside = await rig.plain(CORP);
    const behind = await relay(main.port, 500);
    rig.onEnd(() => behind.close());
    const config = (...routes: readonly Json[]): Json => ({
      upstream: { servers: [{ name: 'dns.test', addresses: [`127.0.0.1:${behind.port}`] }] },
      routes,
    });
    await rig.start(config());
    const answer = rig.answer('www.corp.example');
    await eventually(() => rig.overview().inflight, 1);
    await rig.reload(config({ zones: ['corp.example'], resolvers: [inside.at] }));
    t.equal(await answer, 'NOERROR 10.0.0.7');
    t.match(await rig.answer('www.example'), 'NOERROR 192.0.2.80', 'the main server is reached');
    t.notOk(main.asked.includes('www.corp.example'));
  },
);

/** What is in force when a route has gone, and what a client gets then. */
const AFTER: Readonly<Record<string, { readonly config: Json; readonly gives: string }>> = {
  'a zone of our own': { config: { local: { own_zones: ['corp.example'] } }, gives: 'NXDOMAIN' },
  'a list': { config: {}, gives: 'REFUSED' },
  nothing: { config: {}, gives: 'NOERROR 10.0.0.7' },
};

for (const [what, { config: after, gives }] of Object.entries(AFTER))
  for (const waitsFor of ['chain', 'answer'] as const)
    await t.test(
      `a route that goes while its ${waitsFor} is waited for, and ${what} comes: the question begins anew`,
      async t => {
        const rig = await Rig.make(t);
        const nowSec = Math.floor(Date.now() / 1000);
        const zones = {
          '.': { text: '' },
          'example.': { text: 'www.example. 60 A 192.0.2.1\n' },
          'corp.example.': { text: 'www.corp.example. 60 A 10.0.0.7\n' },
        };
        const tree = signedTree(zones, nowSec);
        const forged = signedTree({ 'corp.example.': { text: 'www.corp.example. 60 A 10.0.0.66\n' } }, nowSec);
        const main = await rig.server('dns.test', { answer: tree.answer });
        const held: (() => void)[] = [];
        const corp = await rig.server('dns.corp.example');
        corp.dot.handler = (query, session) => {
          const type = query.readUInt16BE(query.indexOf(0, 12) + 1);
          corp.asked.push(`${type}`);
          const reply = (waitsFor === 'chain' && type === TYPE.A ? forged : tree).answer(query);
          const isHeld = waitsFor === 'chain' ? type === TYPE.DNSKEY : type === TYPE.A;
          if (isHeld) held.push(() => reply && session.reply(reply));
          else if (reply !== undefined) session.reply(reply);
        };
        const common = {
          upstream: { servers: [main.entry] },
          dnssec: { mode: 'require', trust_anchors: tree.anchors },
        };
        const route = { zones: ['corp.example'], resolvers: corp.entry['addresses'], mode: 'strict' };
        await rig.start({ ...common, routes: [{ ...route, name: 'dns.corp.example', dnssec: 'require' }] });
        const answer = rig.answer('www.corp.example');
        await eventually(() => held.length > 0, true);
        const inside = {
          name: 'inside',
          sources: [rig.file('inside.txt', '||corp.example^\n')],
          action: 'refused',
        };
        await rig.reload({ ...common, ...after, ...(what === 'a list' ? { lists: [inside] } : {}) });
        for (const each of held) each();
        t.equal(await answer, gives);
        if (what !== 'nothing')
          t.same(
            main.asked.filter(name => name.endsWith('www.corp.example')),
            [],
            'no name of it leaves',
          );
      },
    );
