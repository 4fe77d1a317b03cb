// How much each client may ask: on front threads, on the main thread, and through node:dgram.

import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { findOption, OPTION } from '../../src/wire/edns.js';
import { flagsOf, FLAG, rcodeOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { parseQuery } from '../../src/wire/query.js';
import { ask, type AskOptions, exchangeUdp, queryMessage, type Told, tryAsk } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { Rig } from '../fixtures/rig.js';

const RATE = 20;
const BURST = 40;
const NAME = 'canary.example';

/** When nothing has come for so long, no more will, on a busy machine either. */
const QUIET_MS = 500;

/** What a client has received. */
interface Received {
  readonly answers: number;
  readonly truncated: number;
  readonly refused: number;
  /** The most octets of a reply beyond those of its query. */
  readonly mostGain: number;
}

/** A client at an address of its own that asks over UDP as fast as it likes. */
class Flooder {
  private readonly sizes = new Map<number, number>();
  private readonly replies: Buffer[] = [];
  private nextId = 0;

  private constructor(
    private readonly socket: Socket,
    private readonly port: number,
  ) {
    socket.on('message', reply => this.replies.push(reply));
  }

  static async at(t: Test, address: string, port: number): Promise<Flooder> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
    await new Promise<void>(resolve => socket.bind(0, address, resolve));
    t.teardown(() => void socket.close());
    return new Flooder(socket, port);
  }

  /** Sends queries, and waits for nothing. */
  spend(count: number): void {
    for (let i = 0; i < count; i++) this.socket.send(queryMessage(NAME), this.port, '127.0.0.1');
  }

  /** Sends queries, and counts what comes back until nothing more does. */
  async send(count: number, nameOf: (i: number) => string = () => NAME): Promise<Received> {
    this.replies.splice(0);
    for (let i = 0; i < count; i++) {
      const id = this.nextId++ & 0xffff;
      const query = queryMessage(nameOf(i), { id, edns: i % 2 === 0 });
      this.sizes.set(id, query.length);
      this.socket.send(query, this.port, '127.0.0.1');
      // No more at once than its socket holds.
      if (i % 50 === 49) await sleep(1);
    }
    for (let before = -1; before !== this.replies.length;) {
      before = this.replies.length;
      await sleep(QUIET_MS);
    }
    const { replies } = this;
    const having = (is: (flags: number) => boolean): Buffer[] => replies.filter(each => is(flagsOf(each)));
    const truncated = having(flags => (flags & FLAG.TC) !== 0);
    return {
      answers: having(flags => (flags & FLAG.TC) === 0 && rcodeOf(flags) !== 5).length,
      truncated: truncated.length,
      refused: having(flags => rcodeOf(flags) === 5).length,
      mostGain: Math.max(0, ...truncated.map(each => each.length - (this.sizes.get(each.readUInt16BE(0)) ?? 0))),
    };
  }
}

const FRONTS = [
  { title: 'on a front thread', front: { threads: 1 } },
  { title: 'on two front threads', front: { threads: 2 } },
  { title: 'on the main thread', front: { threads: 0 } },
  { title: 'through node:dgram', front: { io: 'dgram' } },
];

for (const { title, front } of FRONTS)
  await t.test(`a client over its rate gets TC or nothing, and others all they ask for: ${title}`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test');
    await rig.start({
      ...{ upstream: { servers: [main.entry] }, front },
      access: { allow: ['127.0.0.0/28'], rate_limit: RATE, burst: BURST, unlimited: ['127.0.0.1/32'], per_client: 0 },
    });
    t.match(await rig.answer(NAME), 'NOERROR', 'it is cached now');
    const greedy = await Flooder.at(t, '127.0.0.5', rig.port);
    const modest = await Flooder.at(t, '127.0.0.6', rig.port);
    const startedAt = performance.now();
    const [much, little] = await Promise.all([greedy.send(2000), modest.send(30)]);
    const seconds = (performance.now() - startedAt) / 1000;
    t.ok(much.answers >= BURST && much.answers <= BURST + 1 + RATE * seconds, `${much.answers} answers`);
    t.ok(Math.abs(much.truncated - (2000 - much.answers) / 2) <= 2, `${much.truncated} with TC`);
    t.equal(much.mostGain, 0, 'which are not longer than the queries');
    t.equal(little.answers, 30);
    const answered = main.asked.length;
    const names = await greedy.send(500, i => `n${i}.flood.example`);
    t.ok(main.asked.length - answered <= RATE * 5, 'what is over the limit is not looked up');
    t.ok(names.truncated > 0);

    const over = { address: '127.0.0.1', port: rig.port };
    t.equal((await ask(over, NAME, { tcp: true })).text.rcode, 'NOERROR');
    const metrics = await rig.metrics();
    const truncated = metrics.get('dotstub_rate_limited_total{action="truncated"}') ?? 0;
    const dropped = metrics.get('dotstub_rate_limited_total{action="dropped"}') ?? 0;
    t.equal(truncated, much.truncated + names.truncated, 'each is counted');
    t.equal(dropped, 2500 - much.answers - names.answers - truncated);
    t.equal(metrics.get('dotstub_dropped_total{reason="rate_limited"}'), dropped);

    t.equal((await (await Flooder.at(t, '127.0.0.1', rig.port)).send(500)).answers, 500, 'access.unlimited');
    await rig.reload({ access: { rate_limit: 0 } });
    t.equal((await greedy.send(500)).answers, 500, 'and a reload takes the limit away');
  });

for (const { title, front } of FRONTS)
  await t.test(
    `a flood from outside access.allow gets a few refusals, and costs nobody an answer: ${title}`,
    async t => {
      const rig = await Rig.make(t);
      const main = await rig.server('dns.test');
      await rig.start({ ...{ upstream: { servers: [main.entry] }, front }, access: { allow: ['127.0.0.0/28'] } });
      t.match(await rig.answer(NAME), 'NOERROR');
      const foreign = await Flooder.at(t, '127.0.1.5', rig.port);
      const startedAt = performance.now();
      const { answers, truncated, refused } = await foreign.send(2000);
      const seconds = (performance.now() - startedAt) / 1000;
      t.same({ answers, truncated }, { answers: 0, truncated: 0 });
      t.ok(refused >= 20 && refused <= 21 + 10 * seconds, `${refused} refused`);
      const metrics = await rig.metrics();
      t.equal(metrics.get('dotstub_dropped_total{reason="not_allowed"}'), 2000 - refused);
      t.equal(metrics.get('dotstub_acl_refused_total'), refused);
    },
  );

const cookieIn = (told: Told): Buffer => {
  const parsed = parseQuery(asQuery(told.message));
  if (parsed.at !== 'query' || parsed.query.opt === undefined) throw new Error('no OPT');
  return findOption(parsed.query.opt, OPTION.COOKIE) ?? Buffer.alloc(0);
};
/** A reply without its records, as wire/query reads messages: question and OPT. */
function asQuery(reply: Buffer): Buffer {
  if (messageToText(reply)?.answers.length !== 0) throw new Error('ask for a name without records');
  const query = Buffer.from(reply);
  query.writeUInt16BE(FLAG.RD, 2);
  return query;
}
const withCookie = (data: Buffer): AskOptions => ({ options: [{ code: OPTION.COOKIE, data }], retryTruncated: false });
/** Of the question about NAME. */
const questionBytes = NAME.length + 2 + 4;
const CLIENT = Buffer.from('0123456789abcdef', 'hex');

for (const { title, front } of FRONTS)
  await t.test(`a cookie tells a client from those that forge its address: ${title}`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: query => responseTo(query) });
    await rig.start({
      ...{ upstream: { servers: [main.entry] }, front },
      access: { allow: ['127.0.0.0/8'], rate_limit: 1, burst: 10 },
    });
    const first = await ask(rig.at, NAME, withCookie(CLIENT));
    const cookie = cookieIn(first);
    t.same(cookie.subarray(0, 8), CLIENT, 'its own part comes back');
    t.equal(cookie.length, 24);
    t.same(cookieIn(await ask(rig.at, NAME, withCookie(cookie))), cookie, 'a good one is kept');

    const forged = await Flooder.at(t, '127.0.0.1', rig.port);
    t.ok((await forged.send(200)).answers < 20, 'somebody else uses up its share');
    t.notOk((await ask(rig.at, NAME, withCookie(cookie))).text.flags.includes('tc'), 'with its cookie it is served');
    // What its share has gained meanwhile is used up at once.
    forged.spend(50);
    const other = Buffer.from(cookie);
    other[20] = (other[20] ?? 0) ^ 1;
    const replies = await Promise.all(
      [other, CLIENT].map(async data => tryAsk(rig.at, NAME, { ...withCookie(data), timeoutMs: 300 })),
    );
    for (const reply of replies) if (reply !== undefined) t.ok(reply.text.flags.includes('tc'));
    t.equal(
      (await ask(rig.at, NAME, { ...withCookie(CLIENT), tcp: true })).text.rcode,
      'NOERROR',
      'and so it is over TCP',
    );

    await rig.reload({ access: { allow: ['127.0.0.0/8'], rate_limit: 0, require_cookie: ['127.0.0.0/8'] } });
    for (const options of [{}, withCookie(CLIENT), withCookie(other)]) {
      const bytes = queryMessage(NAME, options).length;
      const { message, text } = await ask(rig.at, NAME, { ...options, retryTruncated: false });
      t.match(text, { rcode: 'NOERROR', flags: ['qr', 'tc', 'rd', 'ra'] });
      t.ok(message.length <= bytes, `${message.length} octets for ${bytes}`);
    }
    const old = cookieIn(await ask(rig.at, NAME, withCookie(other)));
    t.equal(old.length, 24, 'with one that does not count it gets one that does');
    t.notOk((await ask(rig.at, NAME, withCookie(old))).text.flags.includes('tc'));
    t.notOk((await ask(rig.at, NAME, withCookie(cookie))).text.flags.includes('tc'));
    const learned = cookieIn(await ask(rig.at, NAME, { ...withCookie(CLIENT), tcp: true }));
    t.notOk((await ask(rig.at, NAME, withCookie(learned))).text.flags.includes('tc'), 'one that it got over TCP');
    const malformed = await ask(rig.at, NAME, { ...withCookie(Buffer.alloc(9)), tcp: true });
    t.equal(malformed.text.rcode, 'FORMERR');
    t.equal(cookieIn(malformed).length, 0, 'a malformed one is not answered with a cookie');
    const metrics = await rig.metrics();
    t.equal(metrics.get('dotstub_unproven_total'), 4);
    t.ok((metrics.get('dotstub_rate_limited_total{action="truncated"}') ?? 0) <= 126, 'and each is counted once');

    await rig.reload({ upstream: { servers: [main.entry] }, access: { allow: ['127.0.0.0/8'] } });
    const bare = queryMessage(NAME, withCookie(CLIENT));
    const only = Buffer.concat([bare.subarray(0, 12), bare.subarray(12 + questionBytes)]);
    only.writeUInt16BE(0, 4);
    const given = await exchangeUdp(rig.at, only, 2000);
    t.match(given && messageToText(given), { rcode: 'NOERROR', answers: [] }, 'a query for a cookie (RFC 7873 5.4)');
    t.equal(given?.length, 12 + 11 + 28);
  });
