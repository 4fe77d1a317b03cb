// DNS over HTTPS with real servers, while nothing listens on the port of DNS over TLS: Unbound, dnsdist, nghttpx in front of
// Unbound, and a server of node:http2 that misbehaves. Debian packages: unbound dnsdist nsd nghttp2-proxy.

import { constants, type ServerHttp2Stream } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { ask, type At, REPORT, tryAsk } from '../fixtures/client.js';
import { certificate, type Identity } from '../fixtures/certificates.js';
import { freePort } from '../fixtures/free-port.js';
import { answerOver, httpsServer, type HttpsServer } from '../fixtures/https-server.js';
import { responseTo } from '../fixtures/messages.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, dnsdist, missing, nghttpx, nsd, unbound, unboundHttps } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';
import { everyKindOfAnswer } from './answers.js';

/** Starts the program in strict mode. `port` is that of HTTPS; nothing listens on the one of DNS over TLS. */
async function dotstubBefore(
  on: Bench,
  { port }: Pick<At, 'port'>,
  dotPort?: number,
): Promise<At & { log(): string; over(name: string): Promise<string> }> {
  const own = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${own}"]
special_names: { forward: [test] }
metrics: { listen: off }
access: { per_client: 0 }
upstream:
  ca_file: ${on.caFile}
  servers:
    - { name: dns.test, addresses: ["127.0.0.1:${dotPort ?? (await freePort())}"], https: "https://dns.test:${port}/dns-query{?dns}" }
`);
  on.onEnd(async () => void (await program.stop()));
  const at = { address: '127.0.0.1', port: own };
  return {
    ...at,
    log: program.log,
    /** Asks, and says what came, over what. */
    over: async name => {
      const told = await tryAsk(at, name, { options: [REPORT] });
      return `${told?.text.rcode ?? 'nothing'} ${told?.report.get('protocol') ?? ''}`.trim();
    },
  };
}

await t.test('Unbound', { skip: missing('unbound', 'nsd') }, async t => {
  const on = bench(t);
  const at = await dotstubBefore(on, await unboundHttps(on, await nsd(on)));
  await everyKindOfAnswer(t, at);
  t.equal(await at.over('n1.wild.test'), 'NOERROR https');
  t.match(at.log(), /asked over HTTPS, port \d+; port \d+ cannot be used: .*connection refused/);
});

await t.test('dnsdist', { skip: missing('dnsdist', 'nsd') }, async t => {
  const on = bench(t);
  const at = await dotstubBefore(on, await dnsdist(on, await nsd(on), undefined, 'https'));
  await everyKindOfAnswer(t, at);
  t.equal(await at.over('n1.wild.test'), 'NOERROR https');
});

await t.test('nghttpx in front of Unbound', { skip: missing('nghttpx', 'unbound', 'nsd') }, async t => {
  const on = bench(t);
  const proxy = await nghttpx(on, await unboundHttps(on, await nsd(on), { cleartext: true }));
  const at = await dotstubBefore(on, proxy);
  await everyKindOfAnswer(t, at);
  t.equal(await at.over('n1.wild.test'), 'NOERROR https');
});

t.setTimeout(200_000);
await t.test('Unbound over TLS comes back: queries leave HTTPS', { skip: missing('unbound', 'nsd') }, async t => {
  const on = bench(t);
  const authority = await nsd(on);
  const dotPort = await freePort();
  const at = await dotstubBefore(on, await unboundHttps(on, authority), dotPort);
  t.equal(await at.over('n1.wild.test'), 'NOERROR https');
  await unbound(on, authority, '', dotPort);
  let asked = 2;
  await until(async () => {
    await sleep(100);
    return (await at.over(`n${asked++}.wild.test`)) === 'NOERROR dot';
  }, 'an answer over TLS');
  t.match(at.log(), /port \d+ works again, so it is asked over TLS/);
});

/** A server that misbehaves, and the program before it. */
async function misbehaving(
  on: Bench,
  more: Partial<Identity> = {},
): Promise<{ server: HttpsServer; at: Awaited<ReturnType<typeof dotstubBefore>> }> {
  const identity = certificate({ common: 'x', names: ['dns.test'], issuer: on.ca });
  const server = await httpsServer({ ...identity, ...more }, good);
  on.onEnd(async () => server.close());
  return { server, at: await dotstubBefore(on, server) };
}

const good = (query: Buffer, stream: ServerHttp2Stream): void =>
  answerOver(stream, responseTo(query, { answers: 'x.test 0 A 192.0.2.99' }));
const status =
  (code: number, headers: Record<string, string> = {}) =>
  (_: Buffer, stream: ServerHttp2Stream): void => {
    stream.respond({ ':status': code, 'content-type': 'text/html', ...headers });
    stream.end('<html>no</html>');
  };

await t.test(
  'HTTP errors, redirections and other content are failures with words, and it recovers from each',
  async t => {
    const on = bench(t);
    const elsewhere = await httpsServer(certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }), good);
    on.onEnd(async () => elsewhere.close());
    const { server, at } = await misbehaving(on);
    const cases = [
      [status(404), /HTTP status 404/],
      [status(502), undefined],
      [
        status(302, { location: `https://dns.test:${elsewhere.port}/dns-query` }),
        /a redirection to https:\/\/dns\.test:\d+\/dns-query, which is not followed/,
      ],
      [status(200), /content of type text\/html, not application\/dns-message/],
    ] as const;
    let asked = 0;
    for (const [handler, words] of cases) {
      server.handler = handler;
      t.match(await at.over(`n${asked++}.example`), /^SERVFAIL/);
      if (words !== undefined) {
        await until(async () => {
          await at.over(`n${asked++}.example`);
          return words.test(at.log());
        }, String(words));
      }
      server.handler = good;
      await until(async () => (await at.over(`n${asked++}.example`)) === 'NOERROR https', 'the end of it');
    }
    t.equal(elsewhere.connections, 0, 'no redirection was followed');
  },
);

await t.test('GOAWAY, refused streams and broken connections lose no query', async t => {
  const on = bench(t);
  const { server, at } = await misbehaving(on);
  let count = 0;
  const handler = (query: Buffer, stream: ServerHttp2Stream): void => {
    count++;
    if (count % 25 === 5) stream.session?.goaway(constants.NGHTTP2_NO_ERROR, (stream.id ?? 1) - 2);
    else if (count % 17 === 7) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else if (count % 60 === 39) server.cut();
    else good(query, stream);
  };
  // The first query finds out that port 853 is closed, which counts as one of its attempts.
  server.handler = good;
  await at.over('first.example');
  server.handler = handler;
  const outcomes: string[] = [];
  for (let round = 0; round < 10; round++)
    outcomes.push(
      ...(await Promise.all(Array.from({ length: 10 }, async (_, i) => at.over(`r${round}n${i}.example`)))),
    );
  t.same([...new Set(outcomes)], ['NOERROR https']);
});

await t.test('a stalled stream holds nobody up', async t => {
  const on = bench(t);
  const { server, at } = await misbehaving(on);
  server.handler = (query, stream) => {
    if (!query.includes('stalled')) good(query, stream);
  };
  const stalled = at.over('stalled.example');
  const started = Date.now();
  for (let i = 0; i < 30; i++) {
    t.equal(await at.over(`n${i}.example`), 'NOERROR https');
    await sleep(50);
  }
  t.ok(Date.now() - started < 4000, 'the others are answered at once');
  t.match(await stalled, /^SERVFAIL/);
  t.equal(server.connections, 1, 'over the same connection');
});

await t.test('a server that takes two requests at a time gets no more, and all are answered', async t => {
  const on = bench(t);
  const identity = certificate({ common: 'x', names: ['dns.test'], issuer: on.ca });
  let open = 0;
  let most = 0;
  const server = await httpsServer(
    identity,
    (query, stream) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        good(query, stream);
      }, 5);
    },
    { settings: { maxConcurrentStreams: 2 } },
  );
  on.onEnd(async () => server.close());
  const at = await dotstubBefore(on, server);
  await ask(at, 'first.example');
  const outcomes = await Promise.all(Array.from({ length: 60 }, async (_, i) => at.over(`n${i}.example`)));
  t.same([...new Set(outcomes)], ['NOERROR https']);
  t.ok(most <= 2, `${most} at a time`);
});

await t.test('a server that proves another name gets no request, and the words name both ways', async t => {
  const on = bench(t);
  const other = certificate({ common: 'x', names: ['other.test'], issuer: on.ca });
  const { server, at } = await misbehaving(on, { cert: other.cert, key: other.key });
  t.match(await at.over('n1.example'), /^SERVFAIL/);
  await until(
    () => /connection refused; over HTTPS: .*the certificate is for other\.test, not for dns\.test/.test(at.log()),
    'the words',
  );
  t.equal(server.requests, 0);
});
