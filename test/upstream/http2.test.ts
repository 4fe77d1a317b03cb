// HTTP/2 sessions against a real server of node:http2: what a request looks like, and how it can end.

import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';

import fc from 'fast-check';
import t, { type Test } from 'tap';

import type { Connected, Security, StreamEvents } from '../../src/base/ports.js';
import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { http2Dialer } from '../../src/upstream/http2.js';
import type { HttpOutcome, HttpsSession } from '../../src/upstream/https-session.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { dotServer } from '../fixtures/dot-server.js';
import { answerOver, type HttpsHandler, httpsServer, type HttpsServer } from '../fixtures/https-server.js';
import { until } from '../fixtures/until.js';
import { frame } from '../listen/raw-http2.js';

const ca = authority();
const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
const named: Security = { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' };
const dial = (): ReturnType<typeof http2Dialer> =>
  http2Dialer(dialer({ ca: ca.cert, client: undefined, clock: systemClock }, { tcpMs: 500, totalMs: 1000 }));

interface Opened {
  readonly session: HttpsSession;
  readonly events: string[];
  readonly info: Connected | undefined;
  readonly failure: { readonly code: string; readonly detail: string } | undefined;
  post(message?: Buffer): Promise<HttpOutcome>;
}

/** Opens a session, and waits until it is connected or has failed. */
async function open(
  t: Test,
  port: number,
  { security = named, dialled = dial() }: { security?: Security; dialled?: ReturnType<typeof http2Dialer> } = {},
): Promise<Opened> {
  const events: string[] = [];
  const told: { info?: Connected; failure?: { code: string; detail: string } | undefined } = {};
  const session = dialled(
    { address: '127.0.0.1', port, security, authority: `dns.test:${port}`, path: '/dns-query' },
    {
      connected: info => {
        told.info = info;
        events.push('connected');
      },
      limited: most => void events.push(`limited ${most}`),
      heard: () => undefined,
      leaving: () => void events.push('leaving'),
      closed: why => {
        told.failure = why;
        events.push(`closed ${why?.code ?? ''}`);
      },
    },
  );
  t.same(events, [], 'no event comes before it has returned');
  t.teardown(() => session.destroy());
  await until(() => events.length > 0, 'the first event');
  return {
    session,
    events,
    info: told.info,
    get failure() {
      return told.failure;
    },
    post: async (message = Buffer.from('a message')) => new Promise(resolve => void session.post(message, resolve)),
  };
}

async function serve(t: Test, handler: HttpsHandler, options = {}): Promise<HttpsServer> {
  const server = await httpsServer(identity, handler, options);
  t.teardown(async () => server.close());
  return server;
}

const sessionOf = (stream: ServerHttp2Stream): Http2Session => {
  const { session } = stream;
  if (session === undefined) throw new Error('the stream has no session');
  return session;
};

await t.test(
  'RFC 8484 §4.1: a request is a POST of the message, with no header field that tells clients apart',
  async t => {
    const seen: { headers?: Record<string, unknown>; query?: Buffer } = {};
    const server = await serve(t, (query, stream, headers) => {
      Object.assign(seen, { headers: { ...headers }, query });
      answerOver(stream, Buffer.from('an answer'), { age: '7' });
    });
    const { post, info, session } = await open(t, server.port);
    t.match(info, { authenticated: true, protocol: 'TLSv1.3' });
    const outcome = await post();
    t.match(outcome, { at: 'response', status: 200, contentType: 'application/dns-message', ageSec: 7 });
    t.equal(outcome.at === 'response' && outcome.body.toString(), 'an answer');
    t.equal(seen.query?.toString(), 'a message');
    t.strictSame(Object.fromEntries(Object.entries(seen.headers ?? {})), {
      ':method': 'POST',
      ':scheme': 'https',
      ':authority': `dns.test:${server.port}`,
      ':path': '/dns-query',
      accept: 'application/dns-message',
      'content-type': 'application/dns-message',
      'content-length': '9',
    });
    session.close();
    await until(() => server.sessions.size === 0, 'the end of the session');
  },
);

await t.test('a server that does not prove its identity gets no request', async t => {
  const server = await httpsServer(certificate({ common: 'x', names: ['other.test'], issuer: ca }), () => undefined);
  t.teardown(async () => server.close());
  const { failure, events } = await open(t, server.port);
  t.match(failure, { code: 'tls_verify', detail: /for other\.test, not for dns\.test/ });
  t.same(events, ['closed tls_verify'], 'and it says so once');
  t.equal(server.requests, 0);
});

await t.test('a server without HTTP/2 is a failure in plain words, and is not asked in another protocol', async t => {
  for (const ALPNProtocols of [['dot'], ['http/1.1'], []]) {
    const server = await dotServer({ identity, handler: () => undefined, tls: { ALPNProtocols } });
    t.teardown(async () => server.close());
    const { failure } = await open(t, server.port);
    t.match(failure, { code: 'tls_alert', detail: /does not offer HTTP\/2 \(ALPN id h2\)/ }, ALPNProtocols.join());
    t.equal(server.connections <= 1, true, 'it is not connected to again');
    t.equal(server.queries, 0);
  }
});

await t.test('TLS sessions are resumed for HTTP/2, and one of DNS over TLS is not', async t => {
  // A server that offers both protocols on one port, with one set of ticket keys.
  const server = await serve(t, (_, stream) => answerOver(stream, Buffer.from('an answer')), {
    ALPNProtocols: ['h2', 'dot'],
    allowHTTP1: false,
  });
  const streams = dialer({ ca: ca.cert, client: undefined, clock: systemClock });
  const target = { address: '127.0.0.1', port: server.port, security: named };
  // Tickets of TLS 1.3 come after the handshake.
  await new Promise<void>(resolve => {
    const stream = streams(target, {
      connected: () =>
        setTimeout(() => {
          stream.destroy();
          resolve();
        }, 100),
      bytes: () => undefined,
      closed: () => resolve(),
    });
  });
  const dialled = http2Dialer(streams);
  const first = await open(t, server.port, { dialled });
  t.match(first.info, { resumed: false }, 'a ticket of the ALPN id dot is not used');
  await first.post();
  await sleep(50);
  t.match((await open(t, server.port, { dialled })).info, { resumed: true });
});

await t.test(
  'responses that are not 2xx are reported with their status, and redirections are not followed',
  async t => {
    const server = await serve(t, (_, stream) => {
      stream.respond({ ':status': 302, location: 'https://elsewhere.test/' });
      stream.end('x'.repeat(100_000));
    });
    const { post } = await open(t, server.port);
    t.match(await post(), { at: 'response', status: 302, location: 'https://elsewhere.test/' });
    t.match(await post(), { status: 302 }, 'the session goes on');
    t.equal(server.connections, 1);
  },
);

await t.test('a response above 65,535 octets is given up, announced or not', async t => {
  const server = await serve(t, (query, stream) => {
    const body = Buffer.alloc(70_000);
    answerOver(stream, body, query.toString() === 'announced' ? { 'content-length': body.length } : {});
  });
  const { post } = await open(t, server.port);
  for (const message of ['announced', 'not announced'])
    t.match(await post(Buffer.from(message)), { at: 'broken', detail: /larger than 65535 octets/ }, message);
});

await t.test('the largest message arrives', async t => {
  const server = await serve(t, (_, stream) => answerOver(stream, Buffer.alloc(65_535, 1)));
  const { post } = await open(t, server.port);
  const outcome = await post();
  t.equal(outcome.at === 'response' && outcome.body.length, 65_535);
});

await t.test('REFUSED_STREAM: the request may be sent again; another code: it is broken', async t => {
  const server = await serve(t, (query, stream) =>
    stream.close(query.toString() === 'refuse' ? constants.NGHTTP2_REFUSED_STREAM : constants.NGHTTP2_INTERNAL_ERROR),
  );
  const { post } = await open(t, server.port);
  t.match(await post(Buffer.from('refuse')), { at: 'unprocessed' });
  t.match(await post(), { at: 'broken', detail: /INTERNAL_ERROR/ });
});

await t.test('GOAWAY: requests above the last stream are handed back, the others are answered', async t => {
  const waiting: ServerHttp2Stream[] = [];
  const server = await serve(t, (_, stream) => {
    waiting.push(stream);
    // The second request counts as not seen.
    if (waiting.length === 2) sessionOf(stream).goaway(constants.NGHTTP2_NO_ERROR, waiting[0]?.id);
  });
  const { post, events } = await open(t, server.port);
  const first = post();
  const second = post();
  t.match(await second, { at: 'unprocessed' });
  await until(() => events.includes('leaving'), 'GOAWAY');
  t.match(await post(), { at: 'unprocessed' }, 'nothing is sent any more');
  const [stream] = waiting;
  if (stream !== undefined) answerOver(stream, Buffer.from('an answer'));
  t.match(await first, { at: 'response', status: 200 });
});

await t.test('GOAWAY with an error ends the session once, and its requests have no outcome of their own', async t => {
  const server = await serve(t, (_, stream) => sessionOf(stream).goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM));
  const { session, events, failure } = await open(t, server.port);
  let outcomes = 0;
  for (let i = 0; i < 3; i++) session.post(Buffer.from('x'), () => outcomes++);
  await until(() => events.some(each => each.startsWith('closed')), 'the end of the session');
  await sleep(50);
  t.equal(outcomes, 0);
  t.equal(events.filter(each => each.startsWith('closed')).length, 1);
  t.equal(failure, undefined);
});

await t.test('SETTINGS_MAX_CONCURRENT_STREAMS is reported', async t => {
  const server = await serve(t, () => undefined, { settings: { maxConcurrentStreams: 3 } });
  const { events } = await open(t, server.port);
  await until(() => events.includes('limited 3'), 'the settings');
  t.pass();
});

await t.test('server push is refused', async t => {
  const server = await serve(t, (_, stream) => {
    t.equal(stream.pushAllowed, false, 'the server is told so');
    answerOver(stream, Buffer.from('an answer'));
  });
  const { post } = await open(t, server.port);
  t.match(await post(), { at: 'response' });
});

await t.test('a response with very many or very large header fields is not read', async t => {
  const server = await serve(t, (query, stream) => {
    const many = query.toString() === 'many';
    const bomb = many
      ? Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`x-${i}`, 'y']))
      : // More than Node.js takes before the server has seen our settings.
        { 'x-large': 'y'.repeat(80_000) };
    answerOver(stream, Buffer.from('an answer'), bomb);
  });
  for (const message of ['many', 'large']) {
    const { session, events } = await open(t, server.port);
    const ends: string[] = [];
    session.post(Buffer.from(message), ({ at }) => ends.push(at));
    await until(() => ends.length > 0 || events.some(each => each.startsWith('closed')), 'the end of the session');
    t.not(ends[0], 'response', message);
  }
});

await t.test('how many octets have arrived is told', async t => {
  const server = await serve(t, (_, stream) => answerOver(stream, Buffer.alloc(1000)));
  let heard = 0;
  const session = await new Promise<HttpsSession>(resolve => {
    const made = dial()(
      { address: '127.0.0.1', port: server.port, security: named, authority: 'dns.test', path: '/' },
      {
        connected: () => resolve(made),
        limited: () => undefined,
        heard: bytes => (heard += bytes),
        leaving: () => undefined,
        closed: () => undefined,
      },
    );
  });
  t.teardown(() => session.destroy());
  await sleep(100);
  const before = heard;
  session.post(Buffer.from('x'), () => undefined);
  await until(() => heard >= before + 1000, 'the answer to a request');
  t.pass();
});

await t.test('a request that is given up has no outcome, and the server hears of it', async t => {
  const codes: number[] = [];
  const server = await serve(t, (_, stream) => stream.on('close', () => codes.push(stream.rstCode)));
  const { session } = await open(t, server.port);
  let outcomes = 0;
  const cancel = session.post(Buffer.from('x'), () => outcomes++);
  await until(() => server.requests === 1, 'the request');
  cancel();
  await until(() => codes.length === 1, 'the end of the request');
  t.same([codes, outcomes], [[constants.NGHTTP2_CANCEL], 0]);
});

await t.test('a server that breaks the connection, or speaks no HTTP/2, ends the session', async t => {
  const breaks = await serve(t, () => breaks.cut());
  const broken = await open(t, breaks.port);
  void broken.post();
  await until(() => broken.events.some(each => each.startsWith('closed')), 'the end of the session');
  const garbage = await dotServer({
    identity,
    handler: () => undefined,
    tls: { ALPNProtocols: ['h2'] },
  });
  t.teardown(async () => garbage.close());
  const odd = await open(t, garbage.port);
  await until(() => garbage.sessions.size === 1, 'the connection');
  for (const { socket } of garbage.sessions) socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  await until(() => odd.events.some(each => each.startsWith('closed')), 'the end of the session');
  t.match(odd.failure, { code: 'closed', detail: /127\.0\.0\.1 port \d+: HTTP\/2: / });
});

await t.test('nothing is called after close or destroy', async t => {
  const server = await serve(t, () => undefined);
  for (const how of ['close', 'destroy'] as const) {
    const { session, events } = await open(t, server.port);
    let outcomes = 0;
    session.post(Buffer.from('x'), () => outcomes++);
    await sleep(20);
    const before = events.length;
    session[how]();
    session[how]();
    await sleep(50);
    t.same([outcomes, events.length], [0, before], how);
  }
});

await t.test('any octets from the server: a session goes on or ends once, and nothing is thrown', async t => {
  const settings = Buffer.from('000000040000000000', 'hex');
  const any = fc
    .tuple(fc.nat(12), fc.nat(255), fc.nat(5), fc.uint8Array({ maxLength: 60 }))
    .map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload)));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(any, any, fc.uint8Array({ maxLength: 40 })), { maxLength: 8 }), async octets => {
      let events: StreamEvents | undefined;
      const ends: string[] = [];
      const session = http2Dialer((_, given) => {
        events = given;
        return {
          send: () => undefined,
          acknowledge: () => undefined,
          close: () => undefined,
          destroy: () => undefined,
        };
      })(
        { address: '192.0.2.1', port: 443, security: named, authority: 'dns.test', path: '/' },
        {
          connected: () => undefined,
          limited: () => undefined,
          heard: () => undefined,
          leaving: () => undefined,
          closed: why => void ends.push(why?.code ?? ''),
        },
      );
      events?.connected({ authenticated: true, resumed: false });
      let outcomes = 0;
      session.post(Buffer.alloc(128), () => outcomes++);
      for (const chunk of [settings, ...octets]) {
        events?.bytes(Buffer.from(chunk));
        await new Promise(resolve => setImmediate(resolve));
      }
      for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve));
      session.destroy();
      return ends.length <= 1 && outcomes <= 1;
    }),
    { numRuns: 300 },
  );
  t.pass();
});
