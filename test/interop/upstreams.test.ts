// Unbound, Knot Resolver and dnsdist as DNS-over-TLS servers, each with NSD as the authoritative server, on 127.0.0.1 with the
// configurations of fixtures/servers.ts. Debian packages: unbound knot-resolver dnsdist nsd.

import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import {
  type Bench,
  bench,
  dnsdist,
  knotResolver,
  missing,
  nsd,
  type RunningServer,
  unbound,
} from '../fixtures/servers.js';
import { everyKindOfAnswer } from './answers.js';

/** Starts the program in strict mode with this server. */
async function dotstubBefore(on: Bench, ...servers: At[]): Promise<At & { log(): string }> {
  const port = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
special_names: { forward: [test] }
metrics: { listen: off }
access: { per_client: 0 }
upstream:
  policy: ordered
  ca_file: ${on.caFile}
  servers:
${servers.map(server => `    - { name: dns.test, addresses: ["${server.address}:${server.port}"] }`).join('\n')}
`);
  on.onEnd(async () => void (await program.stop()));
  return { address: '127.0.0.1', port, log: program.log };
}

await t.test('Unbound', { skip: missing('unbound', 'nsd') }, async t => {
  const on = bench(t);
  const at = await dotstubBefore(on, await unbound(on, await nsd(on)));
  await everyKindOfAnswer(t, at);
  t.match((await ask(at, 'www.local.test2')).text.answers, [{ data: '192.0.2.7' }], 'its local-data');
});

await t.test('Knot Resolver', { skip: missing('kresd', 'nsd') }, async t => {
  const on = bench(t);
  await everyKindOfAnswer(t, await dotstubBefore(on, await knotResolver(on, await nsd(on))));
});

await t.test('dnsdist', { skip: missing('dnsdist', 'nsd') }, async t => {
  const on = bench(t);
  await everyKindOfAnswer(t, await dotstubBefore(on, await dnsdist(on, await nsd(on))));
});

type Restart = (on: Bench, authority: At, port?: number) => Promise<At & { server: RunningServer }>;
const KILLED: readonly (readonly [name: string, program: string, rounds: number, restart: Restart])[] = [
  ['Unbound', 'unbound', 10, async (on, authority, port) => unbound(on, authority, '', port)],
  ['Knot Resolver', 'kresd', 3, knotResolver],
  ['dnsdist', 'dnsdist', 3, dnsdist],
];
for (const [name, program, rounds, restart] of KILLED) {
  await t.test(
    `${name} killed and restarted ${rounds} times under 500 queries/s, with a second server: no query fails or is slow`,
    { skip: missing('unbound', 'nsd', program) },
    async t => {
      const on = bench(t);
      const authority = await nsd(on);
      const first = await restart(on, authority);
      const at = await dotstubBefore(on, first, await unbound(on, authority));
      await ask(at, 'www.test');
      let { server } = first;
      const slow: number[] = [];
      const bad: string[] = [];
      let asked = 0;
      const waiting: Promise<void>[] = [];
      const PER_ROUND = 500;
      for (let round = 0; round < rounds; round++) {
        const startedAtMs = Date.now();
        for (let i = 0; i < PER_ROUND; i++) {
          if (i === 150) await server.stop('SIGKILL');
          if (i === 300) ({ server } = await restart(on, authority, first.port));
          waiting.push(
            ask(at, `r${round}-${asked++}.wild.test`).then(({ text, ms }) => {
              if (text.rcode !== 'NOERROR') bad.push(text.rcode);
              if (ms > 2500) slow.push(ms);
            }),
          );
          // About 500 per second.
          const aheadMs = startedAtMs + 2 * i - Date.now();
          if (aheadMs > 1) await sleep(aheadMs);
        }
      }
      await Promise.all(waiting);
      t.equal(asked, rounds * PER_ROUND);
      t.same(bad, []);
      t.same(slow, []);
    },
  );
}
