// Replies of one length to one client leave as one datagram that the kernel divides; with real sockets.

import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { addressText } from '../../src/base/address.js';

import { Messages, NAME_BYTES, openUdp, portOf, QUERY_ROOM_BYTES, routeTo } from '../../src/os/datagrams.js';
import { Egress } from '../../src/os/egress.js';
import { type Libc, LINUX, loadLibc } from '../../src/os/libc.js';
import { Segments } from '../../src/os/segments.js';

const found = loadLibc();
const real = 'unavailable' in found ? undefined : found;
const isSupported = (): boolean => {
  if (real === undefined) return false;
  const fd = openUdp(real, { address: '127.0.0.1', port: 0 });
  const known = real.getsockopt(fd, LINUX.IPPROTO_UDP, LINUX.UDP_SEGMENT) >= 0;
  real.close(fd);
  return known;
};
const skip = isSupported() ? false : 'the kernel has no UDP_SEGMENT';
const SO_NO_CHECK = 11;
const ROOM = 1232;
const WAIT_MS = 5000;
const SETTLE_MS = 200;

/** The calls of the system, and how many datagrams were given to sendmmsg in each. */
function watched(refuse?: (calls: number) => number | undefined): { libc: Libc; given: number[] } {
  const given: number[] = [];
  const libc = {
    ...(real as Libc),
    sendmmsg(fd: number, messages: Buffer, count: number, flags: number): number {
      given.push(count);
      return refuse?.(given.length) ?? (real as Libc).sendmmsg(fd, messages, count, flags);
    },
  };
  return { libc, given };
}

/** A socket that is closed after the test. */
function socket(t: Test, address: string): { readonly fd: number; readonly address: string; readonly port: number } {
  const fd = openUdp(real as Libc, { address, port: 0 });
  t.teardown(() => (real as Libc).close(fd));
  return { fd, address, port: portOf(real as Libc, fd) };
}

/** So many datagrams that come to a socket, and more if there are more, as text. The kernel may deliver them later. */
function received(fd: number, count: number): string[] {
  const texts: string[] = [];
  const room = Buffer.alloc(2 * ROOM);
  const polled = Buffer.alloc(8);
  polled.writeInt32LE(fd, 0);
  polled.writeInt16LE(LINUX.POLLIN, 4);
  for (;;) {
    const bytes = (real as Libc).receive(fd, room);
    if (bytes >= 0) texts.push(room.toString('latin1', 0, bytes));
    else if (texts.length >= count || (real as Libc).poll(polled, 1, WAIT_MS) <= 0) return texts.sort();
  }
}

/** Reply number `i` of so many octets. */
const reply = (i: number, bytes: number): string => String(i).padStart(4, '0').padEnd(bytes, '.');

for (const address of ['127.0.0.1', '::1'])
  await t.test(`each client gets each of its replies once, whatever their lengths: ${address}`, { skip }, t => {
    const server = socket(t, address);
    const clients = Array.from({ length: 3 }, () => socket(t, address));
    const { libc, given } = watched();
    const segments = new Segments(libc);
    const messages = new Messages(libc, ROOM);
    const expected = clients.map((): string[] => []);
    for (let i = 0; i < 64; i++) {
      const text = reply(i, [60, 61, 60, 512, 600][i % 5] ?? 0);
      messages.fill(i, routeTo(clients[i % 3] ?? server, libc), Buffer.from(text));
      expected[i % 3]?.push(text);
    }
    t.equal(segments.send(server.fd, messages, 64), 0);
    t.same(
      clients.map(({ fd }, i) => received(fd, expected[i]?.length ?? 0)),
      expected,
    );
    // Three clients with three lengths, and 12 replies that are too long; more if ports have the same place in the table.
    t.equal(given.length, 1);
    t.ok((given[0] ?? 0) >= 9 + 12 && (given[0] ?? 64) < 50, `${given[0]} datagrams`);
    t.end();
  });

for (const [kernel, calls] of [
  ['4.18.0-553.el8.x86_64', 10],
  ['4.20.17', 10],
  ['unknown', 10],
  ['5.0.0', 1],
  ['10.1', 1],
] as const)
  await t.test(`before Linux 5.0, whose receivers may not divide them, none are joined: ${kernel}`, { skip }, t => {
    const server = socket(t, '127.0.0.1');
    const client = socket(t, '127.0.0.1');
    const { libc, given } = watched();
    const messages = new Messages(libc, ROOM);
    for (let i = 0; i < 10; i++) messages.fill(i, routeTo(client, libc), Buffer.from(reply(i, 60)));
    t.equal(new Segments(libc, kernel).send(server.fd, messages, 10), 0);
    t.equal(received(client.fd, 10).length, 10);
    t.same(given, [calls]);
    t.end();
  });

await t.test('they come from the address that was asked, also at a wildcard', { skip }, async t => {
  const server = socket(t, '0.0.0.0');
  const client = socket(t, '127.0.0.1');
  const { libc, given } = watched();
  const asked = new Messages(libc, ROOM);
  const addressOf = (i: number): string => (i < 5 ? '127.0.0.2' : '127.0.0.3');
  for (let i = 0; i < 10; i++)
    asked.fill(i, routeTo({ address: addressOf(i), port: server.port }, libc), Buffer.from(reply(i, 30)));
  asked.send(client.fd, 0, 10);
  given.length = 0;
  const queries = new Messages(libc, QUERY_ROOM_BYTES);
  const replies = new Messages(libc, ROOM);
  await gathered(queries, server.fd, 10, j => {
    queries.copyMessage(j, replies.data, j * ROOM);
    replies.replyTo(j, queries, j, queries.bytes(j));
  });
  t.equal(new Segments(libc).send(server.fd, replies, 10), 0);
  const from: string[] = [];
  const answers = new Messages(libc, ROOM);
  await gathered(answers, client.fd, 10, j => {
    const text = answers.data.toString('latin1', j * ROOM, j * ROOM + 4);
    from.push(`${text} ${addressText(answers.names, j * NAME_BYTES + 4, 4)}`);
  });
  t.same(
    from.sort(),
    Array.from({ length: 10 }, (_, i) => `${reply(i, 4)} ${addressOf(i)}`),
  );
  t.same(given, [2]);
  t.end();
});

/** Reads so many datagrams in one batch, once they have come. */
async function gathered(messages: Messages, fd: number, count: number, each: (i: number) => void): Promise<void> {
  await sleep(SETTLE_MS);
  const read = messages.receive(fd);
  if (read !== count) throw new Error(`${read} of ${count} datagrams`);
  for (let i = 0; i < count; i++) each(i);
}

/** Sends a batch of ten replies to one client, and checks that they have arrived. */
function arrive(t: Test, segments: Segments, libc: Libc, server: number, client: ReturnType<typeof socket>): void {
  const messages = new Messages(libc, ROOM);
  const texts = Array.from({ length: 10 }, (_, i) => reply(i, 40));
  texts.forEach((text, i) => messages.fill(i, routeTo(client, libc), Buffer.from(text)));
  t.equal(segments.send(server, messages, 10), 0);
  t.same(received(client.fd, texts.length), texts);
}

for (const error of ['EIO', 'EINVAL', 'ENOPROTOOPT', 'ENOSYS', 'EMSGSIZE', 'EOPNOTSUPP'] as const)
  await t.test(`after ${error} no reply is lost, and all leave one by one from then on`, { skip }, t => {
    const { libc, given } = watched(calls => (calls === 1 ? -LINUX[error] : undefined));
    const server = socket(t, '127.0.0.1');
    const client = socket(t, '127.0.0.1');
    const segments = new Segments(libc);
    arrive(t, segments, libc, server.fd, client);
    t.same(given, [1, ...Array<number>(10).fill(1)]);
    arrive(t, segments, libc, server.fd, client);
    t.same(given.slice(11), [10]);
    t.end();
  });

await t.test('a socket whose datagrams have no checksum refuses it, and no reply is lost', { skip }, t => {
  const { libc, given } = watched();
  const server = socket(t, '127.0.0.1');
  const client = socket(t, '127.0.0.1');
  t.equal(libc.setsockopt(server.fd, LINUX.SOL_SOCKET, SO_NO_CHECK, 1), 0);
  const segments = new Segments(libc);
  arrive(t, segments, libc, server.fd, client);
  arrive(t, segments, libc, server.fd, client);
  t.same(given, [1, ...Array<number>(10).fill(1), 10]);
  t.end();
});

await t.test('a client that nothing can be sent to does not end it', { skip }, t => {
  const { libc, given } = watched();
  const server = socket(t, '127.0.0.1');
  const client = socket(t, '127.0.0.1');
  const segments = new Segments(libc);
  const messages = new Messages(libc, ROOM);
  for (let i = 0; i < 4; i++) messages.fill(i, routeTo({ address: '127.0.0.1', port: 0 }, libc), Buffer.alloc(40));
  t.equal(segments.send(server.fd, messages, 4), 0);
  t.same(given, [1, 1, 1, 1, 1], 'refused together and each alone');
  arrive(t, segments, libc, server.fd, client);
  t.same(given.slice(5), [1]);
  t.end();
});

await t.test('an older kernel, which would send them as one, is not asked to divide them', { skip }, t => {
  const { libc, given } = watched();
  const server = socket(t, '127.0.0.1');
  const client = socket(t, '127.0.0.1');
  const older: Libc = { ...libc, getsockopt: () => -LINUX.ENOPROTOOPT };
  arrive(t, new Segments(older), older, server.fd, client);
  t.same(given, [10]);
  t.end();
});

await t.test('replies that a socket has no room for leave through spare ones, all of them', { skip }, t => {
  const server = socket(t, '127.0.0.1');
  const clients = [socket(t, '127.0.0.1'), socket(t, '127.0.0.1')];
  const { libc } = watched();
  const full: Libc = {
    ...libc,
    sendmmsg: (fd, ...others) => (fd === server.fd ? -LINUX.EAGAIN : libc.sendmmsg(fd, ...others)),
  };
  const egress = new Egress(full);
  const messages = new Messages(full, ROOM);
  const texts = Array.from({ length: 20 }, (_, i) => reply(i, 40));
  texts.forEach((text, i) => messages.fill(i, routeTo(clients[i % 2] ?? server, full), Buffer.from(text)));
  t.equal(egress.send(server.fd, messages, 20), 0);
  t.same(clients.flatMap(({ fd }) => received(fd, 10)).sort(), texts);
  egress.close();
  t.end();
});
