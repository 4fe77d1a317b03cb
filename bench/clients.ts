// Clients of DNS over TLS that keep their connections and ask now and then. dnsperf cannot be them: it has at most 256
// connections in a thread, and 2.10 ends with an error when a server closes one of them.
// `node --import=tsx bench/clients.ts PORT CLIENTS EVERY_MS SECONDS NAMES` writes a line when all are connected and have
// asked once, and a line with the result at the end. NAMES: known0.test to known(NAMES - 1).test are asked for.

import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import { quantile } from './measure.js';
import { tlsOptions } from './tls-options.js';

/** What clients have seen. */
export interface Seen {
  /** Queries, */
  readonly sent: number;
  /** those without a reply, */
  readonly lost: number;
  /** and connections that the server has closed. */
  readonly closed: number;
  /** From query to reply, ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Connections that are opened at one time. */
const AT_ONCE = 16;
/** A query without a reply is lost after so long, ms. */
const PATIENCE_MS = 5000;

/** One of them. It waits for the reply before it asks again, as stub resolvers with one user mostly do. */
class Client {
  /** When it has sent the query that waits; undefined: none does. */
  private askedAt: number | undefined;
  private received = Buffer.alloc(0);

  constructor(
    private readonly socket: TLSSocket,
    private readonly queries: readonly Buffer[],
    private readonly latencies: number[],
  ) {
    socket.on('data', (data: Buffer) => this.read(data));
  }

  get waits(): boolean {
    return this.askedAt !== undefined;
  }

  /** @returns false: the one before has no reply yet */
  ask(i: number): boolean {
    if (this.waits) return false;
    this.askedAt = performance.now();
    this.socket.write(this.queries[i % this.queries.length] ?? '');
    return true;
  }

  private read(data: Buffer): void {
    this.received = Buffer.concat([this.received, data]);
    if (this.received.length < 2 || this.received.length < 2 + this.received.readUInt16BE()) return;
    this.received = this.received.subarray(2 + this.received.readUInt16BE());
    if (this.askedAt !== undefined) this.latencies.push(performance.now() - this.askedAt);
    this.askedAt = undefined;
  }
}

/** A query for the A records of a name, with its length in front (RFC 7858 §3.3). */
function query(name: string): Buffer {
  const labels = name.split('.').map(label => `${String.fromCharCode(label.length)}${label}`);
  const question = Buffer.concat([Buffer.from(`${labels.join('')}\0`, 'latin1'), Buffer.from([0, 1, 0, 1])]);
  const head = Buffer.from([0, 12 + question.length, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([head, question]);
}

/** Clients, and what they have seen since `begin`. */
class Clients {
  private readonly clients: Client[] = [];
  private readonly queries: readonly Buffer[];
  private latencies: number[] = [];
  private opened = 0;
  private sent = 0;
  private lost = 0;
  private closed = 0;

  constructor(
    private readonly port: number,
    private readonly amount: number,
    names: number,
  ) {
    this.queries = Array.from({ length: names }, (_, i) => query(`known${i}.test`));
  }

  /** Opens all connections. */
  async open(): Promise<void> {
    await Promise.all(Array.from({ length: AT_ONCE }, async () => this.openSome()));
  }

  /** Has them ask in turn, each once in so many ms, until the promise is resolved. Those that are not open yet do not. */
  async ask(everyMs: number, until: Promise<unknown>): Promise<void> {
    const state = { isOver: false };
    void until.then(() => (state.isOver = true));
    const startedAt = performance.now();
    for (let turn = 0; !state.isOver;) {
      await sleep(1);
      const due = ((performance.now() - startedAt) * this.amount) / everyMs;
      for (; turn < due; turn++) {
        const client = this.clients[turn % this.amount];
        if (client === undefined) continue;
        this.sent++;
        // A client asks for another name each time.
        if (!client.ask((turn % this.amount) + Math.floor(turn / this.amount))) this.lost++;
      }
    }
  }

  /** Forgets what was seen. */
  begin(): void {
    this.sent = this.lost = 0;
    this.latencies.length = 0;
  }

  /** Waits for the last replies. */
  async end(): Promise<Seen> {
    const waiting = (): number => this.clients.filter(({ waits }) => waits).length;
    for (let waited = 0; waiting() > 0 && waited < PATIENCE_MS; waited += 10) await sleep(10);
    const { sent, lost, closed } = this;
    const latencies = this.latencies.sort((a, b) => a - b);
    const [p50Ms, p99Ms] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
    return { sent, lost: lost + waiting(), closed, p50Ms, p99Ms };
  }

  private async openSome(): Promise<void> {
    while (this.opened < this.amount) {
      this.opened++;
      const socket = connect(tlsOptions(this.port));
      await once(socket, 'secureConnect');
      socket.setNoDelay(true);
      socket.on('close', () => this.closed++).on('error', () => undefined);
      this.clients.push(new Client(socket, this.queries, this.latencies));
    }
  }
}

async function run(port: number, amount: number, everyMs: number, seconds: number, names: number): Promise<void> {
  const clients = new Clients(port, amount, names);
  const opened = clients.open();
  // Those that are open ask meanwhile: a server may close them otherwise.
  await clients.ask(everyMs, opened);
  await opened;
  console.log('connected');
  clients.begin();
  await clients.ask(everyMs, sleep(1000 * seconds));
  console.log(JSON.stringify(await clients.end()));
  process.exit(0);
}

const [port = 0, amount = 0, everyMs = 1000, seconds = 60, names = 100] = process.argv.slice(2).map(Number);
await run(port, amount, everyMs, seconds, names);
