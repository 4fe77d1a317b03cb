// Servers that go and come back, with a real daemon whose front thread holds ready replies. OUTAGE_SECONDS=300 makes each
// outage last five minutes.

import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { EDE } from '../../src/base/outcome.js';
import { messageToText } from '../../src/wire/message.js';
import { type Told, tryAsk } from '../fixtures/client.js';
import { dotServer, type DotServer } from '../fixtures/dot-server.js';
import { responseTo } from '../fixtures/messages.js';
import { Rig } from '../fixtures/rig.js';

const OUTAGE_SECONDS = Number(process.env['OUTAGE_SECONDS'] ?? 8);
const NAMES = Array.from({ length: 12 }, (_, i) => `n${i}.example`);
const TTL_SEC = 1;
/** RFC 8767 §5, and a little for a busy machine. */
const BACK_WITHIN_MS = 30_000 + 10_000;

t.setTimeout(2 * (OUTAGE_SECONDS * 1000 + BACK_WITHIN_MS) + 30_000);

const codesOf = (told: Told | undefined): number[] => told?.text.extendedErrors.map(({ infoCode }) => infoCode) ?? [];

for (const way of ['refuses connections', 'is silent'] as const)
  await t.test(
    `the only server ${way} for ${OUTAGE_SECONDS} s: stale answers in time, and fresh ones after it`,
    async t => {
      const rig = await Rig.make(t);
      let [generation, isSilent] = [1, false];
      const answer = (query: Buffer): Buffer | undefined => {
        const name = messageToText(query)?.question?.name ?? '.';
        return isSilent ? undefined : responseTo(query, { answers: `${name} ${TTL_SEC} A 192.0.2.${generation}` });
      };
      const server = await rig.server('dns.test', { answer });
      await rig.start({ upstream: { servers: [server.entry] }, front: { threads: 1 } });
      // The third time, the thread answers.
      for (const name of [...NAMES, ...NAMES, ...NAMES]) t.equal(await rig.answer(name), 'NOERROR 192.0.2.1');

      if (way === 'is silent') isSilent = true;
      else await server.dot.close();
      await sleep(TTL_SEC * 1000 + 200);
      const until = performance.now() + OUTAGE_SECONDS * 1000;
      let slowestMs = 0;
      for (let round = 0; round === 0 || performance.now() < until; round++) {
        const all = await Promise.all(NAMES.map(async name => tryAsk(rig.at, name)));
        for (const [i, told] of all.entries()) {
          slowestMs = Math.max(slowestMs, told?.ms ?? Infinity);
          t.same(codesOf(told), [EDE.STALE_ANSWER], `${NAMES[i] ?? ''}, round ${round}`);
          t.match(told?.text.answers, [{ data: '192.0.2.1', ttl: 30 }]);
        }
        await sleep(500);
      }
      t.comment(`the slowest answer took ${slowestMs.toFixed(0)} ms`);
      t.ok(slowestMs < 4000, 'long before a client gives up; 1.8 s is what the daemon waits');

      generation = 2;
      isSilent = false;
      let again: DotServer | undefined;
      if (way !== 'is silent')
        again = await dotServer({
          ...{ identity: rig.identity, port: server.port },
          handler: (query, session) => session.reply(answer(query) ?? Buffer.alloc(0)),
        });
      const backAt = performance.now();
      const waiting = new Set(NAMES);
      while (waiting.size > 0 && performance.now() - backAt < BACK_WITHIN_MS) {
        for (const name of [...waiting]) {
          const told = await tryAsk(rig.at, name);
          if (codesOf(told).length === 0 && told?.text.answers[0]?.data === '192.0.2.2') waiting.delete(name);
        }
        await sleep(200);
      }
      t.comment(`all names were fresh after ${((performance.now() - backAt) / 1000).toFixed(1)} s`);
      t.same([...waiting], [], 'all of them have fresh data');
      await again?.close();
    },
  );
