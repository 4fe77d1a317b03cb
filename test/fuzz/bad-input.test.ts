// Hostile octets at a running daemon: it must not crash, must not leak a waiting query, must answer what can be
// answered, and must go on serving.

import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import tap, { type Test } from 'tap';

import { flagsOf, idOf, rcodeOf } from '../../src/wire/header.js';
import { parseQuery } from '../../src/wire/query.js';
import { framed } from '../../src/wire/frame.js';
import { ask, type At, exchangeTcp, queryMessage } from '../fixtures/client.js';
import { fakeRandom } from '../fixtures/clock.js';
import { answering, setting, type Setting, HOSTS } from '../fixtures/daemon.js';

const valid = queryMessage('www.example', { type: 'AAAA', dnssec: true, id: 0x1234 });

/** What the daemon owes for these octets: nothing, or a reply with this RCODE (undefined: any). */
function owed(octets: Buffer): { reply: false } | { reply: true; rcode: number | undefined } {
  const parsed = parseQuery(octets);
  if (parsed.at === 'ignore') return { reply: false };
  if (parsed.at === 'query') return { reply: true, rcode: undefined };
  if (parsed.at === 'cookie') return { reply: true, rcode: 0 };
  const rcodes: Partial<Record<typeof parsed.code, number>> = {
    form_error: 1,
    nxname: 1,
    opcode: 4,
    meta_type: 4,
    class: 5,
    bad_version: 0,
  };
  return { reply: true, rcode: rcodes[parsed.code] };
}

for (const [host, front] of Object.entries(HOSTS)) {
  await tap.test(host, { timeout: 200_000 }, async t => hostile(t, await setting(t, { front })));
}

async function hostile(t: Test, { at, metric, upstream }: Setting): Promise<void> {
  /** Sends every message over UDP and collects the replies, oldest first. Paced, so that no socket buffer overflows. */
  async function volley(messages: readonly Buffer[], settleMs = 300, from = '127.0.0.1'): Promise<Buffer[]> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const replies: Buffer[] = [];
    socket.on('message', reply => replies.push(reply));
    await new Promise<void>(resolve => socket.bind(0, from, () => resolve()));
    await new Promise<void>(resolve => socket.connect(at.port, at.address, () => resolve()));
    for (const [i, message] of messages.entries()) {
      socket.send(message);
      // Time for the daemon, which shares this event loop, and for its thread, which does not.
      if (i % 20 === 19) await sleep(1);
    }
    await sleep(settleMs);
    socket.close();
    return replies;
  }

  async function stillServes(t: Test, where: At = at): Promise<void> {
    t.match((await ask(where, 'www.example')).text.answers, [{ data: '192.0.2.80' }], 'still serves');
    for (let tries = 0; tries < 60 && (await metric('dotstub_inflight_queries')) !== 0; tries++) await sleep(100);
    t.equal(await metric('dotstub_inflight_queries'), 0, 'nothing is left waiting');
  }

  await t.test('every prefix of a query: FORMERR from the header on, silence before', async t => {
    const prefixes = Array.from({ length: valid.length }, (_, length) => valid.subarray(0, length));
    const replies = await volley(prefixes);
    t.equal(replies.length, valid.length - 12);
    t.ok(replies.every(reply => idOf(reply) === 0x1234 && rcodeOf(flagsOf(reply)) === 1 && flagsOf(reply) & 0x8000));
    await stillServes(t);
  });

  await t.test('every change of one octet: exactly the reply that is owed', async t => {
    // Ids tell the replies apart, so the first two octets keep their values and carry the number of the message.
    const changed: Buffer[] = [];
    for (let position = 2; position < valid.length; position++) {
      for (let octet = 0; octet < 256; octet++) {
        if (octet === valid[position]) continue;
        const message = Buffer.from(valid);
        message[position] = octet;
        message.writeUInt16BE(changed.length & 0xffff, 0);
        changed.push(message);
      }
    }
    t.ok(changed.length < 65536);
    const replies = new Map((await volley(changed, 1500)).map(reply => [idOf(reply), reply]));
    let wrong = 0;
    for (const [id, message] of changed.entries()) {
      const expected = owed(message);
      const reply = replies.get(id);
      const asOwed = expected.reply
        ? reply !== undefined && (expected.rcode === undefined || rcodeOf(flagsOf(reply)) === expected.rcode)
        : reply === undefined;
      if (!asOwed && wrong++ < 5)
        t.fail(
          `octets ${message.toString('hex')}: owed ${JSON.stringify(expected)}, got ${reply?.toString('hex') ?? 'nothing'}`,
        );
    }
    t.equal(wrong, 0);
    await stillServes(t);
  });

  await t.test('100,000 random datagrams', { timeout: 100_000 }, async t => {
    const random = fakeRandom(20261124);
    const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)));
    const messages = Array.from({ length: 100_000 }, (_, i) => {
      const octets = noise(random.below(i % 10 === 0 ? 1200 : 80));
      // Half of them get a header that passes the first look.
      if (i % 2 === 0 && octets.length >= 12) Buffer.from('010000010000000000', 'hex').copy(octets, 2);
      return octets;
    });
    const replies = await volley(messages, 1000);
    t.ok(replies.length > 1000, `${replies.length} replies`);
    t.ok(
      replies.every(reply => reply.length >= 12 && flagsOf(reply) & 0x8000),
      'every reply is one',
    );
    await stillServes(t);
  });

  await t.test('names that point at themselves', async t => {
    const header = Buffer.from('123401000001000000000000', 'hex');
    const tail = Buffer.from('00010001', 'hex');
    const loops = ['c00c', 'c00e', '0161c00c', '0161c00e', 'c000', 'ffff', '3fc0', '0161016201630164c00c'].map(hex =>
      Buffer.concat([header, Buffer.from(hex, 'hex'), tail]),
    );
    const replies = await volley(loops);
    t.equal(replies.length, loops.length);
    t.ok(replies.every(reply => rcodeOf(flagsOf(reply)) === 1));
    await stillServes(t);
  });

  await t.test('TCP: 65,535 octets of nothing, of noise, and around a query', async t => {
    const random = fakeRandom(7);
    const noise = Buffer.from(Array.from({ length: 65_535 }, () => random.below(256)));
    noise.writeUInt16BE(0x0100, 2);
    const padded = Buffer.concat([valid, Buffer.alloc(65_535 - valid.length)]);
    for (const message of [Buffer.alloc(65_535), noise, padded]) {
      const [reply] = await exchangeTcp(at, [message], 2000);
      t.equal(reply && rcodeOf(flagsOf(reply)), 1);
    }
    await stillServes(t);
  });

  await t.test('TCP: frames cut anywhere, FIN or RST at any point', async t => {
    const frame = framed(valid);
    const cuts = Array.from({ length: frame.length }, (_, length) => frame.subarray(0, length));
    for (const abort of [false, true]) {
      await Promise.all(
        cuts.map(
          async cut =>
            new Promise<void>(resolve => {
              const socket = connect(at.port, at.address, () => {
                socket.write(cut);
                setTimeout(() => {
                  if (abort) socket.resetAndDestroy();
                  else socket.end();
                }, 5);
              });
              socket.on('error', () => undefined);
              socket.on('close', () => resolve());
              socket.resume();
            }),
        ),
      );
    }
    await stillServes(t);
  });

  await t.test('TCP: clients that ask and run', async t => {
    upstream.handler = () => undefined;
    const clients = Array.from({ length: 15 }, (_, i) => {
      const socket = connect(at.port, at.address, () =>
        socket.write(
          Buffer.concat(Array.from({ length: 30 }, (__, j) => framed(queryMessage(`r${i}-${j}.wild.example`)))),
        ),
      );
      socket.on('error', () => undefined);
      return { socket, closed: new Promise(resolve => socket.on('close', resolve)) };
    });
    const underWay = async (): Promise<number> => (await metric('dotstub_inflight_queries')) ?? 0;
    for (let tries = 0; tries < 200 && (await underWay()) === 0; tries++) await sleep(20);
    t.ok((await underWay()) > 0, 'their queries were under way');
    for (const { socket } of clients) socket.resetAndDestroy();
    await Promise.all(clients.map(async ({ closed }) => closed));
    upstream.handler = answering();
    await stillServes(t);
    t.equal(await metric('dotstub_client_connections{proto="tcp"}'), 0, 'no session is left');
  });

  await t.test(
    'floods of queries that nobody answers: the bounds hold, the rest get SERVFAIL at once, cached names are served',
    async t => {
      upstream.handler = () => undefined;
      const flood = (from: number, length: number): Buffer[] =>
        Array.from({ length }, (_, i) => queryMessage(`f${from}n${i}.wild.example`, { id: i }));
      const alone = await volley(flood(1, 1000), 200);
      t.equal(await metric('dotstub_inflight_queries'), 200, 'one client');
      t.ok(
        alone.length >= 700 && alone.every(reply => rcodeOf(flagsOf(reply)) === 2),
        `${alone.length} refused at once`,
      );
      const replies: Buffer[] = [];
      for (let from = 2; from < 16; from++) replies.push(...(await volley(flood(from, 200), 20, `127.0.0.${from}`)));
      t.equal(await metric('dotstub_inflight_queries'), 2000, 'all together');
      t.ok(
        replies.length >= 900 && replies.every(reply => rcodeOf(flagsOf(reply)) === 2),
        `${replies.length} refused at once`,
      );
      t.ok((await ask(at, 'www.example')).ms < 500, 'cached answers do not wait');
      upstream.handler = answering();
      await sleep(4600);
      await stillServes(t);
    },
  );
}
