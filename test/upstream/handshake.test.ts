// Handshakes that servers abort: what is tried again, and what is said about it.

import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import fc from 'fast-check';
import t, { type Test } from 'tap';

import type { Connected } from '../../src/base/ports.js';
import { tlsErrorWords } from '../../src/base/tls-error.js';
import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { fetchChain } from '../../src/upstream/fetch-chain.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { dotServer } from '../fixtures/dot-server.js';

const ca = authority();
const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
const security = { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' } as const;
const LIMITS = { tcpMs: 500, totalMs: 1000 };
const HANDSHAKE_FAILURE = 40;

const alert = (number: number): Buffer => Buffer.from([21, 3, 3, 0, 2, 2, number]);

/** The extensions of a ClientHello (RFC 8446 §4.1.2) in one record, by type. */
function extensionsOf(record: Buffer): Map<number, Buffer> {
  let at = 5 + 4 + 2 + 32;
  at += 1 + record.readUInt8(at);
  at += 2 + record.readUInt16BE(at);
  at += 1 + record.readUInt8(at);
  const found = new Map<number, Buffer>();
  const end = at + 2 + record.readUInt16BE(at);
  for (at += 2; at < end; at += 4 + record.readUInt16BE(at + 2))
    found.set(record.readUInt16BE(at), record.subarray(at + 4, at + 4 + record.readUInt16BE(at + 2)));
  return found;
}

interface Hello {
  readonly hasTicket: boolean;
  readonly hasAlpn: boolean;
}

/** Listens in front of a server, and shows each ClientHello to `decide`, which may do something with the client itself. */
async function inFront(
  t: Test,
  port: number,
  decide: (hello: Hello, client: Socket) => 'pass' | 'taken',
): Promise<{ readonly port: number; readonly hellos: Hello[] }> {
  const hellos: Hello[] = [];
  const open = new Set<Socket>();
  const way = createServer(client => {
    open.add(client);
    client.on('error', () => undefined);
    client.once('data', (record: Buffer) => {
      const extensions = extensionsOf(record);
      // pre_shared_key (RFC 8446 §4.2.11), or a session_ticket that is not empty (RFC 5077 §3.2).
      const hasTicket = extensions.has(41) || (extensions.get(35)?.length ?? 0) > 0;
      const hello = { hasTicket, hasAlpn: extensions.has(16) };
      hellos.push(hello);
      if (decide(hello, client) === 'taken') return;
      const server = connect(port, '127.0.0.1');
      server.on('error', () => client.destroy());
      server.write(record);
      client.pipe(server).pipe(client);
    });
  });
  await new Promise<void>(resolve => void way.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const each of open) each.destroy();
    way.close();
  });
  return { port: (way.address() as AddressInfo).port, hellos };
}

/** Dials and asks something. */
async function once(dial: ReturnType<typeof dialer>, port: number): Promise<Partial<Connected> & { detail?: string }> {
  return new Promise(resolve => {
    let told: Connected | undefined;
    const stream = dial(
      { address: '127.0.0.1', port, security },
      {
        connected: info => void (told = info),
        bytes: () => {
          stream.close();
          resolve(told ?? {});
        },
        closed: why => resolve({ detail: why?.detail ?? 'closed' }),
      },
    );
    stream.send(Buffer.from([0, 1, 42]));
  });
}

const WAYS: Readonly<Record<string, (client: Socket) => void>> = {
  handshake_failure: client => client.end(alert(HANDSHAKE_FAILURE)),
  illegal_parameter: client => client.end(alert(47)),
  internal_error: client => client.end(alert(80)),
  'an alert that is unknown': client => client.end(alert(233)),
  'a reset': client => client.resetAndDestroy(),
  'an end': client => client.end(),
};

for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const)
  for (const [what, abort] of Object.entries(WAYS))
    await t.test(
      `a server that aborts because of a ticket is asked again without one: ${what}, ${maxVersion}`,
      async t => {
        const server = await dotServer({
          identity,
          handler: (query, session) => session.reply(query),
          tls: { maxVersion },
        });
        t.teardown(async () => server.close());
        const way = await inFront(t, server.port, ({ hasTicket }, client) => {
          if (!hasTicket) return 'pass';
          abort(client);
          return 'taken';
        });
        const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock }, LIMITS);
        t.match(await once(dial, way.port), { resumed: false, authenticated: true });
        t.match(await once(dial, way.port), { resumed: false, authenticated: true }, 'the answer comes all the same');
        t.same(
          way.hellos.map(({ hasTicket }) => hasTicket),
          [false, true, false],
        );
      },
    );

await t.test('all tickets of that server are dropped, and no attempt is made more than once', async t => {
  const server = await dotServer({ identity, handler: (query, session) => session.reply(query) });
  t.teardown(async () => server.close());
  let isBroken = false;
  const way = await inFront(t, server.port, (_hello, client) => {
    if (!isBroken) return 'pass';
    client.end(alert(HANDSHAKE_FAILURE));
    return 'taken';
  });
  const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock }, LIMITS);
  // Together, so that none uses the ticket of another.
  await Promise.all([once(dial, way.port), once(dial, way.port), once(dial, way.port)]);
  isBroken = true;
  way.hellos.length = 0;
  t.match(await once(dial, way.port), { detail: /accepts none of our ciphers/ });
  t.match(await once(dial, way.port), { detail: /accepts none of our ciphers/ });
  t.same(
    way.hellos.map(({ hasTicket }) => hasTicket),
    [true, false, false],
  );
});

await t.test('a refused ticket and a refused ALPN id, in one dial', async t => {
  const server = await dotServer({
    identity,
    handler: (query, session) => session.reply(query),
    tls: { ALPNProtocols: ['h2'] },
  });
  t.teardown(async () => server.close());
  const way = await inFront(t, server.port, ({ hasTicket }, client) => {
    if (!hasTicket) return 'pass';
    client.end(alert(HANDSHAKE_FAILURE));
    return 'taken';
  });
  const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock }, LIMITS);
  t.match(await once(dial, way.port), { refusesAlpn: true });
  way.hellos.length = 0;
  t.match(await once(dial, way.port), { resumed: false, refusesAlpn: true });
  t.same(way.hellos, [
    { hasTicket: true, hasAlpn: true },
    { hasTicket: false, hasAlpn: true },
    { hasTicket: false, hasAlpn: false },
  ]);
});

await t.test('the second attempt is within the time limits of the first', async t => {
  const server = await dotServer({ identity, handler: (query, session) => session.reply(query) });
  t.teardown(async () => server.close());
  let isBroken = false;
  const way = await inFront(t, server.port, ({ hasTicket }, client) => {
    if (!isBroken) return 'pass';
    if (hasTicket) setTimeout(() => client.end(alert(HANDSHAKE_FAILURE)), LIMITS.totalMs / 2);
    return 'taken';
  });
  const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock }, LIMITS);
  await once(dial, way.port);
  isBroken = true;
  const startMs = performance.now();
  t.match(await once(dial, way.port), { detail: /no TLS connection within 1000 ms/ });
  t.ok(performance.now() - startMs < LIMITS.totalMs * 1.4);
});

/** A server that answers each ClientHello with these octets. */
async function answers(t: Test, octets: Buffer): Promise<number> {
  const way = await inFront(t, 0, (_hello, client) => {
    client.write(octets);
    return 'taken';
  });
  return way.port;
}

/** Whether words are ours: one line, without what OpenSSL adds for programmers. */
const isOurs = (words: string): boolean =>
  !/[\n\r]|:error:|[0-9A-F]{8}|\.\.\/|\.c:|SSL routines|ssl3|tlsv1/i.test(words);

await t.test('each TLS alert, and each other way of not speaking TLS, is said in our words, in one line', async t => {
  const cases: [string, Buffer, RegExp][] = [
    ['SMTP', Buffer.from('220 mail.example ESMTP\r\n'), /it does not speak TLS on this port$/],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /it does not speak TLS on this port$/],
    ['zeros', Buffer.alloc(64), /it does not speak TLS on this port$/],
    ['40', alert(40), /it accepts none of our ciphers, key exchanges or signatures \(TLS alert 40\)$/],
    ['70', alert(70), /it speaks none of our versions of TLS \(TLS alert 70\)$/],
    ['80', alert(80), /it has an internal error \(TLS alert 80\)$/],
    ['112', alert(112), /it does not know the server name that we ask for \(TLS alert 112\)$/],
    ['116', alert(116), /it wants a client certificate \(upstream\.client_certificate\) \(TLS alert 116\)$/],
    // A ServerHello of TLS 1.0.
    [
      'an old version',
      Buffer.from(`160301002a020000260301${'00'.repeat(32)}00002f00`, 'hex'),
      /it speaks none of our versions of TLS$/,
    ],
    ...[10, 20, 22, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 71, 86, 90, 109, 110, 115].map(
      (number): [string, Buffer, RegExp] => [
        `${number}`,
        alert(number),
        new RegExp(`^[^ ].* \\(TLS alert ${number}\\)$`),
      ],
    ),
    ['233', alert(233), /./],
  ];
  for (const [what, octets, words] of cases) {
    const port = await answers(t, octets);
    const { detail = '' } = await once(dialer({ ca: ca.cert, client: undefined, clock: systemClock }, LIMITS), port);
    t.match(detail.replace(/^127\.0\.0\.1 port \d+: /, ''), words, what);
    t.ok(isOurs(detail), `${what}: ${detail}`);
  }
  const chain = await fetchChain('127.0.0.1', await answers(t, alert(HANDSHAKE_FAILURE)), 'dns.test', LIMITS);
  t.equal(chain, 'it accepts none of our ciphers, key exchanges or signatures (TLS alert 40)');
});

await t.test('property: whatever OpenSSL says, one line without its codes reaches people', t => {
  const reason = fc.stringMatching(/^[a-z][a-z0-9 \n/]{0,40}$/);
  fc.assert(
    fc.property(reason, fc.option(fc.nat(255)), fc.boolean(), (why, number, hasReason) => {
      const message = `80AB3CDD057F0000:error:0A000410:SSL routines:ssl3_read_bytes:${why}:../deps/openssl/ssl/record/rec.c:1605:${number === null ? '' : `SSL alert number ${number}`}\n`;
      const words = tlsErrorWords(Object.assign(new Error(message), hasReason ? { reason: why } : {}));
      return words !== undefined && isOurs(words);
    }),
  );
  t.equal(tlsErrorWords(new Error('connect ECONNREFUSED')), undefined);
  t.end();
});
