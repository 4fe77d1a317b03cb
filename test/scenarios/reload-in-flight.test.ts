// Questions that are in flight when a reload exchanges what serves them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { authority, certificate } from '../fixtures/certificates.js';
import { exchangeUdp, queryMessage } from '../fixtures/client.js';
import { answering, HOSTS } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const SLOW_MS = 200;

for (const [host, front] of Object.entries(HOSTS))
  await t.test(`${host}: what a listener has read is answered, though a reload replaces it meanwhile`, async t => {
    const ca = authority();
    const identity = certificate({ common: 'dns.test', names: ['dns.test'], issuer: ca });
    const upstream = await dotServer({
      identity,
      handler: (query, session) => void setTimeout(() => answering()(query, session), SLOW_MS),
    });
    const directory = temporaryDirectory();
    writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
    const [port, another] = [await freePort(), await freePort()];
    const textWith = (ports: readonly number[], how: string): string => `
listen: [${ports.map(each => `"127.0.0.1:${each}"`).join(', ')}]
metrics: { listen: off }
front: ${how}
control: { socket: ${join(directory.path, 'control.sock')} }
dnssec: { mode: off }
upstream:
  ca_file: ${join(directory.path, 'ca.pem')}
  servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }]
`;
    const program = await startDotstub(textWith([port], front));
    t.teardown(async () => {
      await Promise.all([program.stop(), upstream.close()]);
      directory.remove();
    });
    const reloaded = async (how: () => void): Promise<void> => {
      const taken = program.log().split('taken over').length;
      how();
      while (program.log().split('taken over').length === taken) await sleep(5);
    };
    /** Asks, reloads while the answer is on its way, and waits for both. */
    const across = async (name: string, at: number, text: string): Promise<Buffer | undefined> => {
      const asked = upstream.queries;
      const reply = exchangeUdp({ address: '127.0.0.1', port: at }, queryMessage(name));
      while (upstream.queries === asked) await sleep(5);
      writeFileSync(program.configFile, text);
      await reloaded(() => program.child.kill('SIGHUP'));
      return reply;
    };
    t.ok(await across('www.example', port, textWith([port, another], front)), 'an address came');
    t.ok(await across('alias.example', another, textWith([port], front)), 'the address that was asked went');
    for (const [name, next] of Object.entries({ ...HOSTS, 'two threads': '{ threads: 2 }' })) {
      const label = name.replace(' ', '-');
      t.ok(await across(`${label}.wild.example`, port, textWith([port], next)), `to ${name}`);
      const after = Array.from({ length: 8 }, async (_, i) =>
        exchangeUdp({ address: '127.0.0.1', port }, queryMessage(`${label}${i}.wild.example`), 2000),
      );
      t.ok(
        (await Promise.all(after)).every(reply => reply !== undefined),
        `${name} answers what comes after that`,
      );
      writeFileSync(program.configFile, textWith([port], front));
      await reloaded(() => program.child.kill('SIGHUP'));
    }
  });
