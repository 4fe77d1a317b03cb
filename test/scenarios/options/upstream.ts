// Options about who is asked: upstream.

import { TLSSocket } from 'node:tls';

import { hybridGroups } from '../../../src/upstream/dial.js';
import { certificate } from '../../fixtures/certificates.js';
import { freePort } from '../../fixtures/free-port.js';
import { answerOver, httpsServer } from '../../fixtures/https-server.js';
import { type Json, KNOWN, type Rig, type RigServer } from '../../fixtures/rig.js';
import { records } from '../../fixtures/records.js';
import { world } from '../../fixtures/world.js';
import type { Row, Scene } from './row.js';

/** What the overview, the status and the metrics say about the servers. */
async function told(rig: Rig): Promise<unknown> {
  const { mode, servers } = rig.overview();
  const series = await rig.metrics();
  const of = (name: string): string[] =>
    [...series]
      .filter(([key]) => key.startsWith(`dotstub_${name}{`))
      .map(([key, value]) => `${/upstream="([^"]*)"/.exec(key)?.[1] ?? ''} ${value}`)
      .toSorted();
  return {
    mode,
    modes: [...series]
      .filter(([key, value]) => key.startsWith('dotstub_upstream_mode') && value === 1)
      .map(([key]) => key),
    servers: servers.map(({ label, purpose, addresses }) => [label, purpose, addresses.map(({ path }) => path)]),
    up: of('upstream_up'),
    authenticated: of('upstream_authenticated'),
    measured: [
      ...of('upstream_request_duration_seconds_count'),
      ...of('upstream_handshake_duration_seconds_count'),
    ].map(each => each.replace(/ [1-9]\d*$/, ' some')),
  };
}

/** What `told` says about one server in a strict daemon. */
const strictly = (label: string, up: boolean): Json => ({
  mode: 'strict',
  modes: ['dotstub_upstream_mode{mode="strict"}'],
  servers: [[label, 'main', [up ? 'tls' : 'refuse']]],
  up: [`${label} ${up ? 1 : 0}`],
  authenticated: [`${label} ${up ? 1 : 0}`],
});
const measured = (...labels: string[]): Json => ({
  measured: [...labels.map(each => `${each} some`), ...labels.map(each => `${each} some`)],
});

const rcodeOf = (answer: string): string => answer.split(' ')[0] ?? '';

const MODES: readonly Row[] = [
  {
    title: 'upstream.mode: a server that proves nothing, strict and encrypted',
    options: ['upstream.mode'],
    cache: 'unseen',
    scene: async rig => {
      const rogue = await rig.server('rogue.test', {
        identity: certificate({ common: 'rogue.test', names: ['rogue.test'] }),
      });
      const upstream = { servers: [rogue.entry] };
      const facts = (mode: string, reached: boolean): Json => ({
        answer: reached ? 'NOERROR' : 'SERVFAIL',
        arrived: reached,
        mode,
        up: `rogue.test ${reached ? 1 : 0}`,
        authenticated: 'rogue.test 0',
      });
      return {
        before: { upstream: { ...upstream, mode: 'strict' } },
        after: { upstream: { ...upstream, mode: 'encrypted' } },
        facts: async () => {
          const name = rig.fresh();
          const answer = rcodeOf(await rig.answer(name));
          const { mode, up, authenticated } = (await told(rig)) as Readonly<Record<string, readonly string[]>>;
          return {
            answer,
            arrived: rogue.asked.includes(name),
            mode,
            up: up?.join(),
            authenticated: authenticated?.join(),
          };
        },
        expected: { before: facts('strict', false), after: facts('encrypted', true) },
      };
    },
  },
  {
    title: 'upstream.mode: encrypted and opportunistic',
    options: ['upstream.mode'],
    slow: true,
    scene: async (rig, main) => ({
      before: { upstream: { mode: 'encrypted' } },
      after: { upstream: { mode: 'opportunistic' } },
      facts: async () => {
        const [server] = rig.overview().servers;
        const { mode, path, state } = { mode: rig.overview().mode, ...server?.addresses[0] };
        if (state !== 'private') return { mode, path };
        const name = rig.fresh();
        const answer = rcodeOf(await rig.answer(name));
        return { mode, path, answer, arrived: main.asked.includes(name) };
      },
      expected: {
        before: { mode: 'encrypted', path: 'tls', answer: 'NOERROR', arrived: true },
        after: { mode: 'opportunistic', path: 'tls', answer: 'NOERROR', arrived: true },
      },
    }),
  },
  {
    title: "upstream.servers: to the system's resolvers and back",
    options: ['upstream.servers'],
    scene: async (rig, main) => {
      // Nobody is there: what matters is where questions go.
      rig.resolvers = ['127.99.0.1'];
      return { ...(await systemResolvers(rig, main)), before: {}, after: { upstream: { servers: [] } } };
    },
  },
  {
    title: "upstream.servers: from the system's resolvers, and back",
    options: ['upstream.servers'],
    cache: 'unseen',
    scene: async (rig, main) => {
      rig.resolvers = ['127.99.0.1'];
      const { facts, expected } = await systemResolvers(rig, main);
      const swapped = { before: expected.after, after: expected.before };
      return { facts, expected: swapped, before: { upstream: { servers: [] } }, after: {} };
    },
  },
];

/** Whether a question goes to the server over TLS, or in cleartext to a resolver of the system. */
async function systemResolvers(rig: Rig, main: RigServer): Promise<Pick<Scene, 'facts' | 'expected'>> {
  let cleartext = 0;
  return {
    facts: async () => {
      const name = rig.fresh();
      await rig.answer(name);
      const sent = [...(await rig.metrics())].find(([key]) =>
        key.includes('cleartext_queries_total{reason="opportunistic"}'),
      );
      const grown = (sent?.[1] ?? 0) > cleartext;
      cleartext = sent?.[1] ?? 0;
      const { mode, servers } = rig.overview();
      return { arrived: main.asked.includes(name), grown, mode, labels: servers.map(({ label }) => label) };
    },
    expected: {
      before: { arrived: true, grown: false, mode: 'strict', labels: ['dns.test'] },
      after: { arrived: false, grown: true, mode: 'opportunistic', labels: ['127.99.0.1'] },
    },
  };
}

const POLICY: Row = {
  title: 'upstream.policy: connections are kept',
  options: ['upstream.policy'],
  cache: 'unseen',
  scene: async rig => {
    const [one, two] = [await rig.server('one.test'), await rig.server('two.test')];
    const servers = [one.entry, two.entry];
    return {
      before: { upstream: { servers, policy: 'ordered' } },
      after: { upstream: { servers, policy: 'round_robin' } },
      facts: async () => {
        const [first, second] = [one.asked.length, two.asked.length];
        for (let i = 0; i < 6; i++) await rig.answer(rig.fresh());
        return {
          shares: [one.asked.length - first, two.asked.length - second],
          connections: [one.dot.connections, two.dot.connections],
        };
      },
      expected: {
        before: { shares: [6, 0], connections: [1, 1] },
        after: { shares: [3, 3], connections: [1, 1] },
      },
    };
  },
};

/** Whether the server is trusted. Where it is not, nothing may reach it, whatever connections there were. */
const roots = (title: string, make: (rig: Rig, other: string) => Pick<Scene, 'before' | 'after' | 'apply'>): Row => ({
  title: `upstream.ca_file: ${title}`,
  options: ['upstream.ca_file'],
  scene: async (rig, main) => {
    const { apply, before, after } = make(rig, certificate({ common: 'another CA', ca: true }).cert);
    return {
      ...(apply === undefined ? {} : { apply }),
      before,
      after,
      facts: async () => {
        const name = rig.fresh();
        const answer = rcodeOf(await rig.answer(name));
        return { answer, arrived: main.asked.includes(name), told: await told(rig) };
      },
      expected: {
        before: { answer: 'NOERROR', arrived: true, told: { ...strictly('dns.test', true), ...measured('dns.test') } },
        after: {
          answer: 'SERVFAIL',
          arrived: false,
          told: { ...strictly('dns.test', false), ...measured('dns.test') },
        },
      },
    };
  },
});

/** As whom the server sees us; undefined: as nobody. */
const client = (
  title: string,
  options: readonly string[],
  make: (rig: Rig) => Pick<Scene, 'before' | 'after' | 'apply'>,
  expected: readonly [string, string],
): Row => ({
  title: `upstream client certificate: ${title}`,
  options,
  scene: async rig => {
    const server = await rig.server('asks.test', { tls: { requestCert: true, rejectUnauthorized: false } });
    const seen: string[] = [];
    server.dot.handler = (query, session) => {
      const { socket } = session;
      const peer = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
      seen.push(peer?.subject.replace('CN=', '') ?? 'nobody');
      session.reply(world(records(KNOWN))(query) ?? Buffer.alloc(0));
    };
    const { apply, before, after } = make(rig);
    const withServer = ({ upstream }: Json): Json => ({ upstream: merge({ servers: [server.entry] }, upstream) });
    return {
      ...(apply === undefined ? {} : { apply }),
      before: withServer(before),
      after: withServer(after),
      facts: async () => [rcodeOf(await rig.answer(rig.fresh())), seen.at(-1)],
      expected: { before: ['NOERROR', expected[0]], after: ['NOERROR', expected[1]] },
    };
  },
  cache: 'unseen',
});

const merge = (one: Json, other: unknown): Json => ({ ...one, ...(typeof other === 'object' ? other : {}) });

const TRUST: readonly Row[] = [
  roots('another file', (rig, other) => ({
    before: {},
    after: { upstream: { ca_file: rig.file('other.pem', other) } },
  })),
  roots('other contents of the same file', (rig, other) => ({
    apply: phase => void rig.file('ca.pem', phase === 'before' ? rig.ca.cert : other),
    before: {},
    after: {},
  })),
  client(
    'none, one, none',
    ['upstream.client_certificate', 'upstream.client_key'],
    rig => {
      const { cert, key } = rig.issued('alice.test');
      const files = { client_certificate: rig.file('alice.pem', cert), client_key: rig.file('alice.key', key) };
      return { before: { upstream: {} }, after: { upstream: files } };
    },
    ['nobody', 'alice.test'],
  ),
  client(
    'other contents of the same files',
    ['upstream.client_certificate', 'upstream.client_key'],
    rig => {
      const both = { before: rig.issued('alice.test'), after: rig.issued('bob.test') };
      const upstream = { client_certificate: rig.path('me.pem'), client_key: rig.path('me.key') };
      return {
        apply: phase => {
          rig.file('me.pem', both[phase].cert);
          rig.file('me.key', both[phase].key);
        },
        before: { upstream },
        after: { upstream },
      };
    },
    ['alice.test', 'bob.test'],
  ),
];

const KEY_EXCHANGE: readonly Row[] = [
  {
    title: 'upstream.tls.require_pq: connections of before are not used any more, and servers without it are refused',
    options: ['upstream.tls.require_pq'],
    cache: 'unseen',
    slow: true,
    skip: hybridGroups().length === 0 && 'this OpenSSL has no post-quantum key exchange',
    scene: async (rig, main) => {
      const old = await rig.server('old.test', { tls: { ecdhCurve: 'X25519' } });
      const shown = async (): Promise<unknown> => {
        const series = [...(await rig.metrics())].filter(
          ([key, value]) => key.startsWith('dotstub_upstream_key_exchange{') && value === 1,
        );
        return {
          groups: rig.overview().servers.map(({ label, addresses }) => [label, addresses[0]?.tlsGroup]),
          counted: series.map(([key]) => key.replace(/^[^{]*/, '')).toSorted(),
          failures: rig.overview().servers.map(({ addresses }) => addresses[0]?.failure?.includes('post-quantum')),
        };
      };
      const upstream = { servers: [main.entry, old.entry] };
      const series = (label: string, group: string): string => `{upstream="${label}",group="${group}"}`;
      const before = {
        groups: [
          ['dns.test', 'X25519MLKEM768'],
          ['old.test', 'x25519'],
        ],
        counted: [series('dns.test', 'X25519MLKEM768'), series('old.test', 'x25519')],
        failures: [undefined, undefined],
      };
      return {
        before: { upstream },
        after: { upstream: { ...upstream, tls: { require_pq: true } } },
        facts: async () => {
          await rig.answer(rig.fresh());
          return shown();
        },
        expected: {
          before,
          after: {
            groups: [
              ['dns.test', 'X25519MLKEM768'],
              ['old.test', undefined],
            ],
            counted: [series('dns.test', 'X25519MLKEM768')],
            failures: [undefined, true],
          },
        },
      };
    },
  },
];

const SERVERS: readonly Row[] = [
  {
    title: 'upstream.servers: one goes, another comes',
    options: ['upstream.servers'],
    slow: true,
    scene: async (rig, main) => {
      const other = await rig.server('other.test');
      return {
        before: {},
        after: { upstream: { servers: [other.entry] } },
        facts: async () => {
          const name = rig.fresh();
          const answer = rcodeOf(await rig.answer(name));
          const series = [...(await rig.metrics()).keys()];
          return {
            answer,
            arrived: [main.asked.includes(name), other.asked.includes(name)],
            named: [/upstream="dns.test"/, /upstream="other.test"/].map(each => series.some(key => each.test(key))),
            open: [main.dot.sessions.size > 0, other.dot.sessions.size > 0],
            told: await told(rig),
          };
        },
        expected: {
          before: {
            answer: 'NOERROR',
            arrived: [true, false],
            named: [true, false],
            open: [true, false],
            told: { ...strictly('dns.test', true), ...measured('dns.test') },
          },
          after: {
            answer: 'NOERROR',
            arrived: [false, true],
            named: [false, true],
            open: [false, true],
            told: { ...strictly('other.test', true), ...measured('other.test') },
          },
        },
      };
    },
  },
  {
    title: 'upstream.servers: dane, for a server whose certificate an authority has signed and no TLSA record names',
    options: ['upstream.servers'],
    cache: 'unseen',
    slow: true,
    scene: async (rig, main) => ({
      before: { upstream: { servers: [main.entry] } },
      after: { upstream: { servers: [{ ...main.entry, dane: true }] } },
      facts: async () => {
        const name = rig.fresh();
        const answer = rcodeOf(await rig.answer(name));
        const one = rig.overview().servers[0]?.addresses[0];
        return {
          answer,
          arrived: main.asked.includes(name),
          dane: one?.dane,
          authenticated: one?.authenticated,
          why: /TLSA records of _\d+\._tcp\.dns\.test|_\d+\._tcp\.dns\.test\. is in a zone/.test(one?.failure ?? ''),
          told: ((await told(rig)) as { readonly authenticated: unknown }).authenticated,
        };
      },
      expected: {
        before: {
          ...{ answer: 'NOERROR', arrived: true, dane: false, authenticated: true },
          ...{ why: false, told: ['dns.test 1'] },
        },
        after: {
          ...{ answer: 'SERVFAIL', arrived: false, dane: true, authenticated: false },
          ...{ why: true, told: ['dns.test 0'] },
        },
      },
    }),
  },
  {
    title: 'upstream.servers: one more of the same name; the first keeps its connection',
    options: ['upstream.servers'],
    scene: async (rig, main) => {
      const twin = await rig.server('dns.test');
      return {
        before: {},
        after: { upstream: { servers: [main.entry, twin.entry] } },
        facts: async () => {
          await rig.answer(rig.fresh());
          const labels = rig.overview().servers.map(({ label }) => label);
          return { connections: main.dot.connections, labels, different: new Set(labels).size === labels.length };
        },
        expected: {
          before: { connections: 1, labels: ['dns.test'], different: true },
          after: { connections: 1, labels: ['dns.test', `dns.test (127.0.0.1:${twin.port})`], different: true },
        },
      };
    },
  },
  {
    title: 'upstream.servers: https comes, while nobody listens on the port of DNS over TLS',
    cache: 'unseen',
    options: ['upstream.servers'],
    slow: true,
    scene: async rig => {
      const answer = world(records(KNOWN));
      const server = await httpsServer(rig.issued('dns.test'), (query, stream) =>
        answerOver(stream, answer(query) ?? Buffer.alloc(0)),
      );
      rig.onEnd(async () => server.close());
      const entry = { name: 'dns.test', addresses: [`127.0.0.1:${await freePort()}`] };
      const https = `https://dns.test:${server.port}/dns-query`;
      const facts = (works: boolean): Json => ({
        rcode: works ? 'NOERROR' : 'SERVFAIL',
        transport: works ? 'https' : 'none',
        series: [works ? 'https' : 'none'],
        told: [!works, works],
      });
      return {
        before: { upstream: { servers: [entry] } },
        after: { upstream: { servers: [{ ...entry, https }] } },
        facts: async () => {
          const rcode = rcodeOf(await rig.answer(rig.fresh()));
          const address = rig.overview().servers[0]?.addresses[0];
          const series = await rig.metrics();
          return {
            rcode,
            transport: address?.transport,
            series: [...series].flatMap(([key, value]) =>
              key.startsWith('dotstub_upstream_transport{') && value === 1
                ? [/transport="([^"]*)"/.exec(key)?.[1] ?? '']
                : [],
            ),
            told: [
              /set upstream\.servers\[\]\.https/.test(address?.hint ?? ''),
              /connection refused/.test(address?.transportReason ?? ''),
            ],
          };
        },
        expected: { before: facts(false), after: facts(true) },
      };
    },
  },
  {
    title: 'upstream.randomize_case: names in cleartext as they are, and in random letter case',
    options: ['upstream.randomize_case'],
    cache: 'unseen',
    scene: async rig => {
      const cases: string[] = [];
      const known = world(records(KNOWN));
      const plain = await rig.plain(query => {
        const name = query.toString('latin1', 12, query.indexOf(0, 12));
        if (name.toLowerCase().includes('fresh')) cases.push(name);
        return known(query);
      });
      const routes = [{ zones: ['fresh.example'], resolvers: [plain.at] }];
      const facts = (mixed: boolean): Json => ({ answer: 'NOERROR', mixed });
      return {
        before: { routes, upstream: { randomize_case: false } },
        after: { routes, upstream: { randomize_case: true } },
        facts: async () => ({
          answer: rcodeOf(await rig.answer(rig.fresh())),
          mixed: /[A-Z]/.test(cases.at(-1) ?? ''),
        }),
        expected: { before: facts(false), after: facts(true) },
      };
    },
  },
  {
    title: 'upstream.bootstrap: a resolver that knows nothing, and one that knows',
    options: ['upstream.bootstrap'],
    cache: 'unseen',
    slow: true,
    scene: async rig => {
      const found = await rig.server('found.test');
      const dumb = await rig.plain(world(records('test. 60 SOA ns.test. host.test. 1 60 60 60 60')));
      const wise = await rig.plain(world(records('found.test. 60 A 127.0.0.1')));
      const servers = [{ name: 'found.test', port: found.port }];
      const knows = { rcode: 'NOERROR', addresses: ['127.0.0.1'], asked: true };
      return {
        before: { upstream: { servers, bootstrap: [dumb.at] } },
        after: { upstream: { servers, bootstrap: [wise.at] } },
        facts: async () => ({
          rcode: rcodeOf(await rig.answer(rig.fresh())),
          addresses: rig.overview().servers.flatMap(({ addresses }) => addresses.map(({ address }) => address)),
          asked: wise.asked.includes('found.test'),
        }),
        // An address that was found stays until it has outlived its TTL.
        expected: { before: { rcode: 'SERVFAIL', addresses: [undefined], asked: false }, after: knows, again: knows },
      };
    },
  },
];

/** The rows. */
export const UPSTREAM: readonly Row[] = [...MODES, POLICY, ...TRUST, ...KEY_EXCHANGE, ...SERVERS];
