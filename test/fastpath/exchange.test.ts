// UDP hosts that replace each other while a client asks: no datagram and no reply is lost.

import { createSocket } from 'node:dgram';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { ageSec } from '../../src/base/time.js';
import { type DatagramHost, type DatagramParts, openDatagramHost } from '../../src/fastpath/datagram-host.js';
import { packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { HandOver } from '../../src/fastpath/hand-over.js';
import { FrontWorkers } from '../../src/fastpath/threads.js';
import type { Front } from '../../src/front/front.js';
import { systemClock } from '../../src/os/clock.js';
import { openUdp, portOf } from '../../src/os/datagrams.js';
import { loadLibc } from '../../src/os/libc.js';
import { RateLimit } from '../../src/policy/rate-limit.js';
import { ServerCookies } from '../../src/policy/server-cookies.js';
import { SharedNetworks } from '../../src/policy/shared-networks.js';
import { freePort } from '../fixtures/free-port.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';

const found = loadLibc();
const libc = 'unavailable' in found ? undefined : found;
const SCRIPT = new URL('./worker-script.js', import.meta.url);
const LATE_MS = 150;

/** Answers every second message at once, and the others late. Replies are only lent, as those of the real front are. */
const front: Front = {
  handle(message, _client, respond) {
    const reply = Buffer.from(message);
    const lend = (): void => {
      respond(reply);
      reply.fill(0);
    };
    if ((message[1] ?? 0) % 2 === 0) {
      lend();
      return false;
    }
    setTimeout(lend, LATE_MS);
    return true;
  },
  inflight: 0,
  stop: () => undefined,
  giveUp: () => undefined,
};

type Kind = 'inline' | 'dgram' | 'dgram without libc' | 'a thread' | 'two threads';
const THREADS: Readonly<Partial<Record<Kind, number>>> = { 'a thread': 1, 'two threads': 2 };

async function open(
  kind: Kind,
  addresses: DatagramParts['addresses'],
  replaces?: DatagramHost,
  asked = front,
): Promise<DatagramHost> {
  const threads = THREADS[kind] ?? 0;
  const log = recordedLog();
  return openDatagramHost({
    addresses,
    io: kind.startsWith('dgram') ? 'dgram' : 'auto',
    threads,
    libc: kind === 'dgram without libc' ? undefined : libc,
    workers: threads > 0 ? new FrontWorkers(threads, SCRIPT) : undefined,
    admission: {
      networks: SharedNetworks.memory([{ address: '127.0.0.0', prefix: 8 }]),
      limits: RateLimit.memory(Buffer.alloc(16)),
      cookies: ServerCookies.memory(Buffer.alloc(16)),
    },
    packets: packetCacheMemory(1 << 16),
    front: asked,
    observer: recorder().observer,
    ageNow: () => ageSec(0),
    monotonicMs: () => systemClock.monotonicMs(),
    wallSec: () => 0,
    log,
    replaces,
  });
}

/** Asks 2,000 times a second from several ports, until told to stop; returns how many went unanswered. */
function client(port: number): { stop(): Promise<{ asked: number; unanswered: number }> } {
  const sockets = Array.from({ length: 16 }, () => createSocket('udp4'));
  const open = new Set<number>();
  let asked = 0;
  for (const socket of sockets) socket.on('message', reply => open.delete(reply.readUInt32BE(12)));
  const timer = setInterval(() => {
    for (let i = 0; i < 10; i++) {
      const query = Buffer.alloc(29);
      query.writeUInt16BE(asked & 0xffff, 0);
      query.writeUInt32BE(asked, 12);
      open.add(asked++);
      sockets[asked % sockets.length]?.send(query, port, '127.0.0.1');
    }
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      for (let waited = 0; waited < 2000 && open.size > 0; waited += 20) await sleep(20);
      for (const socket of sockets) socket.close();
      return { asked, unanswered: open.size };
    },
  };
}

async function exchanges(t: Test, kinds: readonly Kind[], address: (kind: Kind) => string): Promise<void> {
  const port = await freePort();
  const [first = 'inline', ...others] = kinds;
  let host = await open(first, [{ address: address(first), port }]);
  const asking = client(port);
  for (const kind of others) {
    await sleep(100);
    const before = host;
    host = await open(kind, [{ address: address(kind), port }], before);
    await before.close(2000);
  }
  await sleep(100);
  const { asked, unanswered } = await asking.stop();
  await host.close();
  t.ok(asked > 200 * kinds.length * 0.3, `${asked} queries`);
  t.equal(unanswered, 0, `none of ${asked} unanswered`);
}

const ALL: readonly Kind[] = [
  'inline',
  'inline',
  'a thread',
  'two threads',
  'a thread',
  'inline',
  'dgram',
  'two threads',
  'dgram',
  'dgram',
  'inline',
];

await t.test('hosts of every kind replace each other at one address, and nothing is lost', async t =>
  exchanges(t, libc === undefined ? ['dgram'] : ALL, () => '127.0.0.1'),
);

await t.test('node:dgram alone hands its sockets over, and nothing is lost', async t =>
  exchanges(t, ['dgram without libc', 'dgram without libc', 'dgram without libc'], () => '127.0.0.1'),
);

await t.test('a wildcard goes over to other ways to bind it', { skip: libc === undefined }, async t =>
  exchanges(t, ['inline', 'a thread', 'dgram', 'two threads', 'a thread', 'a thread'], () => '0.0.0.0'),
);

await t.test('addresses that go are closed, those that come are served, and a failure changes nothing', async t => {
  const port = await freePort();
  const other = createSocket('udp4');
  await new Promise<void>(resolve => other.bind(port, '127.0.0.9', resolve));
  t.teardown(() => void other.close());
  for (const kind of ['inline', 'dgram', 'two threads'] as const) {
    const host = await open(kind, [{ address: '127.0.0.1', port }]);
    const asking = client(port);
    await t.rejects(
      open(
        kind,
        [
          { address: '127.0.0.1', port },
          { address: '127.0.0.9', port },
        ],
        host,
      ),
      { code: 'EADDRINUSE' },
    );
    await sleep(100);
    const next = await open(
      kind,
      [
        { address: '127.0.0.1', port },
        { address: '127.0.0.2', port },
      ],
      host,
    );
    await host.close(1000);
    t.same(next.bound.map(({ address }) => address).sort(), ['127.0.0.1', '127.0.0.2']);
    t.match(await asking.stop(), { unanswered: 0 });
    const last = await open(kind, [{ address: '127.0.0.2', port }], next);
    await next.close(1000);
    t.same(last.bound, [{ address: '127.0.0.2', port }]);
    const gone = client(port);
    await sleep(50);
    t.match((await gone.stop()).unanswered > 0, true, '127.0.0.1 is closed');
    await last.close();
  }
});

await t.test('threads end, where the memory of one of them cannot be had', { skip: libc === undefined }, async t => {
  const port = await freePort();
  const { memory } = HandOver;
  t.teardown(() => (HandOver.memory = memory));
  let calls = 0;
  HandOver.memory = () => {
    if (++calls === 2) throw new RangeError('Array buffer allocation failed');
    return memory();
  };
  await t.rejects(open('two threads', [{ address: '127.0.0.1', port }]), { message: 'Array buffer allocation failed' });
  HandOver.memory = memory;
  const host = await open('a thread', [{ address: '127.0.0.1', port }]);
  t.equal(host.bound.length, 1, 'its address is free');
  await host.close();
});

await t.test('a socket that was passed survives, whichever host serves it', { skip: libc === undefined }, async t => {
  const port = await freePort();
  if (libc === undefined) return;
  const fd = openUdp(libc, { address: '127.0.0.1', port });
  const addresses = [{ address: '127.0.0.1', port, fd }];
  let host = await open('inline', addresses);
  const asking = client(port);
  for (const kind of ['a thread', 'dgram', 'inline'] as const) {
    const before = host;
    host = await open(kind, addresses, before);
    await before.close(1000);
    await sleep(50);
  }
  t.match(await asking.stop(), { unanswered: 0 });
  await host.close();
  t.equal(portOf(libc, fd), port, 'it is still open');
  libc.close(fd);
});

await t.test(
  'however many datagrams wait, a turn of the main thread reads some',
  { skip: libc === undefined },
  async t => {
    const SENT = 1200;
    const port = await freePort();
    let read = 0;
    let most = 0;
    const counting: Front = {
      ...front,
      handle: () => {
        read++;
        return false;
      },
    };
    const host = await open('inline', [{ address: '127.0.0.1', port }], undefined, counting);
    const sender = createSocket('udp4');
    await new Promise<void>(resolve => sender.connect(port, '127.0.0.1', resolve));
    for (let i = 0; i < SENT; i++) sender.send(Buffer.alloc(29));
    // The first look is after the first turn that reads.
    for (let before = 0; read < SENT && most < SENT; before = read) {
      await nextTurn();
      most = Math.max(most, read - before);
      if (read === before && before > 0) break;
    }
    t.ok(read > SENT / 2, `the kernel kept ${read} of ${SENT}`);
    t.ok(most <= 300, `${most} in one turn`);
    sender.close();
    await host.close();
  },
);
