// Options about DNS over HTTPS for clients: listen_https.

import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';

import type { Identity } from '../../fixtures/certificates.js';
import { queryMessage } from '../../fixtures/client.js';
import { freePort } from '../../fixtures/free-port.js';
import { type Json, merged, type Rig } from '../../fixtures/rig.js';
import { flagsOf, rcodeOf } from '../../../src/wire/header.js';
import { rcodeToText } from '../../../src/wire/rcode.js';
import type { Row, Scene } from './row.js';

const LOOPBACK = '127.0.0.1';

/** A connection over HTTP/2 that stays open. */
class HeldConnection {
  private constructor(private readonly session: ClientHttp2Session) {}

  /** Undefined: nobody listens, or not so. */
  static async open(rig: Rig, port: number, scheme: 'http' | 'https'): Promise<HeldConnection | undefined> {
    const session = connectHttp2(
      `${scheme}://${LOOPBACK}:${port}`,
      scheme === 'http' ? {} : { ca: rig.ca.cert, servername: 'home.test' },
    );
    rig.onEnd(() => session.destroy());
    return new Promise(resolve => {
      session.on('error', () => resolve(undefined));
      session.on('connect', () => resolve(new HeldConnection(session)));
    });
  }

  /** The RCODE of an answer, or the status if it is another one than 200. */
  async ask(path: string, fields: Readonly<Record<string, string>> = {}): Promise<string> {
    const query = queryMessage('www.example').toString('base64url');
    const stream = this.session.request({ ':path': `${path}?dns=${query}`, ...fields });
    const chunks: Buffer[] = [];
    return new Promise(resolve => {
      stream.on('error', () => resolve('broken'));
      stream.on('response', ({ ':status': status }) => {
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () =>
          resolve(status === 200 ? rcodeToText(rcodeOf(flagsOf(Buffer.concat(chunks)))) : String(status)),
        );
      });
    });
  }
}

/** The certificate that a listener shows; undefined: nobody listens, or not over TLS. */
async function shownCertificate(port: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const options = { host: LOOPBACK, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] };
    const socket: TLSSocket = connectTls(options, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('error', () => resolve(undefined));
  });
}

const listensAt = (rig: Rig): string[] =>
  rig
    .overview()
    .listening.filter(({ transport }) => transport === 'https')
    .map(({ address, port }) => `${address} ${port}`);

const ADDRESSES: Row = {
  title: 'listen_https.addresses: none, one, none',
  options: ['listen_https.addresses'],
  slow: true,
  scene: async rig => {
    const port = await freePort();
    const { cert, key } = rig.issued('home.test');
    const files = { certificate: rig.file('home.pem', cert), key: rig.file('home.key', key) };
    return {
      before: { listen_https: { ...files, addresses: [] } },
      after: { listen_https: { ...files, addresses: [`${LOOPBACK}:${port}`] } },
      facts: async () => ({
        listening: listensAt(rig),
        answer: await (await HeldConnection.open(rig, port, 'https'))?.ask('/dns-query'),
      }),
      expected: {
        before: { listening: [], answer: undefined },
        after: { listening: [`${LOOPBACK} ${port}`], answer: 'NOERROR' },
      },
    };
  },
};

const PATH: Row = {
  title: 'listen_https.path: an open connection goes on with the other one',
  options: ['listen_https.path'],
  scene: async rig => {
    const addresses = [`${LOOPBACK}:${await freePort()}`];
    const port = Number(addresses[0]?.split(':')[1]);
    let held: HeldConnection | undefined;
    return {
      before: { listen_https: { addresses } },
      after: { listen_https: { addresses, path: '/secret/query' } },
      facts: async () => {
        held ??= await HeldConnection.open(rig, port, 'http');
        return [await held?.ask('/dns-query'), await held?.ask('/secret/query')];
      },
      expected: { before: ['NOERROR', '404'], after: ['404', 'NOERROR'] },
    };
  },
};

const PROXIES: Row = {
  title: 'listen_https.proxies: whether X-Forwarded-For is believed',
  options: ['listen_https.proxies'],
  scene: async rig => {
    const port = await freePort();
    const addresses = [`${LOOPBACK}:${port}`];
    let held: HeldConnection | undefined;
    return {
      before: { listen_https: { addresses } },
      after: { listen_https: { addresses, proxies: [LOOPBACK] } },
      facts: async () => {
        held ??= await HeldConnection.open(rig, port, 'http');
        const from = async (client: string) => held?.ask('/dns-query', { 'x-forwarded-for': client });
        // Only addresses in access.allow may ask.
        return [await from('203.0.113.9'), await from('192.168.1.9'), await from('no address')];
      },
      expected: { before: ['NOERROR', 'NOERROR', 'NOERROR'], after: ['REFUSED', 'NOERROR', '400'] },
    };
  },
};

/** A row for the certificate: what new connections see, and whether an open one goes on. */
const shown = (
  title: string,
  options: readonly string[],
  change: (rig: Rig, one: Identity, two: Identity) => Pick<Scene, 'apply'> & { before: Json; after: Json },
  after: 'another' | 'none' = 'another',
): Row => ({
  title: `listen_https: ${title}`,
  options,
  scene: async rig => {
    const port = await freePort();
    const one = rig.issued('home.test');
    const two = rig.issued('home.test');
    for (const [name, { cert, key }] of Object.entries({ one, two })) {
      rig.file(`${name}.pem`, cert);
      rig.file(`${name}.key`, key);
    }
    const changed = change(rig, one, two);
    const over = (config: Json): Json => merged({ listen_https: { addresses: [`${LOOPBACK}:${port}`] } }, config);
    let held: HeldConnection | undefined;
    let first: string | undefined;
    return {
      ...changed,
      before: over(changed.before),
      after: over(changed.after),
      facts: async () => {
        held ??= await HeldConnection.open(rig, port, 'https');
        const certificate = await shownCertificate(port);
        first ??= certificate;
        return {
          certificate: certificate === undefined ? 'none' : certificate === first ? 'first' : 'another',
          held: await held?.ask('/dns-query'),
          sessions: rig.overview().sessions.https > 0,
        };
      },
      expected: {
        before: { certificate: 'first', held: 'NOERROR', sessions: true },
        after: { certificate: after, held: 'NOERROR', sessions: true },
      },
    };
  },
});

const pair = (rig: Rig, name: string): Json => ({ certificate: rig.path(`${name}.pem`), key: rig.path(`${name}.key`) });
const OWN = ['listen_https.certificate', 'listen_https.key'] as const;

const CERTIFICATES: readonly Row[] = [
  shown('another certificate and key', OWN, rig => ({
    before: { listen_https: pair(rig, 'one') },
    after: { listen_https: pair(rig, 'two') },
  })),
  shown('other contents of the same files', OWN, (rig, one, two) => {
    const config = { listen_https: pair(rig, 'live') };
    return {
      apply: phase => {
        const { cert, key } = phase === 'before' ? one : two;
        rig.file('live.pem', cert);
        rig.file('live.key', key);
      },
      before: config,
      after: config,
    };
  }),
  shown(
    'a certificate, and then none',
    OWN,
    rig => ({ before: { listen_https: pair(rig, 'one') }, after: {} }),
    'none',
  ),
  shown('the certificate of listen_tls is exchanged', ['listen_tls.certificate', 'listen_tls.key'], rig => ({
    before: { listen_tls: pair(rig, 'one') },
    after: { listen_tls: pair(rig, 'two') },
  })),
  shown('a certificate of its own in place of that of listen_tls', OWN, rig => ({
    before: { listen_tls: pair(rig, 'one') },
    after: { listen_tls: pair(rig, 'one'), listen_https: pair(rig, 'two') },
  })),
];

/** The rows. */
export const HTTPS: readonly Row[] = [ADDRESSES, PATH, PROXIES, ...CERTIFICATES];
