// Clients that ask over UDP at a fixed rate, whether answers come or not, in a process of their own: `asking.ts PORT
// PER_SECOND SECONDS KNOWN NEW_PERCENT FILE`. Names are known0.test to known(KNOWN - 1).test, in turn; NEW_PERCENT of all
// queries are for names that nobody has asked for. It writes `asked` when it begins, and the queries to FILE as JSON.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What became of one query. */
export interface Asked {
  /** In milliseconds since 1970. */
  readonly at: number;
  /** Until the reply, ms; -1: there was none. */
  ms: number;
  /** The RCODE; -1: there was no reply. */
  rcode: number;
  /** The text of an Extended DNS Error in a reply that is a failure. */
  why: string;
}

const SOCKETS = 50;
/** As most stub resolvers wait. */
const PATIENCE_MS = 5000;
const HEAD_BYTES = 12;
const MOST_IDS = 0x10000;

/** A query for the A records of a name. */
function queryFor(name: string, id: number): Buffer {
  const labels = name.split('.').map(label => `${String.fromCharCode(label.length)}${label}`);
  const query = Buffer.concat([
    Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]),
    Buffer.from(`${labels.join('')}\0\0\x01\0\x01`, 'latin1'),
    // With EDNS, to be told why (RFC 8914).
    Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]),
  ]);
  query.writeUInt16BE(id);
  return query;
}

/** Clients at many ports, and what became of their queries. */
class Clients {
  readonly asked: Asked[] = [];
  private readonly sockets = Array.from({ length: SOCKETS }, () => createSocket('udp4'));
  /** The query that waits for a reply, by socket and id. */
  private readonly waiting = new Map<number, Asked>();

  constructor(
    private readonly port: number,
    private readonly nameOf: (i: number) => string,
  ) {
    this.sockets.forEach((socket, s) => socket.on('message', reply => this.read(s, reply)));
  }

  ask(): void {
    const i = this.asked.length;
    const s = i % SOCKETS;
    const id = Math.floor(i / SOCKETS) % MOST_IDS;
    const asked: Asked = { at: performance.timeOrigin + performance.now(), ms: -1, rcode: -1, why: '' };
    this.asked.push(asked);
    this.waiting.set(s * MOST_IDS + id, asked);
    this.sockets[s]?.send(queryFor(this.nameOf(i), id), this.port, '127.0.0.1');
  }

  close(): void {
    for (const each of this.sockets) each.close();
  }

  private read(s: number, reply: Buffer): void {
    if (reply.length < HEAD_BYTES) return;
    const key = s * MOST_IDS + reply.readUInt16BE();
    const asked = this.waiting.get(key);
    if (asked === undefined) return;
    this.waiting.delete(key);
    asked.ms = performance.timeOrigin + performance.now() - asked.at;
    asked.rcode = (reply[3] ?? 0) & 15;
    // At its end, behind printable text, there is nothing else.
    if (asked.rcode > 0) asked.why = /[ -~]*$/.exec(reply.toString('latin1'))?.[0] ?? '';
  }
}

const [port = 0, perSecond = 0, seconds = 0, known = 1, newPercent = 0] = process.argv.slice(2, 7).map(Number);
const [file = ''] = process.argv.slice(7);
const run = `${Date.now()}`;
const clients = new Clients(port, i => {
  // Spread evenly.
  const isNew = Math.floor(((i + 1) * newPercent) / 100) > Math.floor((i * newPercent) / 100);
  return isNew ? `new${i}-${run}.test` : `known${i % known}.test`;
});
console.log('asked');
const startedAt = performance.now();
// Those that a late timer has missed are made up for.
while (clients.asked.length < perSecond * seconds) {
  const due = Math.min(perSecond * seconds, ((performance.now() - startedAt) * perSecond) / 1000);
  while (clients.asked.length < due) clients.ask();
  await sleep(1);
}
await sleep(PATIENCE_MS);
clients.close();
writeFileSync(file, JSON.stringify(clients.asked.map(({ at, ms, rcode, why }) => [at, ms, rcode, why])));
