// Servers that misbehave, over real TLS: what clients get, and what happens to the connection.

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { answering, setting } from '../fixtures/daemon.js';
import type { Handler, ServerSession } from '../fixtures/dot-server.js';
import { framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';

const answer = answering();
const nameOf = (query: Buffer): string => messageToText(query)?.question?.name ?? '';
/** Answers through a session that holds the reply back, so that the test can send it in another way. */
const answerOf = (query: Buffer, session: ServerSession): Buffer => {
  let reply = Buffer.alloc(0);
  answer(query, { ...session, reply: message => void (reply = Buffer.from(message)) });
  return reply;
};

await t.test('with a server that closes after each answer, every query is answered, over resumed sessions', async t => {
  const { at, metric, upstream } = await setting(t, {
    handler(query, session) {
      answer(query, session);
      session.socket.end();
    },
  });
  for (let i = 0; i < 10; i++) t.match(await ask(at, `n${i}.wild.example`), { text: { rcode: 'NOERROR' } });
  t.ok(upstream.connections >= 10);
  const resumed = (await metric('dotstub_upstream_connects_total{upstream="dns.test",resumed="true"}')) ?? 0;
  // This server sends two tickets with a full handshake and none with a resumed one. Each ticket is used once.
  t.ok(resumed >= 6, `${resumed} resumed, of ${upstream.connections}`);
});

await t.test('a server without tickets is used with full handshakes', async t => {
  const { at, metric } = await setting(t, {
    handler(query, session) {
      answer(query, session);
      session.socket.end();
    },
    tls: { secureOptions: 0x4000, maxVersion: 'TLSv1.2', sessionTimeout: 1 },
  });
  for (let i = 0; i < 3; i++) t.match(await ask(at, `n${i}.wild.example`), { text: { rcode: 'NOERROR' } });
  t.equal(await metric('dotstub_upstream_connects_total{upstream="dns.test",resumed="true"}'), 0);
});

await t.test('B17 row 2: RST with 50 queries in flight loses none of them', async t => {
  let held = 0;
  let reset = false;
  const { at, upstream } = await setting(t, {
    handler(query, session) {
      if (reset || nameOf(query) === '.') answer(query, session);
      else if (++held === 50) {
        reset = true;
        session.reset();
      }
    },
  });
  const before = upstream.connections;
  const told = await Promise.all(Array.from({ length: 50 }, async (_, i) => ask(at, `n${i}.wild.example`)));
  t.ok(told.every(({ text, ms }) => text.rcode === 'NOERROR' && ms < 1000));
  t.ok(upstream.connections - before <= 2, `${upstream.connections - before} new connections`);
});

await t.test('B17 row 3: when a server stops answering on an open connection, no query waits 2.5 s', async t => {
  const { at, upstream } = await setting(t, {
    handler(query, session) {
      // The first connection is silent after its first answer.
      if (session.number === 1 && nameOf(query) !== 'n0.wild.example.') return;
      answer(query, session);
    },
  });
  await ask(at, 'n0.wild.example');
  const told = await Promise.all(Array.from({ length: 40 }, async (_, i) => ask(at, `n${i + 1}.wild.example`)));
  t.ok(told.every(({ text }) => text.rcode === 'NOERROR'));
  const worst = Math.max(...told.map(({ ms }) => ms));
  t.ok(worst < 2500, `${Math.round(worst)} ms`);
  t.ok(upstream.connections <= 3);
});

await t.test(
  'B17 row 15: if one of a hundred queries is never answered, the others are, and the connection stays',
  async t => {
    const { at, upstream } = await setting(t, {
      handler(query, session) {
        if (nameOf(query) !== 'n50.wild.example.') answer(query, session);
      },
    });
    const never = ask(at, 'n50.wild.example').then(({ text }) => text.rcode);
    const told = [];
    for (let i = 0; i < 100; i++) if (i !== 50) told.push(await ask(at, `n${i}.wild.example`));
    t.ok(told.every(({ text, ms }) => text.rcode === 'NOERROR' && ms < 1000));
    t.equal(upstream.connections, 1);
    t.equal(await never, 'SERVFAIL');
  },
);

for (const most of [1, 3]) {
  await t.test(`a server that closes after ${most} answers: 20 of 20 concurrent queries are answered`, async t => {
    const counts = new Map<number, number>();
    const { at } = await setting(t, {
      handler(query, session) {
        const count = (counts.get(session.number) ?? 0) + 1;
        counts.set(session.number, count);
        if (count <= most) answer(query, session);
        if (count === most) session.socket.end();
      },
    });
    for (let round = 0; round < 3; round++) {
      const told = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => ask(at, `r${round}n${i}.wild.example`)),
      );
      t.equal(told.filter(({ text }) => text.rcode === 'NOERROR').length, 20);
      t.ok(Math.max(...told.map(({ ms }) => ms)) < 4000);
    }
  });
}

for (const how of ['closes', 'resets'] as const) {
  await t.test(`a name at which the server ${how} the connection takes no other name with it`, async t => {
    const { at, statusLine } = await setting(t, {
      handler(query, session) {
        if (!nameOf(query).startsWith('bad')) return void setTimeout(() => answer(query, session), 30);
        if (how === 'closes') session.socket.destroy();
        else session.reset();
      },
    });
    const good: Promise<string>[] = [];
    const bad: Promise<string>[] = [];
    for (let i = 0; i < 60; i++) {
      if (i % 10 === 5) bad.push(ask(at, `bad${i}.wild.example`).then(({ text }) => text.rcode));
      good.push(ask(at, `good${i}.wild.example`).then(({ text }) => text.rcode));
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    t.equal((await Promise.all(good)).filter(rcode => rcode === 'NOERROR').length, 60);
    t.ok((await Promise.all(bad)).every(rcode => rcode === 'SERVFAIL'));
    t.match(statusLine(), /1 of 1/);
  });
}

await t.test('an answer that trickles in at 10 octets a second holds nobody up', async t => {
  let trickles = false;
  const { at, upstream } = await setting(t, {
    handler(query, session) {
      if (nameOf(query) !== 'large.wild.example.') {
        // In the middle of its frame nothing else can be sent.
        if (session.number !== 1 || !trickles) answer(query, session);
        return;
      }
      if (session.number > 1) return;
      trickles = true;
      const octets = framed(answerOf(query, session));
      let sent = 0;
      const timer = setInterval(() => {
        if (sent === octets.length || session.socket.destroyed) return clearInterval(timer);
        session.socket.write(octets.subarray(sent, ++sent));
      }, 100);
      session.socket.on('close', () => clearInterval(timer));
    },
  });
  await ask(at, 'first.wild.example');
  const large = ask(at, 'large.wild.example');
  await new Promise(resolve => setTimeout(resolve, 150));
  const told = await Promise.all(
    Array.from({ length: 98 }, async (_, i) => ask(at, `n${i}.wild.example`).then(({ text, ms }) => ({ text, ms }))),
  );
  t.equal(told.filter(({ text, ms }) => text.rcode === 'NOERROR' && ms < 3000).length, 98);
  t.ok(upstream.connections <= 3, `${upstream.connections} connections`);
  await large;
});

await t.test(
  'a name that is never answered does not cost its server the connection, nor others a second query',
  async t => {
    const seen: string[] = [];
    const { at, upstream } = await setting(t, {
      handler(query, session) {
        seen.push(nameOf(query));
        if (nameOf(query) === 'slow.wild.example.') setTimeout(() => answer(query, session), 3300);
        else if (nameOf(query) !== 'dead.wild.example.') answer(query, session);
      },
    });
    const dead = ask(at, 'dead.wild.example');
    const slow = ask(at, 'slow.wild.example');
    t.equal((await slow).text.rcode, 'NOERROR');
    t.equal((await dead).text.rcode, 'SERVFAIL');
    t.equal(seen.filter(name => name === 'slow.wild.example.').length, 1);
    t.equal(upstream.connections, 1);
  },
);

const frames: Buffer[] = [];
const ways: Readonly<Record<string, Handler>> = {
  'cut in the middle of a frame, with a pause'(query, session) {
    frames.push(framed(answerOf(query, session)));
    if (frames.length > 1) return;
    setTimeout(() => {
      const all = Buffer.concat(frames.splice(0));
      session.socket.write(all.subarray(0, 9));
      setTimeout(() => session.socket.write(all.subarray(9)), 50);
    }, 20);
  },
  'octet by octet'(query, session) {
    for (const octet of framed(answerOf(query, session))) session.socket.write(Buffer.from([octet]));
  },
  twice(query, session) {
    answer(query, session);
    answer(query, session);
  },
  'after a reply with another id'(query, session) {
    const other = answerOf(query, session);
    other.writeUInt16BE((other.readUInt16BE(0) + 1) & 0xffff, 0);
    session.reply(other);
    answer(query, session);
  },
  'after a reply to another question'(query, session) {
    const other = answerOf(query, session);
    other[13] = (other[13] ?? 0) ^ 1;
    session.reply(other);
    answer(query, session);
  },
  'after an empty frame and one of rubbish'(query, session) {
    session.reply(Buffer.alloc(0));
    session.reply(Buffer.from('rubbish'));
    answer(query, session);
  },
  'late, behind those that came after'(query, session) {
    setTimeout(() => answer(query, session), 20 + 30 * Math.random());
  },
};
for (const [way, handler] of Object.entries(ways)) {
  await t.test(`B17 row 16: answers that come ${way}`, async t => {
    const { at, upstream } = await setting(t, { handler });
    const told = await Promise.all(Array.from({ length: 30 }, async (_, i) => ask(at, `n${i}.wild.example`)));
    t.ok(told.every(({ text }) => text.rcode === 'NOERROR' && text.answers.length === 1));
    t.equal(upstream.connections, 1);
  });
}
