// How long a server that was authenticated is remembered, and what makes it count as blocked.

import fc from 'fast-check';
import t from 'tap';

import type { ServerSpec } from '../../src/upstream/server.js';
import { leaked } from '../fixtures/network.js';
import { at, nameless, setUp } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const HOUR_MS = 3_600_000;

/** A server that is private and proved, and whose port 53 answers. */
async function proved() {
  const made = setUp([at('one', '192.0.2.1')], { mode: 'opportunistic' });
  const { network, tested, clock } = made;
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  network.shows = { authenticated: true };
  tested.prepare();
  await clock.advance(100);
  return made;
}

await t.test(
  'a server that has been proved for days without a break is still remembered when it is blocked',
  async t => {
    for (const queriesInAnHour of [1, 70]) {
      const { clock, network, ask } = await proved();
      for (let hour = 0; hour < 24 * 5; hour++) {
        for (let i = 0; i < queriesInAnHour; i++) {
          if (i < 5) ask();
          await clock.advance(HOUR_MS / queriesInAnHour);
        }
      }
      const before = leaked(network).length;
      network.serve = () => 'refuse';
      for (const each of network.streams) each.finish(true);
      for (let i = 0; i < 14; i++) {
        ask();
        await clock.advance(2000);
      }
      t.equal(leaked(network).length - before, 0, `${queriesInAnHour} queries in an hour`);
    }
  },
);

await t.test('failures before a sleep do not count after it', async t => {
  const { clock, network, ask, tested } = await proved();
  network.serve = () => 'refuse';
  for (const each of network.streams) each.finish(true);
  for (let i = 0; i < 12; i++) {
    ask();
    await clock.advance(2000);
  }
  clock.sleep(8 * HOUR_MS);
  tested.networkChanged('resume');
  for (let i = 0; i < 12; i++) {
    ask();
    await clock.advance(2000);
  }
  t.same(leaked(network), []);
});

await t.test('an old failure and a burst of new ones are not half a minute of failures', async t => {
  const { clock, network, ask } = await proved();
  network.serve = () => 'refuse';
  for (const each of network.streams) each.finish(true);
  ask();
  await clock.advance(100);
  await clock.advance(HOUR_MS);
  for (let i = 0; i < 12; i++) {
    ask();
    await clock.advance(1000);
  }
  t.same(leaked(network), []);
  for (let i = 0; i < 30; i++) {
    ask();
    await clock.advance(1000);
  }
  t.not(leaked(network).length, 0, 'half a minute is');
});

await t.test(
  'a name whose connection falls silent does not go in cleartext while another server is private',
  async t => {
    const { clock, network, ask, tested } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
      mode: 'opportunistic',
    });
    network.datagram = () => ({ answers: A });
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(100);
    for (let i = 0; i < 5; i++) {
      ask(`good${i}.example`);
      await clock.advance(100);
    }
    // The first server still accepts connections, and answers nothing. The second one knows no answer to some names.
    network.serve = (name, { address }) =>
      name === '' || (address === '192.0.2.2' && !name.startsWith('dead')) ? { answers: A } : 'silence';
    for (let i = 0; i < 40; i++) {
      ask(`dead${i}.example`);
      await clock.advance(250);
    }
    await clock.advance(5000);
    t.match(tested.overview()[1], { addresses: [{ state: 'private' }] });
    t.same(leaked(network), []);
  },
);

await t.test('the log does not say that queries go in cleartext while they do not', async t => {
  const { clock, network, log, tested, ask } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
    mode: 'opportunistic',
  });
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(100);
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? { answers: A } : 'refuse');
  for (const each of network.streams) if (each.target.address === '192.0.2.1') each.finish(true);
  for (let i = 0; i < 10; i++) {
    ask();
    await clock.advance(1000);
  }
  t.same(leaked(network), []);
  const lines = log.lines.filter(line => line.includes('192.0.2.1'));
  t.ok(lines.some(line => line.includes('refused')));
  t.notOk(lines.some(line => line.includes('in cleartext')));
});

await t.test('a server does not count as proved after a connection that proved nothing', async t => {
  const { clock, network, ask, tested } = await proved();
  ask();
  await clock.advance(100);
  t.match(tested.overview(), [{ addresses: [{ authenticated: true }] }]);
  // An interceptor answers from now on.
  network.shows = { authenticated: false };
  for (const each of network.streams) each.finish();
  ask();
  await clock.advance(100);
  t.match(tested.overview(), [{ addresses: [{ authenticated: false, state: 'private' }] }]);
  await clock.advance(10 * 60_000);
  t.match(tested.overview(), [{ addresses: [{ authenticated: false, connections: 0 }] }], 'nor when it is closed');
  network.shows = { authenticated: true };
  ask();
  await clock.advance(100);
  t.match(tested.overview(), [{ addresses: [{ authenticated: true }] }]);
});

await t.test('a handshake that takes as long as it must shows the name to no other server', async t => {
  for (const policy of ['sharded', 'ordered'] as const) {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')], { policy });
    network.connects = () => false;
    tested.prepare();
    for (const each of network.streams) each.accept();
    /** Lets the round trips of all that is under way pass, 150 ms each. */
    const roundTrip = async (): Promise<void> => {
      await clock.advance(150);
      for (const each of network.streams) while (each.queries.length > 0) each.answer({ answers: A });
      await clock.advance(0);
    };
    for (let i = 0; i < 6; i++) {
      ask('x.example');
      await roundTrip();
    }
    const first = network.streams.find(({ asked }) => asked.includes('x.example.'))?.target.address;
    // What keeps the connections warm for a while is answered.
    network.serve = () => ({ answers: A });
    await clock.advance(10 * 60_000);
    network.serve = undefined;
    const before = network.streams.length;
    const asked = ask('x.example');
    await roundTrip();
    await roundTrip();
    for (const each of network.streams.slice(before)) each.accept();
    await roundTrip();
    t.equal(asked.outcome?.at, 'reply');
    const others = network.streams.slice(before).filter(({ target }) => target.address !== first);
    t.same(
      others.flatMap(each => each.asked),
      [],
      policy,
    );
  }
});

await t.test('a server that is exchanged for one at the same address does not lose what is known about it', async t => {
  const system = nameless('192.0.2.1', { origin: 'system' });
  const announced = at('dns.example', '192.0.2.1');
  for (const [what, before, now, trust] of [
    ['the network announces its name', system, announced, ''],
    ['the network takes that back', announced, system, ''],
    ['a reload with other trusted roots', system, system, 'others'],
    [
      'a reload with another option',
      announced,
      { ...announced, https: { host: undefined, port: 443, path: '/q' } },
      '',
    ],
  ] as const) {
    const { clock, network, ask, tested, spec } = setUp([before], { mode: 'opportunistic' });
    network.datagram = () => ({ answers: A });
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(100);
    network.connects = () => false;
    tested.configure({ ...spec, servers: [now], trust });
    const asked = ask();
    await clock.advance(200);
    for (const each of network.streams) each.accept();
    await clock.advance(200);
    t.match(asked.outcome, { protocol: 'dot' }, what);
    t.same(leaked(network), [], what);
  }
});

await t.test('a server that was exchanged and is blocked then counts as blocked after half a minute', async t => {
  const { clock, network, ask, tested, spec } = setUp([nameless('192.0.2.1')], { mode: 'opportunistic' });
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(100);
  network.serve = () => 'refuse';
  tested.configure({ ...spec, trust: 'others' });
  for (let i = 0; i < 14; i++) {
    ask();
    await clock.advance(2000);
  }
  t.same(leaked(network), []);
  for (let i = 0; i < 8; i++) {
    ask();
    await clock.advance(2000);
  }
  t.not(leaked(network).length, 0);
  tested.configure({ ...spec, trust: 'yet others' });
  const before = leaked(network).length;
  ask();
  await clock.advance(2000);
  t.equal(leaked(network).length, before + 1, 'and stays blocked when it is exchanged again');
});

await t.test('what an exchanged server inherits does not hold on another network', async t => {
  const { clock, network, ask, tested, spec } = setUp([nameless('192.0.2.1')], { mode: 'opportunistic' });
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(100);
  network.serve = () => 'refuse';
  tested.configure({ ...spec, trust: 'others' });
  tested.networkChanged('network');
  ask();
  await clock.advance(1000);
  t.same(leaked(network), ['x.example.']);
});

await t.test('it is shown for how long queries go in cleartext now, without what was before', async t => {
  const { clock, network, ask, tested } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
    mode: 'opportunistic',
  });
  network.datagram = () => ({ answers: A });
  network.serve = () => 'refuse';
  tested.prepare();
  ask();
  await clock.advance(1000);
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? { answers: A } : 'refuse');
  tested.networkChanged('resume');
  await clock.advance(1000);
  t.match(tested.overview()[1], { addresses: [{ state: 'private' }] });
  await clock.advance(HOUR_MS);
  ask();
  await clock.advance(1000);
  network.serve = () => 'refuse';
  for (const each of network.streams) each.finish(true);
  for (let i = 0; i < 5; i++) {
    ask();
    await clock.advance(1000);
  }
  const shown = tested.overview().flatMap(({ addresses }) => addresses.map(({ cleartextMs = 0 }) => cleartextMs));
  t.ok(
    shown.every(ms => ms <= 10_000),
    shown.join(' '),
  );
  t.ok(shown.some(ms => ms > 0));
});

const DESIGNATED =
  '_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot,h2 port=853 dohpath=/q{?dns} ipv4hint=192.0.2.77';
const PLACES = ['192.0.2.1 853', '192.0.2.2 853', '192.0.2.77 853', '192.0.2.77 443', '192.0.2.1 443'];
const resolver = (address: string): ServerSpec => nameless(address, { discover: true, origin: 'system' });
const SERVERS: readonly (readonly ServerSpec[])[] = [
  [resolver('192.0.2.1'), resolver('192.0.2.2')],
  [at('dns.isp', '192.0.2.1'), resolver('192.0.2.2')],
  [{ ...at('dns.announced', '192.0.2.77'), mode: 'strict' }, resolver('192.0.2.1')],
  [{ ...at('dns.isp', '192.0.2.1'), https: { host: undefined, port: 443, path: '/q' } }, at('two', '192.0.2.2')],
];

const event = fc.oneof(
  fc.record({
    what: fc.constant('place' as const),
    place: fc.constantFrom(...PLACES),
    is: fc.constantFrom('ok' as const, 'refuse' as const, 'block' as const, 'mute' as const),
  }),
  fc.record({ what: fc.constant('changed' as const), how: fc.constantFrom('network' as const, 'resume' as const) }),
  fc.record({
    what: fc.constant('configured' as const),
    servers: fc.nat(SERVERS.length - 1),
    mode: fc.constantFrom('opportunistic' as const, 'opportunistic' as const, 'strict' as const),
  }),
  fc.record({ what: fc.constant('designates' as const), does: fc.boolean() }),
  fc.record({ what: fc.constant('broken' as const) }),
  fc.record({ what: fc.constant('pause' as const), ms: fc.integer({ min: 10, max: 40_000 }) }),
);
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;

/** Plays events, and returns what has left in cleartext although it must not; undefined: nothing. */
async function leakAfter(events: readonly Event[], authenticated: boolean): Promise<string | undefined> {
  const { clock, network, ask, tested, spec } = setUp(SERVERS[0] ?? [], { mode: 'opportunistic' });
  const places = new Map<string, 'ok' | 'refuse' | 'block' | 'mute'>(PLACES.map(place => [place, 'ok']));
  const now = { mode: 'opportunistic', servers: 0, designates: true, provedAtMs: -Infinity, trust: 0, names: 0 };
  const seen = new Set<string>();
  let leak: string | undefined;
  const has = (more: Partial<{ authenticated: boolean }>): boolean =>
    tested
      .overview()
      .some(({ addresses }) =>
        addresses.some(each => each.state === 'private' && (more.authenticated !== true || each.authenticated)),
      );
  network.shows = { authenticated };
  network.datagram = name => {
    if (name === '_dns.resolver.arpa.') return now.designates ? { answers: DESIGNATED } : { rcode: 3 };
    // A name that left before may be sent once more.
    if (name !== '.' && !seen.has(name)) {
      const provedMs = clock.monotonicMs() - now.provedAtMs;
      if (now.mode !== 'opportunistic' || has({}) || provedMs < 29_000)
        leak ??= `${name} in mode ${now.mode}, ${provedMs} ms after a proof`;
    }
    seen.add(name);
    return { answers: A };
  };
  network.serve = (name, { address, port }) => {
    const place = places.get(`${address} ${port}`) ?? 'refuse';
    if (place === 'refuse' || place === 'block') return place;
    if (name !== '' && (place === 'mute' || /^(slow|dead)/.test(name))) return 'silence';
    return name.startsWith('fail') ? { rcode: 2 } : { answers: A };
  };
  const askFor = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 250) {
      for (const kind of ['good', 'slow', 'fail', 'dead']) ask(`${kind}${now.names++}.example`);
      await clock.advance(250);
      if (has({ authenticated: true })) now.provedAtMs = clock.monotonicMs();
    }
  };
  tested.prepare();
  await clock.advance(100);
  for (const each of events) {
    if (each.what === 'place') places.set(each.place, each.is);
    else if (each.what === 'changed') tested.networkChanged(each.how);
    else if (each.what === 'designates') now.designates = each.does;
    else if (each.what === 'broken') for (const stream of network.streams) stream.finish(true);
    else if (each.what === 'pause') await clock.advance(each.ms);
    else {
      // With other servers, what these have proved says nothing. The same ones keep it, also if they are made anew.
      if (each.servers !== now.servers) now.provedAtMs = -Infinity;
      now.servers = each.servers;
      now.mode = each.mode;
      tested.configure({ ...spec, mode: each.mode, servers: SERVERS[each.servers] ?? [], trust: `${now.trust++}` });
    }
    await askFor(4000);
  }
  tested.destroy();
  return leak;
}

await t.test(
  'whatever happens: nothing in cleartext beside a private server, soon after a proof, or in strict mode',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 8 }), fc.boolean(), async (events, authenticated) => {
        const leak = await leakAfter(events, authenticated);
        if (leak !== undefined) throw new Error(leak);
      }),
      { numRuns: 40 },
    );
  },
);
