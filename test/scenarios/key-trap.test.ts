// B17 row 13: a client that queries names of a hostile zone without end does not delay other clients.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { authority, certificate } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { keyTrap } from '../fixtures/key-trap.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const ATTACKS = 300;
const QUESTIONS = 150;
/** For attacks, on a busy machine. */
const PATIENCE_MS = 60_000;

await t.test('KeyTrap with 12 keys, 3 tags and 40 signatures per answer does not delay other clients', async t => {
  const trap = keyTrap(12, 3, 40);
  const ca = authority();
  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
    handler: (query, session) => {
      const reply = trap.answer(query);
      if (reply !== undefined) session.reply(reply);
    },
  });
  const directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
  const [port, metricsPort] = [await freePort(), await freePort()];
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: "127.0.0.1:${metricsPort}" }
front: { threads: 0 }
access: { per_client: 1000 }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
dnssec: { trust_anchors: [${trap.anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
  t.teardown(async () => {
    await daemon.stop();
    await server.close();
    directory.remove();
  });
  const at = { address: '127.0.0.1', port };
  t.ok((await ask(at, 'n0.example', { dnssec: true })).text.flags.includes('ad'));
  t.match((await ask(at, 'a.trap')).text, {
    rcode: 'SERVFAIL',
    extendedErrors: [
      { infoCode: 0, text: /validation would exceed a limit: a\.trap\. A: too many signatures to check/ },
    ],
  });
  const attack = Array.from({ length: ATTACKS }, async (_, i) => ask(at, `a${i}.trap`, { timeoutMs: PATIENCE_MS }));
  const times: number[] = [];
  for (let i = 0; i < QUESTIONS; i++) {
    const { ms, text } = await ask(at, `n${i % 200}.example`, { dnssec: true });
    t.ok(text.flags.includes('ad'));
    times.push(ms);
  }
  t.ok((await Promise.all(attack)).every(({ text }) => text.rcode === 'SERVFAIL'));
  times.sort((a, b) => a - b);
  t.comment(
    `${ATTACKS} attacks, meanwhile ${QUESTIONS} questions: median ${times[QUESTIONS >> 1]?.toFixed(1)} ms, longest ${times.at(-1)?.toFixed(1)} ms`,
  );
  const body = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const hits = Number(/dotstub_dnssec_limit_hits_total\{limit="signatures"\} (\d+)/.exec(body)?.[1]);
  // On a busy machine, some have reached the end of their time before.
  t.ok(hits > ATTACKS / 2 && hits <= ATTACKS + 1, `${hits} of ${ATTACKS + 1}`);
});
