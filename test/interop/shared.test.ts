// Two daemons that share answers through Debian's redis-server: as it works, killed, frozen, and where somebody else writes to
// it. Debian package: redis-server.

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { createClient, RESP_TYPES } from '@redis/client';
import t, { type Test } from 'tap';

import { putU16, u16At } from '../../src/base/octets.js';
import { LEAST_SILENT_MS } from '../../src/cache/shared-level.js';
import { askDaemon } from '../../src/control/client.js';
import { messageToText } from '../../src/wire/message.js';
import { certificate } from '../fixtures/certificates.js';
import { ask, type At, queryMessage } from '../fixtures/client.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { responseTo } from '../fixtures/messages.js';
import { type RunningProgram, startDotstub } from '../fixtures/program.js';
import { eventually } from '../fixtures/rig.js';
import { type Bench, bench, missing, type RunningServer, start } from '../fixtures/servers.js';

const REDIS = 'redis-server';
// One of them sends thousands of queries.
t.setTimeout(300_000);
const OPTIONS = { skip: missing(REDIS), timeout: 240_000 };
const PASSWORD = 'only for this test';
const ANSWER = ['192.0.2.1'];
/** The deadline of the store. */
const TIMEOUT_MS = 20;

/** A daemon. */
interface Replica extends At {
  readonly program: RunningProgram;
  /** The answers to a question, or the RCODE. */
  answer(name: string): Promise<unknown>;
  metric(name: string): Promise<number>;
  /** Waits until the store is in use, or is not. */
  until(up: 0 | 1): Promise<number>;
}

/** One server that all replicas ask, and what they need for the store. */
interface Scene {
  readonly on: Bench;
  readonly asked: () => number;
  readonly redis: () => RunningServer;
  /** Starts the store, anew. */
  startRedis(): Promise<void>;
  /**
   * @param place of the store; undefined: it shares nothing
   * @param timeout left out: so long that a busy machine does not matter
   */
  replica(place?: 'port' | 'socket', timeout?: string): Promise<Replica>;
  /** All that is in the store: keys and values. */
  contents(): Promise<ReadonlyMap<string, Buffer>>;
  /** Sends commands to the store, as somebody who has the password. */
  command(...parts: (string | Buffer)[]): Promise<unknown>;
}

async function scene(t: Test): Promise<Scene> {
  const on = bench(t);
  const counts = { asked: 0 };
  const server = await dotServer({
    identity: certificate({ common: 'dns.test', names: ['dns.test'], issuer: on.ca }),
    handler(query, session) {
      counts.asked++;
      const name = messageToText(query)?.question?.name ?? '.';
      session.reply(responseTo(query, { answers: `${name} 300 A 192.0.2.1` }));
    },
  });
  on.onEnd(async () => server.close());
  const port = await freePort();
  const socket = join(on.path, 'redis.sock');
  const secret = (name: string, text: string): string => {
    const path = join(on.path, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    return path;
  };
  const key = secret('shared.key', `${randomBytes(32).toString('base64')}\n`);
  const password = secret('password', PASSWORD);
  let running: RunningServer | undefined;
  const connected = async <T>(use: (send: Scene['command']) => Promise<T>): Promise<T> => {
    const client = createClient({ socket: { host: '127.0.0.1', port }, password: PASSWORD, RESP: 2 });
    await client.connect();
    const options = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };
    const result = await use(async (...parts) => client.sendCommand(parts, options));
    client.destroy();
    return result;
  };
  return {
    on,
    asked: () => counts.asked,
    redis() {
      if (running === undefined) throw new Error('the store was not started');
      return running;
    },
    async startRedis() {
      const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--unixsocket', socket, '--save', '', '--dir', on.path];
      running = await start(on, REDIS, [...args, '--requirepass', PASSWORD], port);
    },
    async replica(place, timeout = '1s') {
      const url = place === 'socket' ? `unix://${socket}` : `redis://127.0.0.1:${port}/0`;
      const shared = `, shared: { url: "${url}", key_file: ${key}, password_file: ${password}, timeout: ${timeout} }`;
      const at = { address: '127.0.0.1', port: await freePort() };
      const program = await startDotstub(`
listen: ["${at.address}:${at.port}"]
metrics: { listen: off }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
cache: { persist: false${place === undefined ? '' : shared} }
`);
      on.onEnd(async () => void (await program.stop()));
      return replicaAt(at, program);
    },
    async contents() {
      return connected(async send => {
        const keys = (await send('KEYS', '*')) as Buffer[];
        const found = new Map<string, Buffer>();
        for (const each of keys) found.set(each.toString('hex'), (await send('GET', each)) as Buffer);
        return found;
      });
    },
    command: async (...parts) => connected(async send => send(...parts)),
  };
}

function replicaAt(at: At, program: RunningProgram): Replica {
  const metric = async (name: string): Promise<number> => {
    const reply = await askDaemon(program.controlSocket, { command: 'metrics', args: [] });
    const line = reply.ok ? reply.text.split('\n').find(each => each.startsWith(`dotstub_${name} `)) : undefined;
    return Number(line?.split(' ').at(-1));
  };
  return {
    ...at,
    program,
    metric,
    async answer(name) {
      const { rcode, answers } = (await ask(at, name)).text;
      return rcode === 'NOERROR' ? answers.map(({ data }) => data) : rcode;
    },
    until: async up => eventually(async () => metric('shared_cache_up'), up),
  };
}

const HITS = 'cache_hits_total{kind="shared"}';
const reads = (result: string): string => `shared_cache_reads_total{result="${result}"}`;

await t.test('what one has asked for, the other need not, and the store does not learn the names', OPTIONS, async t => {
  const world = await scene(t);
  await world.startRedis();
  const one = await world.replica('port');
  const other = await world.replica('socket');
  t.same([await one.until(1), await other.until(1)], [1, 1]);
  const names = Array.from({ length: 50 }, (_, i) => `private-${i}.household.example`);
  for (const name of names) t.same(await one.answer(name), ANSWER);
  t.equal(world.asked(), 50);
  for (const name of names) t.same(await other.answer(name), ANSWER);
  t.equal(world.asked(), 50, 'nobody was asked again');
  t.equal(await other.metric(HITS), 50);
  const contents = await world.contents();
  t.equal(contents.size, 50);
  for (const [key, octets] of contents)
    for (const text of ['private', 'household', 'dns.test'])
      if (octets.includes(text) || Buffer.from(key, 'hex').includes(text)) t.fail(`${text} is in the store`);
  t.equal(new Set([...contents.values()].map(each => each.length)).size, 1, 'all have one length');
  t.match(await askDaemon(other.program.controlSocket, { command: 'cache', args: ['stats'] }), {
    text: /\nshared with other replicas$/,
    data: { shared: { at: 'open' } },
  });
  await askDaemon(other.program.controlSocket, { command: 'cache', args: ['flush', '--all'] });
  await other.answer('private-0.household.example');
  t.equal(world.asked(), 51, 'what was forgotten here does not come back from there');
});

await t.test('killed: names resolve, the finding says so, and it is used again when it is back', OPTIONS, async t => {
  const world = await scene(t);
  await world.startRedis();
  const one = await world.replica('port');
  await one.until(1);
  await world.redis().stop('SIGKILL');
  t.same(await one.answer('a.example'), ANSWER);
  t.equal(await one.until(0), 0);
  t.equal(await eventually(async () => one.metric('findings{finding="shared_cache"}'), 1), 1);
  for (let i = 0; i < 20; i++) t.same(await one.answer(`killed-${i}.example`), ANSWER);
  await world.startRedis();
  t.equal(await one.until(1), 1);
  t.equal(await one.metric('findings{finding="shared_cache"}'), 0);
  await one.answer('again.example');
  t.equal(await eventually(async () => (await world.contents()).size, 1), 1);
  const warnings = one.program
    .log()
    .split('\n')
    .filter(line => line.includes('the store of cache.shared is not used'));
  t.equal(warnings.length, 1, 'the log says it once');
});

await t.test('somebody else writes the store: answers are right, and come from the servers', OPTIONS, async t => {
  const world = await scene(t);
  await world.startRedis();
  const one = await world.replica('port');
  const other = await world.replica('port');
  await Promise.all([one.until(1), other.until(1)]);
  const names = Array.from({ length: 60 }, (_, i) => `n${i}.example`);
  for (const name of names) await one.answer(name);
  const contents = [...(await world.contents())];
  const values = contents.map(([, octets]) => octets);
  for (const [i, [key, octets]] of contents.entries()) {
    const at = Buffer.from(key, 'hex');
    const altered = Buffer.from(octets);
    altered[i % altered.length] = (altered[i % altered.length] ?? 0) ^ 1;
    switch (i % 6) {
      case 0:
        await world.command('SET', at, values[(i + 1) % values.length] ?? '');
        break;
      case 1:
        await world.command('SET', at, altered);
        break;
      case 2:
        await world.command('SET', at, randomBytes(2000));
        break;
      case 3:
        await world.command('SETRANGE', at, '20000000', 'x');
        break;
      case 4:
        await world.command('SET', at, octets.subarray(0, i));
        break;
      default:
        await world.command('DEL', at);
        await world.command('RPUSH', at, 'of another type');
    }
  }
  for (const name of names) t.same(await other.answer(name), ANSWER, name);
  t.equal(world.asked(), 120);
  t.equal(await other.metric(HITS), 0);
  t.equal(await other.metric(reads('unusable')), 50);
  t.equal(await other.metric(reads('refused')), 10);
  t.equal(await other.metric('shared_cache_up'), 1, 'and it is used still');
});

const RATE = 2000;
const QUERIES = 3000;
const ROUNDS = 2;
const BURST_MS = 5;
/**
 * Clients that wait for a store that has frozen: those of half a deadline, and two at a time for the 100 ms that it takes to
 * be sure, and as many again for a busy machine.
 */
const MOST_LATE = 2 * (RATE * (TIMEOUT_MS / 2 / 1000) + 2 * (LEAST_SILENT_MS / TIMEOUT_MS));
/** How often a question may be sent again: the kernel drops datagrams of a busy machine. */
const MOST_SENT_AGAIN = 10;
/** How often it is waited for the store to be in use again, 15 s each. */
const MOST_TRIES = 5;

/** Milliseconds, of the questions that were not sent again. */
interface Load {
  readonly unanswered: number;
  readonly p50: number;
  readonly p99: number;
}

/** Asks for names that nobody has asked for, at a steady rate, over one socket. */
async function load({ address, port }: At, label: string): Promise<Load> {
  const socket = createSocket('udp4');
  const sent: number[] = [];
  const answered = new Map<number, number>();
  socket.on('message', reply => {
    const id = u16At(reply, 0);
    if (!answered.has(id)) answered.set(id, performance.now() - (sent[id] ?? 0));
  });
  await new Promise<void>(resolve => socket.connect(port, address, resolve));
  const send = (id: number): void => {
    const query = queryMessage(`${label}-${id}.example`);
    putU16(query, 0, id);
    socket.send(query);
  };
  const begun = performance.now();
  while (sent.length < QUERIES) {
    const due = Math.min(((performance.now() - begun) * RATE) / 1000, QUERIES);
    while (sent.length < due) {
      sent.push(performance.now());
      send(sent.length - 1);
    }
    await sleep(BURST_MS);
  }
  const open = (): number[] => sent.flatMap((_, id) => (answered.has(id) ? [] : [id]));
  await sleep(1000);
  const first = [...answered.values()].sort((a, b) => a - b);
  for (let again = 0; again < MOST_SENT_AGAIN && open().length > 0; again++) {
    open().forEach(send);
    await sleep(1000);
  }
  const unanswered = open().length;
  socket.close();
  const at = (share: number): number => first[Math.floor(share * first.length)] ?? NaN;
  return { unanswered, p50: at(0.5), p99: at(0.99) };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

await t.test(
  `frozen under ${RATE} missed queries/s: all are answered, and few have waited for it`,
  OPTIONS,
  async t => {
    const world = await scene(t);
    await world.startRedis();
    const one = await world.replica('port', `${TIMEOUT_MS}ms`);
    const without = await world.replica();
    await one.until(1);
    // So that both have a connection, and compiled code.
    await load(one, 'warm-one');
    await load(without, 'warm-without');
    const working = await load(one, 'working');
    for (const each of ['miss', 'timeout', 'skipped'])
      t.comment(`reads of the store that works, with the warm-up: ${await one.metric(reads(each))} ${each}`);
    // It must be in use when it freezes. A busy machine may have made it look slow.
    for (let tries = 0; tries < MOST_TRIES && (await one.until(1)) !== 1;) tries++;
    t.equal(await one.metric('shared_cache_up'), 1);
    const timeouts = await one.metric(reads('timeout'));
    const { child } = world.redis();
    child.kill('SIGSTOP');
    const frozen: Load[] = [];
    const plain: Load[] = [];
    // They take turns, since others use the machine, too.
    for (let round = 0; round < ROUNDS; round++) {
      frozen.push(await load(one, `frozen-${round}`));
      plain.push(await load(without, `plain-${round}`));
    }
    const said = (what: string, all: readonly Load[]): void => {
      const [p50, p99] = [median(all.map(each => each.p50)), median(all.map(each => each.p99))];
      t.comment(`${what}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (medians of ${all.length})`);
    };
    said('no store', plain);
    said('a store that works', [working]);
    said('a store that is frozen', frozen);
    t.same(
      [working, ...frozen, ...plain].filter(({ unanswered }) => unanswered > 0),
      [],
      'all are answered',
    );
    const late = (await one.metric(reads('timeout'))) - timeouts;
    t.comment(`${late} of ${ROUNDS * QUERIES} clients have waited for the frozen store until the deadline`);
    t.ok(late > 0, 'it was in use when it froze');
    t.ok(late <= MOST_LATE, 'after the first few, nobody waits');
    t.equal(await one.metric('shared_cache_up'), 0);
    child.kill('SIGCONT');
    // The pauses have grown, up to a minute.
    for (let tries = 0; tries < MOST_TRIES && (await one.until(1)) !== 1;) tries++;
    t.equal(await one.metric('shared_cache_up'), 1);
    t.same(await one.answer('after.example'), ANSWER);
  },
);
