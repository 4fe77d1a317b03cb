// A reload that begins to use front threads: handshakes leave the main thread, and sessions end after their last reply.

import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { Worker } from 'node:worker_threads';

import t, { type Test } from 'tap';

import { loadLibc } from '../../src/os/libc.js';
import { framed } from '../../src/wire/frame.js';
import { queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { eventually, type Json, Rig } from '../fixtures/rig.js';

const PATIENCE_MS = 15_000;
/** Long enough for a handshake, where one would be made. */
const WAIT_MS = 2000;
const skip = 'unavailable' in loadLibc() && 'system calls cannot be made here';

/** Whether a handshake is made while this thread, which is the main thread of the daemon, does nothing else. */
function isMadeElsewhere(port: number, waitMs = PATIENCE_MS): boolean {
  const made = new Int32Array(new SharedArrayBuffer(4));
  const script = `
const { workerData: { port, made } } = require('node:worker_threads');
const socket = require('node:tls').connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
  Atomics.store(made, 0, 1);
  Atomics.notify(made, 0);
  socket.destroy();
});
socket.on('error', () => undefined);`;
  const worker = new Worker(script, { eval: true, workerData: { port, made } });
  Atomics.wait(made, 0, 0, waitMs);
  const isMade = Atomics.load(made, 0) === 1;
  void worker.terminate();
  return isMade;
}

/** A connection over TLS. */
async function opened(t: Test, port: number): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** Asks over a connection. @returns the RCODE */
async function rcodeOver(socket: TLSSocket, name: string): Promise<number> {
  const answered = once(socket, 'data') as Promise<[Buffer]>;
  socket.write(framed(queryMessage(name)));
  const [reply] = await answered;
  return (reply[5] ?? 0xff) & 15;
}

await t.test(
  'a reload with front threads: new sessions are in their thread, and those of before end',
  { skip },
  async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test');
    const [tls, https] = [await freePort(), await freePort()];
    const pair = { certificate: rig.file('cert.pem', rig.identity.cert), key: rig.file('key.pem', rig.identity.key) };
    const config = (threads: number, more: readonly string[] = []): Json => ({
      upstream: { servers: [main.entry] },
      listen_tls: { addresses: [`127.0.0.1:${tls}`, ...more], ...pair },
      listen_https: { addresses: [`127.0.0.1:${https}`], ...pair },
      front: { threads },
    });
    await rig.start(config(0));
    t.notOk(isMadeElsewhere(tls, WAIT_MS), 'before, the main thread makes them');
    const [idle, busy] = [await opened(t, tls), await opened(t, tls)];
    t.equal(await rcodeOver(idle, 'www.example'), 0);
    const { handler } = main.dot;
    const held: (() => void)[] = [];
    main.dot.handler = (query, session) => void held.push(() => handler(query, session));
    const waiting = rcodeOver(busy, rig.fresh());
    t.equal(await eventually(() => held.length, 1), 1);

    const [idleEnds, busyEnds] = [once(idle, 'end'), once(busy, 'end')];
    await rig.reload(config(1));
    await idleEnds;
    t.equal(await eventually(() => rig.overview().sessions.tls, 1), 1, 'one waits for a reply');
    main.dot.handler = handler;
    for (const each of held) each();
    t.equal(await waiting, 0, 'which it gets');
    await busyEnds;
    t.equal(await eventually(() => rig.overview().sessions.tls, 0), 0, 'nothing is left on the main thread');
    t.ok(isMadeElsewhere(tls), 'TLS');
    t.ok(isMadeElsewhere(https), 'HTTPS');
    const ports = rig.overview().listening.filter(({ transport }) => transport === 'tls' || transport === 'https');
    t.same(
      ports.map(({ port }) => port),
      [tls, https],
    );

    const another = await freePort();
    await rig.reload(config(1, [`127.0.0.1:${another}`]));
    t.ok(isMadeElsewhere(tls) && isMadeElsewhere(another), 'later addresses, too');
    await rig.reload(config(1));
    const refused = connect({ port: another, host: '127.0.0.1' });
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    t.equal(error.code, 'ECONNREFUSED', 'one that goes is closed');
    t.ok(isMadeElsewhere(tls));
  },
);
