// Many idle clients of DNS over TLS and over HTTPS at once, of one session thread for each: whether all of them are
// held and answered, and the memory that a connection takes. `npx tsx bench/many.ts [CLIENTS]`: so many of each kind, in
// all about two minutes. They come from 127.0.0.0/8, 250 from each address, ask once in some seconds, and stay until the
// end. Exit code 1: some were not held; 2: the clients were late, because others use the machine, and had to connect
// again.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';

import { queryMessage } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { residentBytes } from '../test/fixtures/memory.js';
import { startDotstub } from '../test/fixtures/program.js';
import { bench } from '../test/fixtures/servers.js';
import { asking, frame, framesIn } from '../test/listen/raw-http2.js';
import { IDLE_MS } from '../src/listen/sessions.js';
import { upstream } from './contenders.js';
import { table } from './measure.js';
import { tlsOptions } from './tls-options.js';

const [clients = 5000] = process.argv.slice(2).map(Number);
const STEP = 1000;
const PER_ADDRESS = 250;
const AT_ONCE = 16;
/** Clients that wait for an answer at one time, of those that are open. */
const ASKING_AT_ONCE = 256;
const KIB = 1024;
/** How often a client asks, if there is time. */
const EVERY_MS = 5000;
/** A round of all clients that takes longer is late: no others connect until it is over. */
const LATE_MS = 6000;
const LOOK_MS = 50;

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

const QUERY = queryMessage('known1.test', { id: 0 });
const ASKING = asking(QUERY);
const NOTHING = Buffer.alloc(0);
const BEGIN = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))]);

/** What a client over one transport sends, and what it takes for the answer. One for each connection. */
interface Asking {
  next(): Buffer;
  isAnswer(octets: Buffer): boolean;
}

const KINDS = {
  tls: (): Asking => {
    const query = Buffer.concat([Buffer.from([0, QUERY.length]), QUERY]);
    return {
      next: () => query,
      isAnswer: octets => octets.length > 2 && octets.length >= 2 + octets.readUInt16BE(),
    };
  },
  https: (): Asking => {
    const [DATA, HEADERS, END] = [0, 1, 5];
    let stream = -1;
    return {
      next() {
        const isFirst = stream < 0;
        stream += 2;
        return Buffer.concat([isFirst ? BEGIN : Buffer.alloc(0), frame(HEADERS, END, stream, ASKING)]);
      },
      isAnswer: octets => framesIn(octets).some(each => each.type === DATA && each.stream === stream),
    };
  },
};

/** Connections that the server has closed: of clients that were silent for too long, and all others. */
const closed = { late: 0, lost: 0 };

/**
 * A client. It asks, and waits for the answer. Where the machine leaves it so little time that it was silent for too
 * long, it connects once more.
 */
class Client {
  private socket: TLSSocket | undefined = undefined;
  private asking: Asking | undefined = undefined;
  /** When it has connected, or got an answer. */
  private heardAt = 0;
  /** What has come since it has asked, and who waits for all of it. */
  private octets: Buffer = NOTHING;
  private answered: (() => void) | undefined = undefined;

  constructor(
    private readonly kind: keyof typeof KINDS,
    private readonly number: number,
  ) {}

  get isOpen(): boolean {
    return this.socket?.destroyed === false;
  }

  /** @returns whether there was an answer */
  async ask(): Promise<boolean> {
    if (!this.isOpen) await this.open();
    await new Promise<void>(resolve => {
      this.answered = resolve;
      if (!this.isOpen) return resolve();
      this.socket?.write(this.asking?.next() ?? NOTHING);
    });
    if (this.isOpen) this.heardAt = performance.now();
    return this.isOpen;
  }

  close(): void {
    this.socket?.removeAllListeners('close').destroy();
  }

  private async open(): Promise<void> {
    const { kind, number } = this;
    this.heardAt = performance.now();
    const options = kind === 'tls' ? tlsOptions(port) : tlsOptions(https, 'h2');
    const socket = connect({ ...options, ...{ localAddress: `127.1.${Math.floor(number / PER_ADDRESS)}.1` } });
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (performance.now() - this.heardAt >= IDLE_MS) closed.late++;
      else closed.lost++;
      this.answered?.();
    });
    socket.on('data', (more: Buffer) => this.read(more));
    await new Promise<void>(resolve => socket.once('secureConnect', resolve).once('close', () => resolve()));
    this.asking = KINDS[kind]();
    this.octets = NOTHING;
  }

  private read(more: Buffer): void {
    this.octets = this.octets.length === 0 ? more : Buffer.concat([this.octets, more]);
    if (this.asking?.isAnswer(this.octets) !== true) return;
    this.octets = NOTHING;
    this.answered?.();
  }
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
const state = { isOver: false, roundAt: performance.now() };
/** Those that are open ask, one round after the other. */
const kept = (async () => {
  while (!state.isOver) {
    state.roundAt = performance.now();
    const next = sleep(EVERY_MS);
    await each(all.length, ASKING_AT_ONCE, async number => all[number]?.ask());
    await next;
  }
})();
/** Opens one more, unless those that are open are waiting for their turn: that comes first. */
async function open(kind: keyof typeof KINDS, number: number): Promise<void> {
  while (performance.now() - state.roundAt > LATE_MS) await sleep(LOOK_MS);
  const client = new Client(kind, number);
  await client.ask();
  all.push(client);
}
const rows: string[][] = [];
for (const kind of ['tls', 'https'] as const) {
  for (let opened = 0; opened < clients; opened += STEP) {
    const [resident, pss] = [residentBytes(pid), proportional()];
    const amount = Math.min(STEP, clients - opened);
    await each(opened + amount, AT_ONCE, async number => open(kind, number), opened);
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
  if ((await all[number]?.ask()) === true) answered++;
});
const held = all.filter(({ isOpen }) => isOpen).length;
const { late, lost } = closed;
console.log(table([['', 'RSS: KiB a connection', 'PSS: KiB a connection', 'descriptors'], ...rows]));
console.log(`${held} of ${2 * clients} connections are open, and ${answered} were answered once more.`);
console.log(`The server has closed ${lost} others, and ${late} whose clients had no time for ${IDLE_MS / 1000} s.`);
for (const client of all) client.close();
await running.stop();
for (const end of ends) await end();
const isHeld = lost === 0 && answered === 2 * clients && held === answered;
// Nothing is known about those whose clients were late.
process.exit(!isHeld ? 1 : late > 0 ? 2 : 0);
