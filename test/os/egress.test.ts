// Replies over UDP through a socket that has no room, with the system calls that it makes scripted.

import t from 'tap';

import { Messages, NAME_BYTES, routeTo } from '../../src/os/datagrams.js';
import { Egress } from '../../src/os/egress.js';
import { type Libc, LINUX, loadLibc } from '../../src/os/libc.js';

const found = loadLibc();
const skip = 'unavailable' in found ? found.unavailable : false;
const FIRST = 100;

/** Sockets by descriptor: how many datagrams there is room for, and how many were sent. */
function scripted(room: (fd: number) => number) {
  const sent = new Map<number, number>();
  const closed: number[] = [];
  const bound = new Map<number, string>();
  let next = FIRST + 1;
  const libc: Libc = {
    ...(found as Libc),
    sendmmsg(fd, _messages, count) {
      const before = sent.get(fd) ?? 0;
      const taken = Math.min(count, room(fd) - before);
      if (taken <= 0) return -LINUX.EAGAIN;
      sent.set(fd, before + taken);
      return taken;
    },
    poll() {
      throw new Error('nothing waits');
    },
    getsockname(_fd, address) {
      address.writeUInt16LE(LINUX.AF_INET, 0);
      address.writeUInt16BE(53, 2);
      address.set([192, 0, 2, 1], 4);
      return 0;
    },
    socket: () => next++,
    setsockopt: () => 0,
    bind: (fd, address) => {
      bound.set(fd, address.toString('hex'));
      return 0;
    },
    connect: () => 0,
    close: fd => void closed.push(fd),
  };
  return { libc, sent, closed, bound, opened: () => next - FIRST - 1 };
}

/** A batch of replies to clients 198.51.100.`i`. */
function batch(libc: Libc, clients: readonly number[]): Messages {
  const messages = new Messages(libc, 64);
  clients.forEach((client, i) =>
    messages.fill(i, routeTo({ address: `198.51.100.${client}`, port: 1024 }, libc), Buffer.alloc(12)),
  );
  return messages;
}

const clients = Array.from({ length: 64 }, (_, i) => i);

await t.test('as long as a socket has room, no other is opened', { skip }, t => {
  const { libc, sent, opened } = scripted(() => 64);
  t.equal(new Egress(libc).send(FIRST, batch(libc, clients), 64), 0);
  t.same([...sent], [[FIRST, 64]]);
  t.equal(opened(), 0);
  t.end();
});

await t.test('replies for which it has no room leave through spare sockets at the same address', { skip }, t => {
  const { libc, sent, bound, closed, opened } = scripted(fd => (fd === FIRST ? 10 : 1000));
  const egress = new Egress(libc);
  t.equal(egress.send(FIRST, batch(libc, clients), 64), 0);
  t.equal(sent.get(FIRST), 10);
  t.equal(
    [...sent.values()].reduce((sum, each) => sum + each, 0),
    64,
    'all were sent',
  );
  t.equal(opened(), 8);
  t.same(new Set(bound.values()), new Set([`02000035c0000201${'00'.repeat(8)}`]));
  t.equal(egress.send(FIRST, batch(libc, clients), 64), 0);
  t.equal(opened(), 8, 'which stay open');
  egress.forget(FIRST);
  t.same(
    closed.toSorted((a, b) => a - b),
    Array.from({ length: 8 }, (_, i) => FIRST + 1 + i),
  );
  t.end();
});

await t.test('a client that fills its spare socket loses its own replies, and few others do', { skip }, t => {
  const { libc } = scripted(fd => (fd === FIRST ? 0 : 100));
  const egress = new Egress(libc);
  const stuck = batch(libc, Array<number>(64).fill(7));
  t.equal(egress.send(FIRST, stuck, 64), 0);
  t.equal(egress.send(FIRST, stuck, 64), 28);
  t.equal(egress.send(FIRST, stuck, 64), 64);
  const others = clients.filter(client => egress.send(FIRST, batch(libc, [client]), 1) === 0);
  t.ok(others.length > 48, `${others.length} of 64 others`);
  t.end();
});

await t.test('without spare sockets the rest is lost, and another one is tried later', { skip }, t => {
  const script = scripted(fd => (fd === FIRST ? 10 : 1000));
  let files = false;
  const libc: Libc = { ...script.libc, socket: (...args) => (files ? script.libc.socket(...args) : -24) };
  const egress = new Egress(libc);
  t.equal(egress.send(FIRST, batch(libc, clients), 64), 54);
  files = true;
  t.equal(egress.send(FIRST, batch(libc, clients), 64), 0);
  egress.close();
  t.equal(script.closed.length, 8);
  t.end();
});

await t.test('a reply to a datagram of another batch goes by the address of that one', { skip }, t => {
  const { libc } = scripted(() => 64);
  const queries = batch(libc, clients);
  const replies = new Messages(libc, 64);
  for (const i of clients) replies.replyTo(i, queries, 63 - i, 12);
  t.same(
    clients.map(i => replies.hashOfRecipient(i)),
    clients.map(i => queries.hashOfRecipient(63 - i)),
  );
  t.equal(queries.names.length, 64 * NAME_BYTES);
  t.end();
});
