// Clients that take all they can get, beside the measure: what Unbound gives them, with as many places. Debian packages: unbound.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { ask } from '../fixtures/client.js';
import { Crowd, LARGE, TEXTS } from '../fixtures/crowd.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, missing, start, unboundTls } from '../fixtures/servers.js';

const skip = missing('unbound');
/** Sessions that a program has room for, over each transport. */
const PLACES = 1000;
/** What one client may cost. */
const MOST_MIB = 16;

/** Where a program listens, and its process. */
interface Started {
  readonly ports: { readonly tcp: number; readonly tls: number };
  readonly pid: number;
}

/** Unbound with the names that the crowd asks for. */
async function unbound(on: Bench): Promise<Started> {
  const ports = { tcp: await freePort(), tls: await freePort() };
  const file = join(on.path, 'unbound.conf');
  writeFileSync(
    file,
    `server:
  interface: 127.0.0.1@${ports.tcp}
${unboundTls(on, ports.tls)}
  incoming-num-tcp: ${PLACES}
  module-config: "iterator"
  local-zone: example. static
  local-data: "www.example. 300 A 192.0.2.80"
${TEXTS.map(text => `  local-data: '${LARGE}. 300 TXT "${text}"'`).join('\n')}
remote-control:
  control-enable: no
`,
  );
  const { child } = await start(on, 'unbound', ['-d', '-c', file], ports.tcp);
  return { ports, pid: child.pid ?? 0 };
}

/** Dotstub, with all of these names in its cache. */
async function dotstub(on: Bench): Promise<Started> {
  const server = await unbound(on);
  const ports = { tcp: await freePort(), tls: await freePort() };
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${ports.tcp}"]
listen_tls: { addresses: ["127.0.0.1:${ports.tls}"], certificate: ${on.certFile}, key: ${on.keyFile} }
metrics: { listen: "off" }
state_directory: ${on.path}
upstream:
  mode: strict
  ca_file: ${on.caFile}
  servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.ports.tls}"] }]`);
  on.onEnd(async () => void (await daemon.stop()));
  return { ports, pid: daemon.child.pid ?? 0 };
}

const PROGRAMS = { unbound, dotstub } as const;

/** A program, and a crowd that knows it. */
async function setUp(t: Test, program: keyof typeof PROGRAMS): Promise<Crowd> {
  const started = await PROGRAMS[program](bench(t));
  const at = { address: '127.0.0.1', port: started.ports.tcp };
  for (let i = 0; i < 50; i++) {
    const { text } = await ask(at, LARGE, { type: 'TXT', tcp: true });
    if (i === 0) t.equal(text.answers.length, TEXTS.length, program);
  }
  await ask(at, 'www.example');
  return new Crowd(t, started);
}

const SIX = ['0.2', '0.3', '0.4', '0.5', '0.6', '0.7'];

for (const over of ['tcp', 'tls'] as const) {
  await t.test(
    `83 MB of large answers for each of six clients that do not read, ${over}: less than ${MOST_MIB} MiB`,
    { skip },
    async t => {
      const grown = { unbound: 0, dotstub: 0 };
      for (const program of ['unbound', 'dotstub'] as const) {
        const crowd = await setUp(t, program);
        grown[program] = await crowd.greedy(over, SIX, async () => Promise.resolve());
      }
      t.comment(JSON.stringify(grown));
      t.ok(grown.dotstub < MOST_MIB, `${grown.dotstub.toFixed(1)} MiB; Unbound ${grown.unbound.toFixed(1)} MiB`);
    },
  );

  await t.test(`1,020 connections that say nothing, ${over}: all newcomers are served`, { skip }, async t => {
    const served = { unbound: 0, dotstub: 0 };
    for (const program of ['unbound', 'dotstub'] as const) {
      const crowd = await setUp(t, program);
      await crowd.silent(over);
      served[program] = await crowd.served(over, '2');
    }
    t.comment(JSON.stringify(served));
    t.equal(served.dotstub, 32, `of 32; Unbound: ${served.unbound}`);
  });
}
