// A browser that finds a page through DNS over HTTPS, without the resolver of the system: the program as it runs, and Chromium
// with its setting "secure DNS". Debian package: chromium.

import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { chromium } from 'playwright-core';
import t, { type Test } from 'tap';

import { certificate } from '../fixtures/certificates.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing, program } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const HOST = '127.0.0.1';
const PAGE = 'only-here.example';

await t.test('Chromium with a template', { skip: missing('chromium') }, async t => {
  const on = bench(t);
  const own = certificate({ common: 'x', names: ['dns.test'], ips: [HOST], issuer: on.ca });
  const [cert, key] = [join(on.path, 'own.pem'), join(on.path, 'own.key')];
  writeFileSync(cert, own.cert);
  writeFileSync(key, own.key);
  const port = await freePort();
  const daemon = await startDotstub(`
listen: ["${HOST}:${await freePort()}"]
listen_https: { addresses: ["${HOST}:${port}"], certificate: ${cert}, key: ${key} }
metrics: { listen: off }
log: { queries: full }
local: { records: ["${PAGE}. 60 A ${HOST}"] }
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.9"] }] }
`);
  on.onEnd(async () => void (await daemon.stop()));
  const web = createServer((_request, response) => response.end('<p>found</p>')).listen(0, HOST);
  on.onEnd(() => {
    web.close();
    web.closeAllConnections();
  });
  await until(() => web.listening, 'the web server');
  const at = web.address();
  const webPort = at !== null && typeof at === 'object' ? at.port : 0;

  /** What the page says to a browser that knows this public key. */
  async function visit(t: Test, profile: string, pin: string): Promise<string> {
    // The setting of a user. Flags do not set it, and a policy would be one of the machine.
    const directory = join(on.path, profile);
    mkdirSync(directory);
    const setting = { mode: 'secure', templates: `https://${HOST}:${port}/dns-query{?dns}` };
    writeFileSync(join(directory, 'Local State'), JSON.stringify({ dns_over_https: setting }));
    const browser = await chromium.launchPersistentContext(directory, {
      executablePath: program('chromium') ?? '',
      args: [
        ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
        // In place of an authority in the store of the user. It is obeyed with a profile of one's own only.
        `--ignore-certificate-errors-spki-list=${pin}`,
      ],
    });
    t.teardown(async () => browser.close());
    const page = await browser.newPage();
    return page.goto(`http://${PAGE}:${webPort}/`, { timeout: 30_000 }).then(
      async () => page.locator('p').innerText(),
      (error: unknown) => String(error),
    );
  }

  await t.test('it finds a page whose name only this resolver knows', async t => {
    t.equal(await visit(t, 'known', own.pin), 'found');
    await until(() => new RegExp(`"name":"${PAGE}\\."[^\\n]*"transport":"https"`).test(daemon.log()), 'the query log');
  });
  await t.test('it does not where it does not trust the certificate', async t => {
    const before = daemon.log().split(PAGE).length;
    t.match(await visit(t, 'unknown', on.ca.pin), 'ERR_NAME_NOT_RESOLVED');
    t.equal(daemon.log().split(PAGE).length, before, 'and does not ask');
  });
});
