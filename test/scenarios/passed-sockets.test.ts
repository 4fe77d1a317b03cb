// A restart while clients ask, with sockets that somebody else holds (systemd/dotstub.socket). All names are new, so
// that the queries wait for a server.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { loadLibc } from '../../src/os/libc.js';
import { framed } from '../../src/wire/frame.js';
import { queryMessage } from '../fixtures/client.js';
import { PROGRAM, temporaryDirectory } from '../fixtures/program.js';
import { bench, missing, start, unboundTls } from '../fixtures/servers.js';
import { SocketUnit } from '../fixtures/socket-unit.js';
import { freePort } from '../fixtures/free-port.js';

const libc = loadLibc();
const skip = 'unavailable' in libc ? 'no system calls here' : missing('unbound');
/** Queries during each restart: twice as many as one client may have waiting. */
const QUERIES = 400;
const AT_ONCE = 8;
const RESTARTS = 2;

for (const front of ['{ threads: 1 }', '{ threads: 0 }', '{ io: dgram }'])
  await t.test(`a restart loses no query, and fails none, front: ${front}`, { skip }, async t => {
    if ('unavailable' in libc) return;
    const on = bench(t);
    const behind = await freePort();
    const zone = `${unboundTls(on, behind)}\n  local-zone: test. redirect\n  local-data: "test. 3600 A 192.0.2.99"`;
    writeFileSync(join(on.path, 'unbound.conf'), `server:\n${zone}\nremote-control:\n  control-enable: no\n`);
    await start(on, 'unbound', ['-d', '-c', join(on.path, 'unbound.conf')], behind);
    const directory = temporaryDirectory();
    t.teardown(() => directory.remove());
    mkdirSync(join(directory.path, 'state'));
    writeFileSync(
      join(directory.path, 'dotstub.yaml'),
      `
special_names: { forward: [test] }
metrics: { listen: off }
control: { socket: ${join(directory.path, 'control.sock')} }
state_directory: ${join(directory.path, 'state')}
dnssec: { mode: off }
front: ${front}
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind}"] }] }
`,
    );
    const unit = new SocketUnit(libc, [...PROGRAM, 'run', '--config', join(directory.path, 'dotstub.yaml')]);
    t.teardown(async () => unit.close(libc));
    await unit.start();
    const client = createSocket('udp4');
    const rcodes = new Map<number, number>();
    const reasons = new Set<string>();
    client.on('message', reply => {
      const rcode = (reply[3] ?? 0) & 15;
      rcodes.set(reply.readUInt16BE(0), rcode);
      // The text of an Extended DNS Error is the last of a reply (RFC 8914).
      if (rcode !== 0) reasons.add(/[ -~]*$/.exec(reply.toString('latin1'))?.[0] ?? '');
    });
    let sent = 0;
    for (let i = 0; i < RESTARTS; i++) {
      const restarting = unit.restart();
      for (const end = sent + QUERIES; sent < end;) {
        for (const next = Math.min(end, sent + AT_ONCE); sent < next; sent++)
          client.send(queryMessage(`new${sent}.test`, { id: sent }), unit.port, '127.0.0.1');
        await sleep(2);
      }
      await restarting;
      // A busy machine needs its time.
      for (let looks = 0; looks < 600 && rcodes.size < sent; looks++) await sleep(50);
    }
    client.close();
    await unit.stop();
    t.equal(rcodes.size, sent, 'none is lost');
    t.same([...reasons], [], 'and none fails');
    t.equal([...rcodes.values()].filter(rcode => rcode !== 0).length, 0);
  });

/** As many as the sockets have room for, */
const IN_SOCKET = 5000;
/** and more of the same client each time that another one asks. */
const FLOOD = 500;
const ASKED = 20;

await t.test('what one client has left in the sockets keeps nobody else from asking', { skip }, async t => {
  if ('unavailable' in libc) return;
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  t.teardown(() => silent.close());
  await once(silent, 'listening');
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  writeFileSync(
    join(directory.path, 'dotstub.yaml'),
    `
special_names: { forward: [test] }
metrics: { listen: off }
control: { socket: ${join(directory.path, 'control.sock')} }
cache: { persist: false }
front: { threads: 0 }
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.1:${(silent.address() as AddressInfo).port}"] }] }
`,
  );
  const unit = new SocketUnit(libc, [...PROGRAM, 'run', '--config', join(directory.path, 'dotstub.yaml')]);
  t.teardown(async () => unit.close(libc));
  const [many, other] = await Promise.all(['127.0.0.1', '127.0.0.2'].map(bound));
  if (many === undefined || other === undefined) return;
  t.teardown(() => [many, other].forEach(each => each.close()));
  let sent = 0;
  const flood = (queries: number): void => {
    for (const end = sent + queries; sent < end; sent++)
      many.send(queryMessage(`new${sent}.test`, { id: sent & 0xffff }), unit.port, '127.0.0.1');
  };
  flood(IN_SOCKET);
  await sleep(200);
  await unit.start();
  const replies: string[] = [];
  other.on('message', reply => replies.push(/[ -~]*$/.exec(reply.toString('latin1'))?.[0] ?? ''));
  for (let i = 0; i < ASKED; i++) {
    flood(FLOOD);
    other.send(queryMessage(`other${i}.test`, { id: i }), unit.port, '127.0.0.1');
    await sleep(100);
  }
  // In the end, they fail because the server is silent.
  for (let looks = 0; looks < 400 && replies.length === 0; looks++) await sleep(50);
  t.ok(replies.length > 0);
  t.same(
    replies.filter(text => text.startsWith('too many')),
    [],
  );
});

/** A socket of a client at an address. */
async function bound(address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  return socket;
}

await t.test(
  'a stop answers what takes too long with SERVFAIL, and does not wait for it',
  { skip: 'unavailable' in libc ? libc.unavailable : false },
  async t => {
    if ('unavailable' in libc) return;
    // It accepts, and says nothing.
    const hole = createServer(socket => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(hole, 'listening');
    t.teardown(() => hole.close());
    const { port } = hole.address() as AddressInfo;
    const { path, remove } = temporaryDirectory();
    t.teardown(remove);
    writeFileSync(
      join(path, 'dotstub.yaml'),
      `
special_names: { forward: [test] }
metrics: { listen: off }
control: { socket: ${join(path, 'control.sock')} }
state_directory: ${path}
dnssec: { mode: off }
front: { threads: 1 }
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.1:${port}"] }] }
`,
    );
    const unit = new SocketUnit(libc, [...PROGRAM, 'run', '--config', join(path, 'dotstub.yaml')]);
    t.teardown(async () => unit.close(libc));
    await unit.start();
    const rcodes: Record<string, number> = {};
    const udp = createSocket('udp4').on('message', reply => (rcodes['udp'] = (reply[3] ?? 0) & 15));
    t.teardown(() => udp.close());
    udp.send(queryMessage('slow.test', { id: 7 }), unit.port, '127.0.0.1');
    const tcp = connect(unit.port, '127.0.0.1').on('data', reply => (rcodes['tcp'] = (reply[5] ?? 0) & 15));
    t.teardown(() => tcp.destroy());
    tcp.write(framed(queryMessage('slow.test', { id: 8 })));
    // Front threads take over meanwhile.
    await sleep(900);
    const from = Date.now();
    await unit.stop();
    t.ok(Date.now() - from < 2000, `${Date.now() - from} ms`);
    await sleep(50);
    t.same(rcodes, { udp: 2, tcp: 2 });
  },
);
