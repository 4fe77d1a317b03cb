// Makes deploy/status-page.png, the picture of the status page in the README, in two and a half minutes:
//
//   npm run build && node --import=tsx test/picture.ts
//
// The page is that of a daemon in strict mode with two servers, which clients ask some seventy times a second.
// Debian package: chromium.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { chromium } from 'playwright-core';

import { authority, certificate } from './fixtures/certificates.js';
import { ask } from './fixtures/client.js';
import { dotServer } from './fixtures/dot-server.js';
import { freePort } from './fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from './fixtures/program.js';
import { program } from './fixtures/servers.js';
import { signedTree } from './fixtures/signed-records.js';

const PATH = new URL('../deploy/status-page.png', import.meta.url).pathname;
const SECONDS = 130;
const WIDTH = 1216;
const NAMES = ['dns.example', 'dns.example.net'];
/** So long are answers on their way from a server. */
const AWAY_MS = [9, 14];
const DAY_MS = 86_400_000;

const tree = signedTree(
  { '.': { text: '' }, 'example.': { text: '*.example. 300 A 192.0.2.80\n' } },
  Math.floor(Date.now() / 1000),
);
const ca = authority();
const directory = temporaryDirectory();
const state = temporaryDirectory();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const servers = await Promise.all(
  NAMES.map(async (name, i) => {
    const notAfter = new Date(Date.now() + (41 + 20 * i) * DAY_MS);
    return dotServer({
      identity: certificate({ common: name, names: [name], issuer: ca, notAfter }),
      address: `127.0.0.${i + 1}`,
      handler(query, session) {
        const reply = tree.answer(query);
        if (reply !== undefined) setTimeout(() => session.reply(reply), AWAY_MS[i] ?? 0);
      },
    });
  }),
);
const at = { address: '127.0.0.1', port: await freePort() };
const web = `127.0.0.1:${await freePort()}`;
const daemon = await startDotstub(`
listen: ["127.0.0.1:${at.port}"]
upstream:
  ca_file: ${join(directory.path, 'ca.pem')}
  policy: round_robin
  servers:
${servers.map(({ port }, i) => `    - { name: ${NAMES[i] ?? ''}, addresses: ["127.0.0.${i + 1}:${port}"] }`).join('\n')}
metrics: { listen: "${web}" }
dnssec: { trust_anchors: [${tree.anchors.map(each => JSON.stringify(each)).join(', ')}] }
state_directory: ${state.path}
`);
const browser = await chromium.launch({
  executablePath: program('chromium') ?? '',
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});
const page = await browser.newPage({ viewport: { width: WIDTH, height: 800 }, colorScheme: 'light' });
await page.goto(`http://${web}/`);

let asked = 0;
for (const endMs = Date.now() + SECONDS * 1000; Date.now() < endMs;) {
  // A tenth of the names is new.
  const name = asked++ % 10 === 0 ? `new-${asked}.example` : `known-${asked % 97}.example`;
  void ask(at, name).catch(() => undefined);
  await sleep(1000 / (65 + 12 * Math.sin(Date.now() / 6000) + 6 * Math.random()));
}
await page.evaluate('scrollTo(0, 0)');
const { height = 0, y = 0 } = (await page.locator('.wide').first().boundingBox()) ?? {};
await page.screenshot({ path: PATH, clip: { x: 0, y: 0, width: WIDTH, height: y + height + 24 } });
await browser.close();
await daemon.stop();
await Promise.all(servers.map(async each => each.close()));
directory.remove();
state.remove();
