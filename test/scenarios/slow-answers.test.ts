// Large answers that come slowly, over real TLS, from a server that sends one answer after the other.

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { answering, setting } from '../fixtures/daemon.js';
import type { ServerSession } from '../fixtures/dot-server.js';
import { framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';

const answer = answering();
const nameOf = (query: Buffer): string => messageToText(query)?.question?.name ?? '';
const answerOf = (query: Buffer, session: ServerSession): Buffer => {
  let reply = Buffer.alloc(0);
  answer(query, { ...session, reply: message => void (reply = Buffer.from(message)) });
  return reply;
};

for (const bytesPerSecond of [100, 4000, 9000]) {
  const words = `whenever a large answer is sent at ${bytesPerSecond} octets a second, over any connection`;
  await t.test(`${words}, it holds nobody up`, async t => {
    const busy = new Set<ServerSession>();
    const waiting = new Map<ServerSession, Buffer[]>();
    const slowly = (octets: Buffer, session: ServerSession): void => {
      busy.add(session);
      let sent = 0;
      const timer = setInterval(() => {
        session.socket.write(octets.subarray(sent, (sent += bytesPerSecond / 20)));
        if (sent >= octets.length) busy.delete(session);
        if (sent < octets.length && !session.socket.destroyed) return;
        clearInterval(timer);
        for (const query of waiting.get(session)?.splice(0) ?? []) answer(query, session);
      }, 50);
      session.socket.on('close', () => clearInterval(timer));
    };
    const { at, upstream } = await setting(t, {
      handler(query, session) {
        if (busy.has(session)) waiting.set(session, [...(waiting.get(session) ?? []), query]);
        else if (nameOf(query) !== 'large.wild.example.') answer(query, session);
        else slowly(framed(Buffer.concat([answerOf(query, session), Buffer.alloc(60_000)])), session);
      },
    });
    await ask(at, 'first.wild.example');
    const large = ask(at, 'large.wild.example');
    await new Promise(resolve => setTimeout(resolve, 150));
    const told = await Promise.all(Array.from({ length: 60 }, async (_, i) => ask(at, `n${i}.wild.example`)));
    t.equal(told.filter(({ text, ms }) => text.rcode === 'NOERROR' && ms < 3000).length, 60);
    t.ok(upstream.connections <= 4, `${upstream.connections} connections`);
    await large;
  });
}
