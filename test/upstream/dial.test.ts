// Real TLS: who is let in, and what is said about those who are not.

import { spawn } from 'node:child_process';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import t from 'tap';

import type { Connected, DialTarget, PinPolicy, Stream } from '../../src/base/ports.js';
import { type TlsSecurity } from '../../src/upstream/identity.js';
import { wallMs as asWallMs } from '../../src/base/time.js';
import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { fetchChain } from '../../src/upstream/fetch-chain.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';
import { dotServer, type DotServerOptions } from '../fixtures/dot-server.js';

const ca = authority();
const DAY_MS = 86_400_000;
type Authenticated = Extract<TlsSecurity, { at: 'authenticated' }>;
const named: Authenticated = { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' };

interface Outcome {
  readonly connected: boolean;
  readonly code?: string;
  readonly detail?: string;
  readonly protocol?: string;
  readonly authenticated?: boolean;
  readonly warning?: string;
  readonly refusesAlpn?: boolean;
  /** Octets that reached the server as data. */
  readonly queries: number;
}

/** Dials, sends something, and says what came of it. */
async function dial(
  identity: Identity,
  security: TlsSecurity,
  more: Partial<DotServerOptions> = {},
  roots: Identity = ca,
  clockIsBehind = (): boolean => false,
): Promise<Outcome> {
  const server = await dotServer({ identity, handler: (query, session) => session.reply(query), ...more });
  const target: DialTarget = { address: more.address ?? '127.0.0.1', port: server.port, security };
  const outcome = await new Promise<Omit<Outcome, 'queries'>>(resolve => {
    let connected = false;
    let told: Partial<Connected> = {};
    const stream = dialer(
      { ca: roots.cert, client: undefined, clock: systemClock, clockIsBehind },
      { tcpMs: 500, totalMs: 1000 },
    )(target, {
      connected(info) {
        connected = true;
        told = info;
      },
      bytes() {
        stream.close();
        resolve({ connected, ...told });
      },
      closed: why => resolve({ connected, ...(why ?? {}) }),
    });
    stream.send(Buffer.from([0, 1, 42]));
  });
  await new Promise(resolve => setTimeout(resolve, 20));
  const { queries } = server;
  await server.close();
  return { ...outcome, queries };
}

await t.test('a server that proves its name is spoken to', async t => {
  t.match(await dial(certificate({ common: 'x', names: ['dns.test'], issuer: ca }), named), {
    connected: true,
    queries: 1,
    protocol: 'TLSv1.3',
  });
  t.match(
    await dial(certificate({ common: 'x', names: ['*.dns.test'], issuer: ca }), { ...named, name: 'a.dns.test' }),
    { connected: true },
    'a wildcard for the leftmost label',
  );
  t.match(
    await dial(certificate({ common: 'x', names: ['*.dns.test'], issuer: ca }), { ...named, name: 'a.b.dns.test' }),
    { connected: false },
    'and for no more',
  );
});

await t.test('RFC 8310 §8.1: without a name the address must be in the certificate', async t => {
  const byAddress: Authenticated = { ...named, name: undefined };
  t.match(await dial(certificate({ common: 'x', ips: ['127.0.0.1'], issuer: ca }), byAddress), {
    connected: true,
    queries: 1,
  });
  t.match(await dial(certificate({ common: 'x', names: ['127.0.0.1'], issuer: ca }), byAddress), {
    connected: false,
    code: 'tls_verify',
    queries: 0,
  });
});

await t.test('B17 row 11: a server that does not is refused with a reason, and gets no octet of a query', async t => {
  const past = { notBefore: new Date(Date.now() - 3 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) };
  const future = { notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 3 * DAY_MS) };
  const cases: readonly (readonly [string, Identity, RegExp])[] = [
    [
      'another name',
      certificate({ common: 'x', names: ['other.test'], issuer: ca }),
      /the certificate is for other\.test, not for dns\.test/,
    ],
    ['the name only as CN', certificate({ common: 'dns.test', issuer: ca }), /no name at all/],
    ['CN beside other SANs', certificate({ common: 'dns.test', names: ['other.test'], issuer: ca }), /for other\.test/],
    ['a partial wildcard', certificate({ common: 'x', names: ['d*.test'], issuer: ca }), /for d\*\.test/],
    ['a wildcard too high', certificate({ common: 'x', names: ['*'], issuer: ca }), /for \*/],
    ['expired', certificate({ common: 'x', names: ['dns.test'], issuer: ca, ...past }), /expired/],
    ['not yet valid', certificate({ common: 'x', names: ['dns.test'], issuer: ca, ...future }), /not valid yet/],
    ['self-signed', certificate({ common: 'x', names: ['dns.test'] }), /self-signed/],
    [
      'an unknown authority',
      certificate({ common: 'x', names: ['dns.test'], issuer: authority('someone else') }),
      /upstream\.ca_file does not hold/,
    ],
    [
      'a missing intermediate',
      certificate({
        common: 'x',
        names: ['dns.test'],
        issuer: certificate({ common: 'middle', ca: true, issuer: ca }),
      }),
      /intermediate/,
    ],
    [
      'issued by no authority',
      certificate({
        common: 'x',
        names: ['dns.test'],
        issuer: certificate({ common: 'leaf', names: ['leaf.test'], issuer: ca }),
      }),
      /./,
    ],
  ];
  for (const [what, identity, why] of cases) {
    const outcome = await dial(identity, named);
    t.match(outcome, { connected: false, code: 'tls_verify', queries: 0 }, what);
    t.match(outcome.detail ?? '', why, what);
  }
});

await t.test('an intermediate that is sent is followed', async t => {
  const middle = certificate({ common: 'middle', ca: true, issuer: ca });
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: middle });
  t.match(await dial({ ...leaf, cert: leaf.cert + middle.cert }, named), { connected: true, queries: 1 });
  t.match(
    await dial({ ...leaf, cert: leaf.cert + middle.cert }, { ...named, pins: [middle.pin] }),
    { connected: true },
    "a pin may be the intermediate's",
  );
});

await t.test('a certificate that only claims a pinned issuer, sent along, is not believed', async t => {
  const middle = certificate({ common: 'middle', ca: true, issuer: ca });
  const self = certificate({ common: 'x', names: ['dns.test'] });
  const forged = certificate({ common: 'x', names: ['dns.test'], issuer: middle, signer: self, keyOf: self });
  const stranger = certificate({ common: 'x', names: ['other.test'], issuer: middle });
  for (const pinPolicy of ['pin_only', 'pin_or_pkix', 'pin_and_pkix', 'report_only'] as const) {
    const pinned = { ...named, pins: [middle.pin], pinPolicy };
    t.match(
      await dial({ ...forged, cert: forged.cert + middle.cert }, pinned),
      { connected: false, code: 'tls_verify', queries: 0 },
      `${pinPolicy}: not signed`,
    );
    t.match(
      await dial({ ...stranger, cert: stranger.cert + middle.cert }, pinned),
      { connected: false, code: 'tls_verify', queries: 0 },
      `${pinPolicy}: signed for another name`,
    );
  }
  const elsewhere = authority('elsewhere');
  const honest = certificate({ common: 'middle', ca: true, issuer: elsewhere });
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: honest });
  for (const pinPolicy of ['pin_only', 'pin_or_pkix'] as const)
    t.match(
      await dial({ ...leaf, cert: leaf.cert + honest.cert }, { ...named, pins: [honest.pin], pinPolicy }),
      { connected: true, authenticated: true },
      `${pinPolicy}: signed by a pinned authority that is not trusted otherwise`,
    );
});

await t.test('what `dotstub pins` fetches says what nobody has signed', async t => {
  const middle = certificate({ common: 'middle', ca: true, issuer: ca });
  const self = certificate({ common: 'x', names: ['dns.test'] });
  const forged = certificate({ common: 'x', names: ['dns.test'], issuer: middle, signer: self, keyOf: self });
  for (const [leaf, isForged] of [
    [certificate({ common: 'x', names: ['dns.test'], issuer: middle }), false],
    [forged, true],
  ] as const) {
    const identity = { ...leaf, cert: leaf.cert + middle.cert };
    const server = await dotServer({ identity, handler: () => undefined });
    t.match(await fetchChain('127.0.0.1', server.port, 'dns.test'), [
      { issuer: 'CN=middle', issuerProved: !isForged, pin: leaf.pin, problem: undefined },
      { pin: middle.pin, problem: isForged ? /the key of CN=middle did not sign/ : undefined },
    ]);
    await server.close();
  }
});

await t.test('an exception while a peer is judged is a refusal with its cause', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], ips: ['127.0.0.1'], issuer: ca });
  // Node.js throws at an address that it cannot read.
  const designatedBy = { address: 'no address', name: 'dns.test' };
  t.match(await dial(leaf, { ...named, name: undefined, designatedBy }), {
    connected: false,
    code: 'tls_verify',
    detail: /its certificate cannot be judged: /,
    queries: 0,
  });
});

await t.test('B17 row 11, pins: one must match, whatever the authorities say', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, { ...named, pins: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', leaf.pin] }), {
    connected: true,
  });
  const refused = await dial(leaf, { ...named, pins: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] });
  t.match(refused, { connected: false, code: 'tls_verify', queries: 0 });
  t.ok(refused.detail?.includes(`sha256/${leaf.pin}`), 'the pins that the server shows are named');
});

await t.test('pin policies: which servers are accepted, and what is logged', async t => {
  const NO_PIN = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
  const good = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const stranger = certificate({ common: 'x', names: ['other.test'] });
  const table: readonly [PinPolicy, Identity, pinned: boolean, letIn: boolean][] = [
    ['pin_and_pkix', good, true, true],
    ['pin_and_pkix', good, false, false],
    ['pin_and_pkix', stranger, true, false],
    ['pin_and_pkix', stranger, false, false],
    ['pin_or_pkix', good, true, true],
    ['pin_or_pkix', good, false, true],
    ['pin_or_pkix', stranger, true, true],
    ['pin_or_pkix', stranger, false, false],
    ['pin_only', good, true, true],
    ['pin_only', good, false, false],
    ['pin_only', stranger, true, true],
    ['pin_only', stranger, false, false],
    ['report_only', good, true, true],
    ['report_only', good, false, true],
    ['report_only', stranger, true, false],
    ['report_only', stranger, false, false],
  ];
  for (const [pinPolicy, identity, pinned, letIn] of table) {
    const what = `${pinPolicy}, ${identity === good ? 'good' : 'strange'} certificate, ${pinned ? '' : 'not '}pinned`;
    const outcome = await dial(identity, { ...named, pinPolicy, pins: [pinned ? identity.pin : NO_PIN] });
    t.match(
      outcome,
      letIn
        ? { connected: true, authenticated: true, queries: 1 }
        : { connected: false, code: 'tls_verify', queries: 0 },
      what,
    );
    t.equal(outcome.warning !== undefined, pinPolicy === 'report_only' && letIn && !pinned, `${what}: warning`);
  }
});

await t.test(
  'B17 row 7: a clock that is behind: a certificate that is not valid yet is taken where its own key is pinned, and nowhere else',
  async t => {
    const future = {
      names: ['dns.test'],
      notBefore: new Date(Date.now() + DAY_MS),
      notAfter: new Date(Date.now() + 9 * DAY_MS),
    };
    const early = certificate({ common: 'x', ...future, issuer: ca });
    const pinned = { ...named, pins: [early.pin] };
    const behind = async (identity: Identity, security: TlsSecurity, is = true): Promise<Outcome> =>
      dial(identity, security, {}, ca, () => is);
    t.match(await behind(early, pinned), { connected: true, authenticated: true, warning: /a pin matches/ });
    t.match(await behind(early, pinned, false), { connected: false, detail: /not valid yet/ }, 'the clock is right');
    t.match(await behind(early, named), { connected: false, detail: /not valid yet/ }, 'no pin');
    t.match(
      await behind(early, { ...named, pins: [ca.pin] }),
      { connected: false },
      'a pin of the authority, whose chain is not sound',
    );
    t.match(await behind(early, { ...pinned, name: 'other.test' }), { connected: false }, 'another name');
    const late = certificate({
      common: 'x',
      names: ['dns.test'],
      issuer: ca,
      notBefore: new Date(Date.now() - 9 * DAY_MS),
      notAfter: new Date(Date.now() - DAY_MS),
    });
    t.match(
      await behind(late, { ...named, pins: [late.pin] }),
      { connected: false, detail: /expired/ },
      'one that has expired',
    );
  },
);

await t.test(
  'B17 row 11, resumed: tickets are used once, for the server that they came from, as it was configured then',
  async t => {
    const good = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const server = await dotServer({
        identity: good,
        handler: (query, session) => session.reply(query),
        tls: { maxVersion },
      });
      const dialing = dialer({ ca: ca.cert, client: undefined, clock: systemClock });
      const once = async (security: TlsSecurity): Promise<string> =>
        new Promise(resolve => {
          let told = '';
          const stream = dialing(
            { address: '127.0.0.1', port: server.port, security },
            {
              connected: ({ resumed, authenticated }) =>
                void (told = `${resumed ? 'resumed' : 'full'}${authenticated ? ', proved' : ''}`),
              bytes: () => {
                stream.close();
                resolve(told);
              },
              closed: why => resolve(why?.code ?? 'closed'),
            },
          );
          stream.send(Buffer.from([0, 1, 42]));
        });
      t.equal(await once(named), 'full, proved', maxVersion);
      t.equal(await once(named), 'resumed, proved');
      t.equal(
        await once({ ...named, name: 'other.test' }),
        'tls_verify',
        'a ticket of one name does not open for another',
      );
      t.equal(await once({ ...named, name: 'other.test' }), 'tls_verify', 'nor does one that came with a refusal');
      t.equal(
        await once({ ...named, pins: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] }),
        'tls_verify',
        'nor for other pins',
      );
      t.equal(await once({ at: 'encrypted', name: undefined }), 'full', 'nor for another profile');
      t.equal(await once({ at: 'encrypted', name: undefined }), 'resumed');
      t.equal(await once(named), 'resumed, proved', 'each has its own');
      await server.close();
    }
  },
);

await t.test(
  'a certificate that was good when the ticket came, and has expired since: a full handshake, and a refusal',
  async t => {
    let wallMs = Date.now();
    const short = certificate({
      common: 'x',
      names: ['dns.test'],
      issuer: ca,
      notBefore: new Date(wallMs - DAY_MS),
      notAfter: new Date(wallMs + DAY_MS / 2),
    });
    const server = await dotServer({ identity: short, handler: (query, session) => session.reply(query) });
    const dialing = dialer({
      ca: ca.cert,
      client: undefined,
      clock: { ...systemClock, wallMs: () => asWallMs(wallMs) },
    });
    const resumed = async (): Promise<boolean> =>
      new Promise(resolve => {
        let told = false;
        const stream = dialing(
          { address: '127.0.0.1', port: server.port, security: named },
          {
            connected: info => void (told = info.resumed),
            bytes: () => {
              stream.close();
              resolve(told);
            },
            closed: () => resolve(false),
          },
        );
        stream.send(Buffer.from([0, 1, 42]));
      });
    t.equal(await resumed(), false);
    t.equal(await resumed(), true);
    wallMs += DAY_MS / 2;
    t.equal(await resumed(), false, 'the ticket lived no longer than the certificate');
    await server.close();
  },
);

await t.test('RFC 9462 §4.2: a designated server must hold the address of the resolver that named it', async t => {
  const designated = (address: string): Authenticated => ({
    ...named,
    name: undefined,
    designatedBy: { address, name: 'dns.test' },
  });
  const both = certificate({ common: 'x', names: ['dns.test'], ips: ['192.0.2.53'], issuer: ca });
  t.match(await dial(both, designated('192.0.2.53')), { connected: true, authenticated: true });
  t.match(await dial(both, designated('192.0.2.54')), {
    connected: false,
    code: 'tls_verify',
    detail: /not for 192\.0\.2\.54/,
  });
  t.match(
    await dial(
      certificate({ common: 'x', names: ['dns.test'], ips: ['127.0.0.1'], issuer: ca }),
      designated('192.0.2.53'),
    ),
    { connected: false },
    'its own address proves nothing',
  );
});

await t.test('our own certificate is shown to servers that ask for it', async t => {
  const server = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const own = certificate({ common: 'client', names: ['client.test'], issuer: ca });
  const running = await dotServer({
    identity: server,
    handler: (query, session) => session.reply(query),
    tls: { requestCert: true, rejectUnauthorized: true, ca: ca.cert },
  });
  const reaches = async (client: Identity | undefined): Promise<boolean> =>
    new Promise(resolve => {
      const stream = dialer({ ca: ca.cert, client, clock: systemClock })(
        { address: '127.0.0.1', port: running.port, security: named },
        {
          connected: () => stream.send(Buffer.from([0, 1, 42])),
          bytes: () => {
            stream.close();
            resolve(true);
          },
          closed: () => resolve(false),
        },
      );
    });
  t.equal(await reaches(own), true);
  t.equal(await reaches(undefined), false);
  await running.close();
});

await t.test('encrypted: any server is accepted, and the result says whether it was authenticated', async t => {
  t.match(
    await dial(certificate({ common: 'x', names: ['dns.test'], issuer: ca }), { at: 'encrypted', name: 'dns.test' }),
    { connected: true, authenticated: true },
  );
  t.match(await dial(certificate({ common: 'x', names: ['other.test'] }), { at: 'encrypted', name: 'dns.test' }), {
    connected: true,
    authenticated: false,
    queries: 1,
  });
});

await t.test('TLS below 1.2 is not spoken', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, named, { tls: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } }), {
    connected: true,
    protocol: 'TLSv1.2',
  });
  t.match(
    await dial(leaf, named, { tls: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } }),
    { connected: false, code: 'tls_alert', queries: 0 },
  );
});

await t.test('a server that refuses the ALPN id is asked again without it', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, named, { tls: { ALPNProtocols: ['h2'] } }), {
    connected: true,
    refusesAlpn: true,
    queries: 1,
  });
  t.equal((await dial(leaf, named, { tls: { ALPNProtocols: ['dot'] } })).refusesAlpn, undefined);
});

await t.test('a server that is known to refuse the ALPN id is not offered it', async t => {
  for (const withoutAlpn of [false, true]) {
    const server = await dotServer({
      identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
      handler: (query, session) => session.reply(query),
      tls: { ALPNProtocols: ['h2'] },
    });
    const info = await new Promise<Connected | undefined>(resolve => {
      const stream = dialer({ ca: ca.cert, client: undefined, clock: systemClock })(
        { address: '127.0.0.1', port: server.port, security: named, ...(withoutAlpn ? { withoutAlpn } : {}) },
        {
          connected(found) {
            stream.close();
            resolve(found);
          },
          bytes: () => undefined,
          closed: () => resolve(undefined),
        },
      );
    });
    t.equal(info?.refusesAlpn, withoutAlpn ? undefined : true, 'where it is offered, it is refused');
    await server.close();
  }
});

/** A process that listens and never accepts; after `filled` connections, the kernel drops those that come. */
const NEVER_ACCEPTS = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;

await t.test('a limit that is reached while TCP connects is told as that, whichever it is', async t => {
  const child = spawn(process.execPath, ['-e', NEVER_ACCEPTS], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const port = await new Promise<number>(resolve => child.stdout.once('data', (text: Buffer) => resolve(Number(text))));
  const filling = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  t.teardown(() => filling.forEach(each => each.destroy()));
  await new Promise(resolve => void filling[0]?.once('connect', resolve));
  for (const security of [named, { at: 'cleartext' } as const])
    for (const times of [
      { tcpMs: 200, totalMs: 5000 },
      { tcpMs: 5000, totalMs: 200 },
    ]) {
      const why = await new Promise<{ code: string; detail: string } | undefined>(resolve => {
        dialer({ ca: ca.cert, client: undefined, clock: systemClock }, times)(
          { address: '127.0.0.1', port, security },
          { connected: () => resolve(undefined), bytes: () => undefined, closed: resolve },
        );
      });
      t.match(why, { code: 'connect_timeout', detail: /no TCP connection within 200 ms$/ });
    }
});

await t.test('no server at the address, or one without TLS', async t => {
  const held = new Set<Socket>();
  const silent = createServer(socket => held.add(socket));
  await new Promise<void>(resolve => void silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const outcome = async (target: DialTarget) =>
    new Promise<{ code: string; detail: string } | undefined>(resolve => {
      dialer({ ca: ca.cert, client: undefined, clock: systemClock }, { tcpMs: 300, totalMs: 600 })(target, {
        connected: () => undefined,
        bytes: () => undefined,
        closed: resolve,
      });
    });
  t.match(await outcome({ address: '127.0.0.1', port, security: named }), {
    code: 'connect_timeout',
    detail: /no TLS connection within 600 ms/,
  });
  for (const socket of held) socket.destroy();
  await new Promise(resolve => void silent.close(resolve));
  t.match(await outcome({ address: '127.0.0.1', port, security: named }), {
    code: 'connect',
    detail: /connection refused/,
  });
  const chatty = createServer(
    socket =>
      void socket
        .on('error', () => undefined)
        .resume()
        .end('220 mail.example ESMTP\r\n'),
  );
  await new Promise<void>(resolve => void chatty.listen(0, '127.0.0.1', resolve));
  t.match(await outcome({ address: '127.0.0.1', port: (chatty.address() as AddressInfo).port, security: named }), {
    code: 'tls_alert',
  });
  await new Promise(resolve => void chatty.close(resolve));
});

await t.test('all that is sent in one turn arrives in one piece', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const server = await dotServer({ identity: leaf, handler: () => undefined });
  await new Promise<void>(resolve => {
    const stream = dialer({ ca: ca.cert, client: undefined, clock: systemClock })(
      { address: '127.0.0.1', port: server.port, security: named },
      {
        connected() {
          for (let i = 0; i < 50; i++) stream.send(Buffer.from([0, 1, i]));
          setTimeout(() => {
            stream.close();
            stream.close();
            stream.destroy();
            resolve();
          }, 100);
        },
        bytes: () => undefined,
        closed: () => undefined,
      },
    );
  });
  t.equal(server.queries, 50);
  t.equal(server.reads, 1);
  await server.close();
});

await t.test('what has come is acknowledged once a turn, and by what is sent where that leaves', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const server = await dotServer({ identity: leaf, handler: (query, session) => session.reply(query) });
  let acknowledged = 0;
  const stream = await new Promise<Stream>((resolve, reject) => {
    const opened = dialer({ ca: ca.cert, client: undefined, clock: systemClock, acknowledge: () => acknowledged++ })(
      { address: '127.0.0.1', port: server.port, security: named },
      // Tickets, which are acknowledged as well, come before the first answer.
      { connected: () => undefined, bytes: () => resolve(opened), closed: why => reject(new Error(why?.detail)) },
    );
    opened.send(Buffer.from([0, 1, 42]));
  });
  const inOneTurn = async (act: () => void): Promise<number> => {
    await new Promise(resolve => setImmediate(resolve));
    acknowledged = 0;
    act();
    await new Promise(resolve => setImmediate(resolve));
    return acknowledged;
  };
  const twice = (): void => {
    stream.acknowledge();
    stream.acknowledge();
  };
  const thenSend = (): void => {
    twice();
    stream.send(Buffer.from([0, 1, 42]));
  };
  t.equal(await inOneTurn(twice), 1);
  t.equal(await inOneTurn(thenSend), 0, 'a segment carries it');
  t.equal(await inOneTurn(twice), 1, 'and the next turn is another one');
  t.equal(await inOneTurn(() => stream.close()), 0, 'nothing has come since');
  await server.close();
});
