// Handshakes of clients, with the real OpenSSL on both sides, and the keys of tickets under a clock that the test moves.

import { connect, createServer } from 'node:net';
import { connect as tlsConnect, type SecureVersion, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import type { Connection, Streams } from '../../src/listen/connection.js';
import { TICKET_KEY_MS, TlsAcceptor } from '../../src/listen/tls-acceptor.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { type FakeClock, fakeClock } from '../fixtures/clock.js';
import { TLS_PATHS, type TlsPath } from './tls-paths.js';

const VERSIONS: readonly SecureVersion[] = ['TLSv1.2', 'TLSv1.3'];
const ca = authority();
const named = (name: string) => certificate({ common: name, names: [name], issuer: ca });

interface Serving {
  readonly acceptor: Pick<TlsAcceptor<Connection>, 'setCredentials'>;
  readonly clock: FakeClock;
  readonly port: number;
  readonly connections: ReadonlySet<Connection>;
}

async function serving(t: Test, path: TlsPath): Promise<Serving> {
  return path.withStreams(t, async streams => servingOver(t, streams));
}

async function servingOver<C extends Connection>(t: Test, streams: Streams<C>): Promise<Serving> {
  const clock = fakeClock();
  const acceptor = new TlsAcceptor(
    {
      ...{ clock, streams, alpn: ['dot'] },
      // A client of TLS 1.3 gets its tickets with the first octets that it reads.
      secured(connection: C) {
        connection.on('error', () => undefined);
        connection.write(Buffer.from('x'), () => undefined);
      },
    },
    named('one.example'),
  );
  const connections = new Set<C>();
  const door = await streams.open(
    { address: '127.0.0.1', port: 0 },
    {
      accept(connection) {
        connections.add(connection);
        connection.on('error', () => connection.destroy());
        acceptor.accept(connection, handshake => void setImmediate(handshake));
      },
      lost: () => t.fail('no connection is lost'),
    },
  );
  t.teardown(() => {
    acceptor.close();
    door.close();
    for (const each of connections) each.destroy();
  });
  return { acceptor, clock, port: door.port, connections };
}

interface Session {
  readonly resumed: boolean;
  readonly name: unknown;
  readonly ticket: Buffer | undefined;
}

/** One connection, until the server has said something. */
async function connected(
  port: number,
  version: SecureVersion,
  offered?: Buffer,
  waitsForTicket = false,
): Promise<Session> {
  return new Promise((resolve, reject) => {
    let ticket: Buffer | undefined;
    let hasData = false;
    const socket: TLSSocket = tlsConnect({
      ...{ host: '127.0.0.1', port, ca: ca.cert, checkServerIdentity: () => undefined },
      ...{ minVersion: version, maxVersion: version, ALPNProtocols: ['dot'] },
      ...(offered === undefined ? {} : { session: offered }),
    });
    const look = (): void => {
      const resumed = socket.isSessionReused();
      if (socket.destroyed || !hasData || (ticket === undefined && (!resumed || waitsForTicket))) return;
      // A session of TLS 1.2 that is resumed shows no certificate.
      resolve({ resumed, name: resumed ? undefined : socket.getPeerCertificate().subject.CN, ticket });
      socket.destroy();
    };
    socket.on('session', session => {
      ticket = session;
      look();
    });
    socket.on('error', reject);
    socket.once('data', () => {
      hasData = true;
      look();
    });
  });
}

for (const [name, path] of Object.entries(TLS_PATHS)) {
  const { skip } = path;
  for (const version of VERSIONS) {
    await t.test(`${name}, ${version}: a ticket outlives an exchange of the certificate`, { skip }, async t => {
      const { acceptor, port } = await serving(t, path);
      const first = await connected(port, version);
      t.notOk(first.resumed);
      acceptor.setCredentials(named('two.example'));
      t.throws(() => acceptor.setCredentials({ cert: named('x').cert, key: named('y').key }), 'a key of another');
      t.ok((await connected(port, version, first.ticket)).resumed);
      t.equal((await connected(port, version)).name, 'two.example');
    });

    await t.test(
      `${name}, ${version}: a ticket is accepted after one change of keys, and not after two`,
      { skip },
      async t => {
        const { acceptor, clock, port } = await serving(t, path);
        const { ticket } = await connected(port, version);
        await clock.advance(TICKET_KEY_MS - 1);
        t.ok((await connected(port, version, ticket)).resumed, 'before the first change');
        await clock.advance(1);
        t.ok((await connected(port, version, ticket)).resumed, 'after it');
        acceptor.setCredentials(named('two.example'));
        t.ok((await connected(port, version, ticket)).resumed, 'and after an exchange of the certificate');
        t.equal((await connected(port, version)).name, 'two.example');
        const later = await connected(port, version);
        await clock.advance(TICKET_KEY_MS);
        t.notOk((await connected(port, version, ticket)).resumed, 'after the second change');
        t.ok((await connected(port, version, later.ticket)).resumed, 'a ticket of the key before is accepted');
      },
    );
  }

  // Node.js gives none to a client that used one, so that each is used again and again (RFC 8446 §C.4).
  if (name === 'OpenSSL')
    await t.test('a client of TLS 1.3 that used a ticket gets another', { skip }, async t => {
      const { port } = await serving(t, path);
      let { ticket } = await connected(port, 'TLSv1.3');
      for (let i = 0; i < 3; i++) {
        const next = await connected(port, 'TLSv1.3', ticket, true);
        t.ok(next.resumed);
        t.notOk(next.ticket?.equals(ticket ?? Buffer.alloc(0)) ?? true);
        ticket = next.ticket;
      }
    });

  await t.test(
    `${name}: a first record that comes in pieces is waited for, and leads to the key of its ticket`,
    { skip },
    async t => {
      const { clock, port } = await serving(t, path);
      const { ticket } = await connected(port, 'TLSv1.3');
      await clock.advance(TICKET_KEY_MS);
      // Between client and server: sends one octet at a time.
      const slow = createServer(client => {
        const server = connect(port, '127.0.0.1');
        server.setNoDelay(true);
        client.on('data', (octets: Buffer) => {
          for (const octet of octets) server.write(Buffer.from([octet]));
        });
        server.pipe(client);
        for (const each of [client, server]) each.on('error', () => undefined).on('close', () => server.destroy());
      });
      await new Promise<void>(resolve => slow.listen(0, '127.0.0.1', resolve));
      t.teardown(() => slow.close());
      const address = slow.address();
      const slowPort = address !== null && typeof address === 'object' ? address.port : 0;
      t.ok((await connected(slowPort, 'TLSv1.3', ticket)).resumed);
    },
  );

  await t.test(
    `${name}: what is not TLS, and a connection that closes before it says anything, end without a session`,
    { skip },
    async t => {
      const { port, connections } = await serving(t, path);
      for (const octets of ['', 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff'.repeat(5), '\x16\x03\x01\x00']) {
        const socket = connect(port, '127.0.0.1');
        const closed = new Promise(resolve => socket.on('error', () => undefined).once('close', resolve));
        socket.on('data', () => undefined);
        socket.end(Buffer.from(octets, 'latin1'));
        await closed;
      }
      for (let i = 0; i < 100 && [...connections].some(each => !each.destroyed); i++) await sleep(20);
      t.same(
        [...connections].map(each => each.destroyed),
        [true, true, true, true],
      );
    },
  );
}

await t.test('a certificate in force is not read again', t => {
  let exchanged = 0;
  const server = { setCredentials: () => void exchanged++, handshake: () => undefined, close: () => undefined };
  const streams = { tlsServer: () => server, readFirst: () => undefined };
  const acceptor = new TlsAcceptor(
    { clock: fakeClock(), streams, alpn: ['dot'], secured: () => undefined },
    named('one.example'),
  );
  const { cert, key } = named('two.example');
  acceptor.setCredentials({ cert, key });
  t.equal(exchanged, 1);
  acceptor.setCredentials({ cert: Buffer.from(cert), key: Buffer.from(key) });
  t.equal(exchanged, 1, 'the same octets');
  acceptor.setCredentials(named('two.example'));
  t.equal(exchanged, 2, 'another certificate of that name');
  acceptor.close();
  t.end();
});
