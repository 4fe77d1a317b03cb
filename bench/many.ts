// Many idle clients of DNS over TLS and over HTTPS at once, of one session thread for each: whether all of them are held and
// answered, and the memory that a connection takes. `npx tsx bench/many.ts [CLIENTS]`: so many of each kind, in all about
// two minutes. They come from 127.0.0.0/8, 250 from each address, ask once in some seconds, and stay until the end.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';

import { queryMessage } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { residentBytes } from '../test/fixtures/memory.js';
import { startDotstub } from '../test/fixtures/program.js';
import { bench } from '../test/fixtures/servers.js';
import { asking, frame, framesIn } from '../test/listen/raw-http2.js';
import { upstream } from './contenders.js';
import { table } from './measure.js';

const [clients = 5000] = process.argv.slice(2).map(Number);
const STEP = 1000;
const PER_ADDRESS = 250;
const AT_ONCE = 16;
/** Clients that wait for an answer at one time, of those that are open. */
const ASKING_AT_ONCE = 256;
const KIB = 1024;
/** How often a client asks, if there is time. */
const EVERY_MS = 5000;

const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const behind = await upstream(on);
const [port, https] = [await freePort(), await freePort()];
// By default a client has 20 sessions, and a table 1000. As long as half of it is free, they may be idle for 10 s.
const running = await startDotstub(`
listen: ["127.0.0.1:${await freePort()}"]
listen_tls: { addresses: ["127.0.0.1:${port}"], certificate: ${on.certFile}, key: ${on.keyFile} }
listen_https: { addresses: ["127.0.0.1:${https}"], certificate: ${on.certFile}, key: ${on.keyFile} }
special_names: { forward: [test] }
metrics: { listen: "off" }
front: { threads: 1 }
access: { per_client: 0, sessions: ${4 * clients}, sessions_per_client: 0 }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
`);
const pid = running.child.pid ?? 0;

/** A client: it asks, and waits for the answer. */
interface Client {
  readonly socket: TLSSocket;
  ask(): Promise<void>;
}

const QUERY = queryMessage('known1.test', { id: 0 });
const BEGIN = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))]);

/** Waits until what has come is an answer, or the server has closed the connection. */
const received = async (socket: TLSSocket, isAnswer: (octets: Buffer) => boolean): Promise<void> =>
  new Promise(resolve => {
    if (socket.destroyed) return resolve();
    let octets = Buffer.alloc(0);
    const read = (more: Buffer): void => {
      octets = Buffer.concat([octets, more]);
      if (!isAnswer(octets)) return;
      socket.off('data', read).off('close', resolve);
      resolve();
    };
    socket.on('data', read).once('close', resolve);
  });

const KINDS = {
  tls: (socket: TLSSocket): (() => Promise<void>) => {
    const query = Buffer.concat([Buffer.from([0, QUERY.length]), QUERY]);
    return async () => {
      socket.write(query);
      await received(socket, octets => octets.length > 2 && octets.length >= 2 + octets.readUInt16BE());
    };
  },
  https: (socket: TLSSocket): (() => Promise<void>) => {
    let stream = -1;
    return async () => {
      const isFirst = stream < 0;
      stream += 2;
      const [DATA, HEADERS, END] = [0, 1, 5];
      socket.write(Buffer.concat([isFirst ? BEGIN : Buffer.alloc(0), frame(HEADERS, END, stream, asking(QUERY))]));
      await received(socket, octets => framesIn(octets).some(each => each.type === DATA && each.stream === stream));
    };
  },
};

async function open(kind: keyof typeof KINDS, number: number): Promise<Client> {
  const socket = connect({
    ...{ host: '127.0.0.1', port: kind === 'tls' ? port : https, servername: 'dns.test', rejectUnauthorized: false },
    ...{ ALPNProtocols: [kind === 'tls' ? 'dot' : 'h2'], localAddress: `127.1.${Math.floor(number / PER_ADDRESS)}.1` },
  });
  socket.on('error', () => undefined);
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('close', reject));
  const ask = KINDS[kind](socket);
  await ask();
  return { socket, ask };
}

/** Does something for each of some numbers, some at a time. */
async function each(to: number, atOnce: number, then: (number: number) => Promise<unknown>, from = 0): Promise<void> {
  let next = from;
  const some = async (): Promise<void> => {
    while (next < to) await then(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, some));
}

const proportional = (): number =>
  KIB * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;

const all: Client[] = [];
const state = { isOver: false };
/** Those that are open ask, one round after the other. */
const kept = (async () => {
  while (!state.isOver) {
    const next = sleep(EVERY_MS);
    await each(all.length, ASKING_AT_ONCE, async number => all[number]?.ask());
    await next;
  }
})();
const rows: string[][] = [];
for (const kind of ['tls', 'https'] as const) {
  for (let opened = 0; opened < clients; opened += STEP) {
    const [resident, pss] = [residentBytes(pid), proportional()];
    const amount = Math.min(STEP, clients - opened);
    await each(opened + amount, AT_ONCE, async number => all.push(await open(kind, number)), opened);
    await sleep(1000);
    const perConnection = (bytes: number): string => (bytes / KIB / amount).toFixed(1);
    rows.push([
      `${kind} ${opened + amount}`,
      perConnection(residentBytes(pid) - resident),
      perConnection(proportional() - pss),
      String(descriptors()),
    ]);
    console.error(rows.at(-1)?.join('  '));
  }
}
state.isOver = true;
await kept;
let answered = 0;
await each(all.length, ASKING_AT_ONCE, async number => {
  const client = all[number];
  await client?.ask();
  if (client?.socket.destroyed === false) answered++;
});
const held = all.filter(({ socket }) => !socket.destroyed).length;
console.log(table([['', 'RSS: KiB a connection', 'PSS: KiB a connection', 'descriptors'], ...rows]));
console.log(`${held} of ${2 * clients} connections are open, and ${answered} were answered once more.`);
for (const { socket } of all) socket.destroy();
await running.stop();
for (const end of ends) await end();
process.exit(held === 2 * clients && answered === held ? 0 : 1);
