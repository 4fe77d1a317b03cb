// Options about where queries are taken: listen, listen_tls, front, metrics.

import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

import type { Identity } from '../../fixtures/certificates.js';
import { exchangeTcp, queryMessage } from '../../fixtures/client.js';
import { freePort } from '../../fixtures/free-port.js';
import type { Json, Rig } from '../../fixtures/rig.js';
import { loadLibc } from '../../../src/os/libc.js';
import { framed, frameReader } from '../../../src/wire/frame.js';
import type { Row } from './row.js';
import { Workers } from './workers.js';

const LOOPBACK = '127.0.0.1';

/** Whether a port is served over UDP: an answer comes, or the kernel says that nobody is there. */
async function servesUdp(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  let again: NodeJS.Timeout | undefined;
  try {
    return await new Promise<boolean>(resolve => {
      socket.on('error', () => resolve(false));
      socket.on('message', () => resolve(true));
      const send = (): void => socket.send(queryMessage('www.example'));
      // A socket that is just being closed may take a datagram with it.
      again = setInterval(send, 200);
      socket.connect(port, LOOPBACK, send);
    });
  } finally {
    clearInterval(again);
    socket.close();
  }
}

const servesTcp = async (port: number): Promise<boolean> =>
  (await exchangeTcp({ address: LOOPBACK, port }, [queryMessage('www.example')])).length === 1;

const ACTIVE_MS = 3000;

/** A session over TCP or TLS that stays open. */
class HeldSession {
  private readonly waiting: (() => void)[] = [];
  isOpen = true;

  private constructor(private readonly socket: ReturnType<typeof connectTcp>) {
    const frames = frameReader();
    socket.on('data', (chunk: Buffer) => frames.push(chunk, () => this.waiting.shift()?.()));
    socket.on('error', () => undefined);
    // On a busy machine, a row takes longer than a session may be idle.
    const active = setInterval(() => void this.ask(), ACTIVE_MS);
    socket.on('close', () => {
      clearInterval(active);
      this.isOpen = false;
      for (const each of this.waiting.splice(0)) each();
    });
  }

  static async open(rig: Rig, port: number, secure: boolean): Promise<HeldSession> {
    const socket = secure
      ? connectTls({ host: LOOPBACK, port, ca: rig.ca.cert, servername: 'home.test', ALPNProtocols: ['dot'] })
      : connectTcp(port, LOOPBACK);
    rig.onEnd(() => socket.destroy());
    await new Promise((resolve, reject) => {
      socket.once(secure ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
    return new HeldSession(socket);
  }

  /** Asks; false: it is closed. */
  async ask(): Promise<boolean> {
    if (!this.isOpen) return false;
    const told = new Promise<void>(resolve => this.waiting.push(resolve));
    this.socket.write(framed(queryMessage('www.example')));
    await told;
    return this.isOpen;
  }
}

/** The key that a listener shows; undefined: nobody listens. */
async function shownKey(port: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket: TLSSocket = connectTls({ host: LOOPBACK, port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('error', () => resolve(undefined));
  });
}

const listensAt = (rig: Rig): string[] =>
  rig
    .overview()
    .listening.map(({ transport, address, port }) => `${transport} ${address} ${port}`)
    .toSorted();

/** A row for `listen`: some of two ports before, some after; a session at the first one goes on. */
const listen = (title: string, before: readonly number[], after: readonly number[], threads: number): Row => ({
  title: `listen: ${title}, ${threads} front threads`,
  options: ['listen'],
  slow: true,
  cache: 'unseen',
  scene: async rig => {
    const ports = [rig.port, await freePort()];
    const chosen = (which: readonly number[]): Json => ({
      listen: which.map(i => `${LOOPBACK}:${ports[i] ?? 0}`),
      front: { threads },
    });
    const facts = (which: readonly number[]): unknown => ({
      listening: which
        .flatMap(i => [`tcp ${LOOPBACK} ${ports[i] ?? 0}`, `udp ${LOOPBACK} ${ports[i] ?? 0}`])
        .toSorted(),
      udp: [which.includes(0), which.includes(1)],
      tcp: [which.includes(0), which.includes(1)],
      held: true,
      lost: 0,
    });
    let held: HeldSession | undefined;
    // At an address that stays no query is lost.
    const pump = new Pump(rig);
    rig.onEnd(() => pump.end());
    const stays = before.includes(0) && after.includes(0);
    return {
      before: chosen(before),
      after: chosen(after),
      facts: async () => {
        held ??= await HeldSession.open(rig, ports[before[0] ?? 0] ?? 0, false);
        if (stays) {
          pump.begin();
          await pump.answers(50);
        }
        return {
          listening: listensAt(rig),
          udp: await Promise.all(ports.map(servesUdp)),
          tcp: await Promise.all(ports.map(servesTcp)),
          held: await held.ask(),
          lost: pump.lost,
        };
      },
      expected: { before: facts(before), after: facts(after) },
    };
  },
});

/** A row for the certificate: what new sessions see, and whether an established one goes on. */
const shown = (
  title: string,
  options: readonly string[],
  change: (rig: Rig, one: Identity, two: Identity) => { before: Json; after: Json; same?: true },
): Row => ({
  title: `listen_tls: ${title}`,
  options,
  scene: async rig => {
    const port = await freePort();
    const one = rig.issued('home.test');
    const two = rig.issued('home.test');
    rig.file('one.pem', one.cert);
    rig.file('one.key', one.key);
    const { before, after, same } = change(rig, one, two);
    const config = (files: Json): Json => ({ listen_tls: { addresses: [`${LOOPBACK}:${port}`], ...files } });
    let held: HeldSession | undefined;
    let first: string | undefined;
    return {
      before: config(before),
      after: config(after),
      facts: async () => {
        held ??= await HeldSession.open(rig, port, true);
        const key = await shownKey(port);
        first ??= key;
        return { first: key === first, held: await held.ask(), sessions: rig.overview().sessions.tls > 0 };
      },
      expected: {
        before: { first: true, held: true, sessions: true },
        after: { first: same === true, held: true, sessions: true },
      },
    };
  },
});

const CERTIFICATES: readonly Row[] = [
  shown('another certificate and key', ['listen_tls.certificate', 'listen_tls.key'], (rig, _one, two) => ({
    before: { certificate: rig.path('one.pem'), key: rig.path('one.key') },
    after: { certificate: rig.file('two.pem', two.cert), key: rig.file('two.key', two.key) },
  })),
  shown('a certificate with its chain', ['listen_tls.certificate'], (rig, one) => ({
    before: { certificate: rig.path('one.pem'), key: rig.path('one.key') },
    after: { certificate: rig.file('chain.pem', one.cert + rig.ca.cert), key: rig.path('one.key') },
    same: true,
  })),
  shown('the key at another place', ['listen_tls.key'], (rig, one) => ({
    before: { certificate: rig.path('one.pem'), key: rig.path('one.key') },
    after: { certificate: rig.path('one.pem'), key: rig.file('moved.key', one.key) },
    same: true,
  })),
];

const TLS_ADDRESSES: Row = {
  title: 'listen_tls.addresses: none, one, none',
  options: ['listen_tls.addresses'],
  slow: true,
  scene: async rig => {
    const port = await freePort();
    const { cert, key } = rig.issued('home.test');
    const files = { certificate: rig.file('home.pem', cert), key: rig.file('home.key', key) };
    return {
      before: { listen_tls: { ...files, addresses: [] } },
      after: { listen_tls: { ...files, addresses: [`${LOOPBACK}:${port}`] } },
      facts: async () => ({
        listening: listensAt(rig).filter(each => each.startsWith('tls')),
        answers: (await shownKey(port)) !== undefined && (await (await HeldSession.open(rig, port, true)).ask()),
      }),
      expected: {
        before: { listening: [], answers: false },
        after: { listening: [`tls ${LOOPBACK} ${port}`], answers: true },
      },
    };
  },
};

const ANNOUNCE: Row = {
  title: 'listen_tls.announce: true and false',
  options: ['listen_tls.announce'],
  scene: async rig => {
    const port = await freePort();
    const { cert, key } = rig.issued('home.test');
    const files = { certificate: rig.file('home.pem', cert), key: rig.file('home.key', key) };
    const config = (announce: boolean): Json => ({
      listen_tls: { ...files, addresses: [`${LOOPBACK}:${port}`], announce },
    });
    const told = `1 home.test. alpn=dot port=${port} ipv4hint=127.0.0.1`;
    return {
      before: config(true),
      after: config(false),
      facts: async () => rig.answer('_dns.resolver.arpa', { type: 'SVCB' }),
      expected: { before: `NOERROR ${told}`, after: 'NOERROR' },
    };
  },
};

/** A row for the ways to serve UDP. Queries come all the time, and none is lost. */
const front = (option: string, before: Json, after: Json, threads: readonly [number, number]): Row => ({
  title: `${option}: ${JSON.stringify(before)} and ${JSON.stringify(after)}`,
  options: [option],
  slow: true,
  alone: true,
  scene: async rig => {
    const workers = new Workers();
    rig.onEnd(() => workers.close());
    const pump = new Pump(rig);
    rig.onEnd(() => pump.end());
    return {
      before: { front: before },
      after: { front: after },
      facts: async () => {
        pump.begin();
        await pump.answers(50);
        return { threads: workers.count, answer: await rig.answer('www.example'), lost: pump.lost };
      },
      expected: {
        before: { threads: count(threads[0]), answer: 'NOERROR 192.0.2.80', lost: 0 },
        after: { threads: count(threads[1]), answer: 'NOERROR 192.0.2.80', lost: 0 },
      },
    };
  },
});

/** Without system calls there are no threads, and everything else is as it is with them. */
const count = (threads: number): number => ('unavailable' in loadLibc() ? 0 : threads);

/** Asks over UDP all the time, from a socket that stays. */
class Pump {
  /** Questions that were given up. */
  lost = 0;
  private readonly socket = createSocket('udp4');
  private answered = 0;
  private readonly waiting = new Map<number, NodeJS.Timeout>();
  private timer: NodeJS.Timeout | undefined;
  private id = 0;

  constructor(private readonly rig: Rig) {
    this.socket.on('error', () => undefined);
    this.socket.on('message', message => {
      const id = message.readUInt16BE(0);
      clearTimeout(this.waiting.get(id));
      if (this.waiting.delete(id)) this.answered++;
    });
  }

  begin(): void {
    this.timer ??= setInterval(() => this.send(), 2);
  }

  /** Waits for so many answers more. */
  async answers(more: number): Promise<void> {
    const until = this.answered + more;
    while (this.answered < until && this.lost === 0) await new Promise(resolve => setTimeout(resolve, 5));
  }

  end(): void {
    clearInterval(this.timer);
    for (const each of this.waiting.values()) clearTimeout(each);
    this.socket.close();
  }

  private send(): void {
    const id = this.id++ & 0xffff;
    this.waiting.set(
      id,
      setTimeout(() => void (this.waiting.delete(id) && this.lost++), GIVEN_UP_MS),
    );
    this.socket.send(queryMessage('www.example', { id }), this.rig.port, LOOPBACK);
  }
}

const GIVEN_UP_MS = 8000;

const METRICS: readonly Row[] = [
  {
    title: 'metrics.listen: moved',
    options: ['metrics.listen'],
    slow: true,
    scene: async rig => {
      const ports = [rig.metricsPort, await freePort()] as const;
      return {
        before: { metrics: { listen: `${LOOPBACK}:${ports[0]}` } },
        after: { metrics: { listen: `${LOOPBACK}:${ports[1]}` } },
        facts: async () => ({ served: await Promise.all(ports.map(hasMetrics(rig))), web: rig.daemon.web?.port }),
        expected: {
          before: { served: [true, false], web: ports[0] },
          after: { served: [false, true], web: ports[1] },
        },
      };
    },
  },
  {
    title: 'metrics.listen: off and on again; what was counted is kept',
    options: ['metrics.listen'],
    slow: true,
    scene: async rig => ({
      before: {},
      after: { metrics: { listen: 'off' } },
      facts: async () => {
        const served = await hasMetrics(rig)(rig.metricsPort);
        return { served, web: rig.daemon.web?.port, counted: served && (await countsCanary(rig)) };
      },
      expected: {
        before: { served: true, web: rig.metricsPort, counted: true },
        after: { served: false, web: undefined, counted: false },
      },
    }),
  },
];

const METRICS_HOSTS: Row = {
  title: 'metrics.hosts',
  options: ['metrics.hosts'],
  scene: async rig => ({
    before: { metrics: { hosts: ['corp.example'] } },
    after: { metrics: { hosts: ['other.example'] } },
    facts: async () => Promise.all(['dns1.corp.example', 'other.example'].map(hostStatus(rig))),
    expected: { before: [200, 403], after: [403, 200] },
  }),
};

/** The status of a scrape under the name of a host. */
const hostStatus =
  (rig: Rig) =>
  async (host: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const port = rig.metricsPort;
      get({ host: LOOPBACK, port, path: '/metrics', agent: false, headers: { host } }, response => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });

const hasMetrics =
  (rig: Rig) =>
  async (port: number): Promise<boolean> =>
    rig.metrics(port).then(
      series => series.has('dotstub_cache_entries'),
      () => false,
    );

/** The canary that was cached at the start is counted. */
const countsCanary = async (rig: Rig): Promise<boolean> =>
  ((await rig.metrics()).get('dotstub_upstream_queries_total{upstream="dns.test",proto="dot"}') ?? 0) >= 1;

/** The rows. */
export const LISTENING: readonly Row[] = [
  listen('moved', [0], [1], 0),
  listen('moved', [0], [1], 1),
  listen('one more', [0], [0, 1], 0),
  listen('one more', [0], [0, 1], 1),
  TLS_ADDRESSES,
  ANNOUNCE,
  ...CERTIFICATES,
  front('front.threads', { threads: 0 }, { threads: 1 }, [0, 1]),
  front('front.threads', { threads: 1 }, { threads: 2 }, [1, 2]),
  front('front.io', { threads: 1, io: 'auto' }, { threads: 1, io: 'dgram' }, [1, 0]),
  front('front.io', { threads: 1, io: 'dgram' }, { threads: 1, io: 'auto' }, [0, 1]),
  ...METRICS,
  METRICS_HOSTS,
];
