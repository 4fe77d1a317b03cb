// A listener for HTTPS with a front that does what a message says, and clients of both versions of HTTP.

import { type ClientHttp2Session, connect as connectHttp2, type OutgoingHttpHeaders, type Settings } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import type { Test } from 'tap';

import type { Front } from '../../src/front/front.js';
import { httpsProtocol } from '../../src/listen/https.js';
import { monoAfter } from '../../src/base/time.js';
import { Memory } from '../../src/listen/memory.js';
import { SessionTable, type TableParts } from '../../src/listen/sessions.js';
import type { SessionLimits } from '../../src/listen/session.js';
import { listenerOver, SESSION_LIMITS } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import type { Client } from '../../src/pipeline/query.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';
import { TLS_PATHS, type TlsPath } from './tls-paths.js';

/** What the first octet of a message makes the front do. Others are answered at once. */
export const HOLD = 1;
const DROP = 2;
const LARGE = 3;
const LENT = 4;

export const message = (first: number): Buffer => {
  const octets = queryMessage('www.example');
  octets[0] = first;
  return octets;
};
export const DROPPED = message(DROP);
export const LARGE_ANSWER = message(LARGE);
const LARGE_BYTES = 60_000;
/** Its answer is itself, in memory that the next answer overwrites. */
export const LENT_ANSWER = message(LENT);

function frontForTests() {
  const held: (() => void)[] = [];
  const clients: Client[] = [];
  const room = Buffer.alloc(512);
  const front: Front = {
    handle(octets, client, respond) {
      clients.push(client);
      if (octets.length < 12) return false;
      const answer = (): void => respond(responseTo(octets, { answers: 'www.example. 300 A 192.0.2.1' }));
      if (octets[0] === HOLD) {
        held.push(answer);
        return true;
      }
      if (octets[0] === DROP) respond(undefined);
      else if (octets[0] === LENT) respond(room.subarray(0, octets.copy(room)));
      else if (octets[0] === LARGE) respond(Buffer.concat([octets, Buffer.alloc(LARGE_BYTES)]));
      else answer();
      return false;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  return { front, held, clients };
}

type Bounds = Partial<SessionLimits & Pick<TableParts, 'idleMs' | 'max' | 'maxPerClient'>> & {
  readonly cleartext?: boolean;
  /** How connections are made; left out: by node:net and node:tls. */
  readonly path?: TlsPath | undefined;
  readonly isProxy?: (address: string) => boolean;
  readonly sendsProxyHeader?: (address: string) => boolean;
};

const { 'node:tls': NODE } = TLS_PATHS;
const ca = authority('test');
export const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });

/** A listener, over TLS if not told otherwise. */
export async function httpsListening(
  t: Test,
  { cleartext = false, isProxy = () => false, sendsProxyHeader = () => false, path = NODE, ...bounds }: Bounds = {},
) {
  const tested = frontForTests();
  const { observer, count } = recorder();
  const table = new SessionTable({ max: 1000, ...bounds, observer, clock: systemClock });
  const turns = new Turns();
  const later = { ms: 0 };
  const clock = { ...systemClock, monotonicMs: () => monoAfter(systemClock.monotonicMs(), later.ms) };
  const http = {
    ...{ front: tested.front, memory: new Memory(), turns, observer, clock, isProxy },
    limits: { ...SESSION_LIMITS, ...bounds },
    path: () => '/dns-query',
    isShared: () => true,
  };
  const parts = { turns, observer, clock, table, mayAsk: () => true, isProxy, sendsProxyHeader };
  if (path === undefined) throw new Error('there is no way to make connections');
  const listener = path.withStreamsForHttps(t, streams =>
    listenerOver(streams, httpsProtocol(streams, http), parts, cleartext ? undefined : identity),
  );
  await listener.set([{ address: '127.0.0.1', port: 0 }]);
  t.teardown(() => listener.destroy());
  const port = listener.bound[0]?.port ?? 0;
  return { ...tested, count, listener, table, port, later };
}

export type Listening = (bounds?: Bounds) => ReturnType<typeof httpsListening>;

/** Tests a rule with both kinds of connections. */
export async function onBothPaths(
  t: Test,
  rule: string,
  test: (t: Test, listening: Listening) => Promise<unknown>,
): Promise<void> {
  for (const [name, path] of Object.entries(TLS_PATHS))
    await t.test(`${rule} (${name})`, { skip: path.skip }, async t =>
      test(t, async bounds => httpsListening(t, { ...bounds, path })),
    );
}

/** A connection whose handshake is finished. @param over what it is made over; left out: a connection of its own */
export async function connected(t: Test, port: number, alpn?: string, over?: Socket): Promise<Socket> {
  const to = over === undefined ? { port, host: '127.0.0.1' } : { socket: over };
  const tls = { ...to, ca: ca.cert, servername: 'dns.test', ALPNProtocols: [alpn ?? ''] };
  const socket = alpn === undefined ? connect(port, '127.0.0.1') : connectTls(tls);
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await new Promise(resolve => socket.once(alpn === undefined ? 'connect' : 'secureConnect', resolve));
  return socket;
}

/** Everything that the server sends until it closes. */
export async function rest(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.resume();
  await new Promise(resolve => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

export interface Response {
  /** 0: the stream was reset, with `code`. */
  readonly status: number;
  readonly code: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** An HTTP/2 client. @param over a connection to use, after its handshake */
export async function http2Client(
  t: Test,
  port: number,
  cleartext = false,
  over?: Socket,
  settings: Settings = {},
): Promise<ClientHttp2Session> {
  const session = connectHttp2(`${cleartext ? 'http' : 'https'}://127.0.0.1:${port}`, {
    settings,
    ...(over === undefined ? {} : { createConnection: () => over }),
    // In cleartext it would be the name that is asked for.
    ...(cleartext ? {} : { ca: ca.cert, servername: 'dns.test' }),
  });
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  await new Promise<void>((resolve, reject) =>
    session.once('connect', () => resolve()).once('error', (error: Error) => reject(error)),
  );
  return session;
}

/** Sends a request over HTTP/2. @param body undefined: the request is not ended, and gets no body */
export async function request(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body: Buffer | undefined = Buffer.alloc(0),
): Promise<Response> {
  const stream = session.request(headers, { endStream: body.length === 0 });
  if (body.length > 0) stream.end(body);
  let found: Readonly<Record<string, unknown>> = {};
  const chunks: Buffer[] = [];
  stream.on('response', fields => (found = fields));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => undefined);
  await new Promise(resolve => stream.once('close', resolve));
  const status = Number(found[':status'] ?? 0);
  return { status, code: stream.rstCode, headers: found, body: Buffer.concat(chunks) };
}

export const getOf = (octets: Buffer): OutgoingHttpHeaders => ({
  ':path': `/dns-query?dns=${octets.toString('base64url')}`,
});
export const POST = { ':method': 'POST', ':path': '/dns-query', 'content-type': 'application/dns-message' } as const;
