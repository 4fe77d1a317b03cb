// Large cached answers, which any client may ask for again and again, do not hold up the questions of others.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { compose, type RecordData } from '../../src/wire/compose.js';
import { FLAG, HEADER_BYTES, idOf } from '../../src/wire/header.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { type At, ask } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { wireName } from '../fixtures/records.js';

const MISSES = 150;
/** Questions for large answers a second. */
const RATE = 60;

const recordOf = (owner: string, type: number, rdata: Buffer): RecordData => ({
  owner: wireName(owner),
  type,
  ttlSec: 3600,
  rdata,
});
const signature = (owner: string, type: number): RecordData =>
  recordOf(
    owner,
    TYPE.RRSIG,
    Buffer.concat([
      Buffer.from([type >> 8, type & 255, 13, 2]),
      Buffer.alloc(14),
      wireName('example'),
      Buffer.alloc(64),
    ]),
  );
/** As many records as fit into 63 KiB, signatures before, between and behind them. */
function filled(owner: string, type: number, rdata: (i: number) => Buffer): RecordData[] {
  const all = [signature(owner, type)];
  const bytes = (): number => all.reduce((sum, each) => sum + each.owner.length + 10 + each.rdata.length, 0);
  const each = owner.length + 12 + rdata(0).length;
  const count = Math.floor((63 * 1024 - bytes()) / (each + 4));
  for (let i = 0; i < count; i++) all.push(recordOf(owner, type, rdata(i)));
  all.splice(all.length >> 1, 0, signature(owner, type));
  return [...all, signature(owner, type)];
}
const LARGE = new Map([
  ['addresses.example', filled('addresses.example', TYPE.A, i => Buffer.from([10, i >> 16, (i >> 8) & 255, i & 255]))],
  [
    'mail.example',
    filled('mail.example', TYPE.MX, i => Buffer.concat([Buffer.from([0, 1]), wireName(`m${i}.example`)])),
  ],
  ['text.example', filled('text.example', TYPE.TXT, i => Buffer.from(`\x08${String(i).padStart(8, '0')}`, 'latin1'))],
]);
const TYPES: Readonly<Record<string, string>> = {
  'addresses.example': 'A',
  'mail.example': 'MX',
  'text.example': 'TXT',
};

const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0;

/** Asks for names that nobody has asked for. Returns how long each took, in ms. */
async function misses(at: At, label: string): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < MISSES; i++) times.push((await ask(at, `${label}${i}.wild.example`)).ms);
  return times;
}

await t.test('questions for large cached answers do not delay those of others', async t => {
  const ca = authority();
  const others = answering();
  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
    handler(query, session) {
      const end = query.indexOf(0, HEADER_BYTES) + 1;
      const large = [...LARGE].find(([name]) => wireName(name).equals(query.subarray(HEADER_BYTES, end)));
      if (large === undefined) {
        others(query, session);
        return;
      }
      const question = query.subarray(HEADER_BYTES, end + 4);
      session.reply(compose(question, { answer: large[1] }, { id: idOf(query), flags: FLAG.RA | FLAG.RD }).octets);
    },
  });
  const directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
  const [port, metricsPort] = [await freePort(), await freePort()];
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: "127.0.0.1:${metricsPort}" }
front: { threads: 0 }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);
  t.teardown(async () => {
    await daemon.stop();
    await server.close();
    directory.remove();
  });
  const at = { address: '127.0.0.1', port };
  const expected = new Map<string, number>();
  for (const [name, all] of LARGE) {
    const { text } = await ask(at, name, { type: TYPES[name] ?? 'A' });
    expected.set(name, all.length - 3);
    t.equal(text.answers.length, all.length - 3, `${name}: all records but the signatures, over TCP`);
  }
  await misses(at, 'warm');
  const before = await misses(at, 'quiet');
  const stop = new AbortController();
  const attack = (async () => {
    const asked: Promise<number>[] = [];
    const names = [...LARGE.keys()];
    for (let i = 0; !stop.signal.aborted; i++) {
      const name = names[i % names.length] ?? '';
      // In turn over UDP, which gives a truncated answer and then TCP, and with DO.
      asked.push(
        ask(at, name, { type: TYPES[name] ?? 'A', dnssec: i % 4 === 3 }).then(({ text }) => text.answers.length),
      );
      await sleep(1000 / RATE);
    }
    return Promise.all(asked);
  })();
  const during = await misses(at, 'busy');
  stop.abort();
  const counts = await attack;
  t.ok(
    counts.every(count => count > 1000),
    'and they are answered themselves',
  );
  t.comment(
    `${counts.length} large answers: the median of misses was ${(median(during) / median(before)).toFixed(2)} times that without them`,
  );
});
