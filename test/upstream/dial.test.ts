// Real TLS: who is let in, and what is said about those who are not.

import { createServer, type AddressInfo, type Socket } from 'node:net';

import t from 'tap';

import type { DialTarget, Security } from '../../src/base/ports.js';
import { dialer } from '../../src/upstream/dial.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';
import { dotServer, type DotServerOptions } from '../fixtures/dot-server.js';


const ca = authority();
const DAY_MS = 86_400_000;
const named: Security = { at: 'authenticated', name: 'dns.test', pins: [] };

interface Outcome {
  readonly connected: boolean;
  readonly code?: string;
  readonly detail?: string;
  readonly protocol?: string;
  /** Octets that reached the server as data. */
  readonly queries: number;
}

/** Dials, sends something, and says what came of it. */
async function dial(identity: Identity, security: Security, more: Partial<DotServerOptions> = {}, roots: Identity = ca): Promise<Outcome> {
  const server = await dotServer({ identity, handler: (query, session) => session.reply(query), ...more });
  const target: DialTarget = { address: more.address ?? '127.0.0.1', port: server.port, security };
  const outcome = await new Promise<Omit<Outcome, 'queries'>>(resolve => {
    let connected = false;
    let protocol: string | undefined;
    const stream = dialer(roots.cert, { tcpMs: 500, totalMs: 1000 })(target, {
      connected(info) {
        connected = true;
        protocol = info.protocol;
      },
      bytes() {
        stream.close();
        resolve({ connected, ...(protocol === undefined ? {} : { protocol }) });
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
  t.match(await dial(certificate({ common: 'x', names: ['dns.test'], issuer: ca }), named), { connected: true, queries: 1, protocol: 'TLSv1.3' });
  t.match(await dial(certificate({ common: 'x', names: ['*.dns.test'], issuer: ca }), { ...named, name: 'a.dns.test' }), { connected: true }, 'a wildcard for the leftmost label');
  t.match(await dial(certificate({ common: 'x', names: ['*.dns.test'], issuer: ca }), { ...named, name: 'a.b.dns.test' }), { connected: false }, 'and for no more');
});

await t.test('RFC 8310 §8.1: without a name the address must be in the certificate', async t => {
  const byAddress: Security = { at: 'authenticated', name: undefined, pins: [] };
  t.match(await dial(certificate({ common: 'x', ips: ['127.0.0.1'], issuer: ca }), byAddress), { connected: true, queries: 1 });
  t.match(await dial(certificate({ common: 'x', names: ['127.0.0.1'], issuer: ca }), byAddress), { connected: false, code: 'tls_verify', queries: 0 });
});

await t.test('whoever does not is refused, told why, and never gets an octet', async t => {
  const past = { notBefore: new Date(Date.now() - 3 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) };
  const future = { notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 3 * DAY_MS) };
  const cases: readonly (readonly [string, Identity, RegExp])[] = [
    ['another name', certificate({ common: 'x', names: ['other.test'], issuer: ca }), /the certificate is for other\.test, not for dns\.test/],
    ['the name only as CN', certificate({ common: 'dns.test', issuer: ca }), /no name at all/],
    ['CN beside other SANs', certificate({ common: 'dns.test', names: ['other.test'], issuer: ca }), /for other\.test/],
    ['a partial wildcard', certificate({ common: 'x', names: ['d*.test'], issuer: ca }), /for d\*\.test/],
    ['a wildcard too high', certificate({ common: 'x', names: ['*'], issuer: ca }), /for \*/],
    ['expired', certificate({ common: 'x', names: ['dns.test'], issuer: ca, ...past }), /expired/],
    ['not yet valid', certificate({ common: 'x', names: ['dns.test'], issuer: ca, ...future }), /not valid yet/],
    ['self-signed', certificate({ common: 'x', names: ['dns.test'] }), /self-signed/],
    ['an unknown authority', certificate({ common: 'x', names: ['dns.test'], issuer: authority('someone else') }), /upstream\.ca_file does not hold/],
    ['a missing intermediate', certificate({ common: 'x', names: ['dns.test'], issuer: certificate({ common: 'middle', ca: true, issuer: ca }) }), /intermediate/],
    ['issued by no authority', certificate({ common: 'x', names: ['dns.test'], issuer: certificate({ common: 'leaf', names: ['leaf.test'], issuer: ca }) }), /./],
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
  t.match(await dial({ ...leaf, cert: leaf.cert + middle.cert }, { ...named, pins: [middle.pin] }), { connected: true }, 'a pin may be the intermediate\'s');
});

await t.test('pins: one must match, whatever the authorities say', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, { ...named, pins: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', leaf.pin] }), { connected: true });
  const refused = await dial(leaf, { ...named, pins: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] });
  t.match(refused, { connected: false, code: 'tls_verify', queries: 0 });
  t.ok(refused.detail?.includes(`sha256/${leaf.pin}`), 'the pins that the server shows are named');
});

await t.test('encrypted: whoever answers', async t => {
  t.match(await dial(certificate({ common: 'x', names: ['other.test'] }), { at: 'encrypted' }), { connected: true, queries: 1 });
});

await t.test('TLS below 1.2 is not spoken', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, named, { tls: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } }), { connected: true, protocol: 'TLSv1.2' });
  t.match(await dial(leaf, named, { tls: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } }), { connected: false, code: 'tls_alert', queries: 0 });
});

await t.test('a server that refuses the ALPN id is asked again without it', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  t.match(await dial(leaf, named, { tls: { ALPNProtocols: ['h2'] } }), { connected: true, queries: 1 });
});

await t.test('nobody there, or nobody that speaks TLS', async t => {
  const held = new Set<Socket>();
  const silent = createServer(socket => held.add(socket));
  await new Promise<void>(resolve => void silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const outcome = async (target: DialTarget) => new Promise<{ code: string; detail: string } | undefined>(resolve => {
    dialer(ca.cert, { tcpMs: 300, totalMs: 600 })(target, { connected: () => undefined, bytes: () => undefined, closed: resolve });
  });
  t.match(await outcome({ address: '127.0.0.1', port, security: named }), { code: 'connect_timeout', detail: /no TLS connection within 600 ms/ });
  for (const socket of held) socket.destroy();
  await new Promise(resolve => void silent.close(resolve));
  t.match(await outcome({ address: '127.0.0.1', port, security: named }), { code: 'connect', detail: /connection refused/ });
  const chatty = createServer(socket => void socket.on('error', () => undefined).resume().end('220 mail.example ESMTP\r\n'));
  await new Promise<void>(resolve => void chatty.listen(0, '127.0.0.1', resolve));
  t.match(await outcome({ address: '127.0.0.1', port: (chatty.address() as AddressInfo).port, security: named }), { code: 'tls_alert' });
  await new Promise(resolve => void chatty.close(resolve));
});

await t.test('all that is sent in one turn arrives in one piece', async t => {
  const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const server = await dotServer({ identity: leaf, handler: () => undefined });
  await new Promise<void>(resolve => {
    const stream = dialer(ca.cert)({ address: '127.0.0.1', port: server.port, security: named }, {
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
    });
  });
  t.equal(server.queries, 50);
  t.equal(server.reads, 1);
  await server.close();
});
