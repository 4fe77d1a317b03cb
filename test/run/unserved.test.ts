// The program with listen addresses that this machine does not have. 192.0.2.0/24 is nobody's (RFC 5737).

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { tryAsk } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';

for (const threads of [0, 1])
  await t.test(
    `front threads: ${threads}: it starts, serves the others, and names those it does not serve`,
    async t => {
      const [port, http] = [await freePort(), await freePort()];
      const daemon = await startDotstub(`
listen: ["192.0.2.1:${port}", "127.0.0.1:${port}", "[fe80::1%nosuch0]:${port}"]
metrics: { listen: "192.0.2.1:${http}" }
front: { threads: ${threads} }
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.9"] }] }
`);
      const at = { address: '127.0.0.1', port };
      for (const tcp of [false, true]) t.ok(await tryAsk(at, '.', { type: 'ANY', tcp }));
      const reply = await askDaemon(daemon.controlSocket, { command: 'status', args: [] });
      t.match(reply, {
        data: {
          listening: [`127.0.0.1:${port} (UDP)`, `127.0.0.1:${port} (TCP)`],
          unserved: [
            `listen: 192.0.2.1:${port} is served once it is an address of this machine, which it is not now`,
            `listen: [fe80::1%nosuch0]:${port} is served once there is an interface nosuch0: this machine has none now`,
            `metrics.listen: 192.0.2.1:${http} is served once it is an address of this machine, which it is not now`,
          ],
          health: /listen: 192\.0\.2\.1:\d+ is served once/,
        },
      });
      t.match(daemon.log(), /is served once there is an interface nosuch0/);
      t.equal((await daemon.stop()).code, 0);
    },
  );
