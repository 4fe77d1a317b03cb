// The daemon in networks with a captive portal: it finds out by itself when it has reason to look. With names and port 53,
// it is played in test/interop/networks.test.ts.

import { createServer } from 'node:http';
import { createServer as tlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { certificate } from '../fixtures/certificates.js';
import { eventually, Rig } from '../fixtures/rig.js';

/** A web server in the network: while there is a portal, the portal answers in its place. */
async function network(rig: Rig, isPortal: boolean) {
  const web = { isPortal, requests: 0 };
  const server = createServer((_request, response) => {
    web.requests++;
    if (web.isPortal) response.writeHead(302, { location: 'http://192.0.2.1/login' }).end();
    else response.writeHead(204).end();
  });
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve));
  rig.onEnd(() => server.close());
  return { web, detect: `http://127.0.0.1:${(server.address() as AddressInfo).port}/generate_204` };
}

await t.test('no server is reached any more: the daemon looks for a portal, and says what it has found', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const { web, detect } = await network(rig, false);
  const upstream = { servers: [main.entry] };
  await rig.start({ upstream, portal: { detect } });
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  await eventually(() => web.requests, 1);
  await sleep(1500);
  await rig.answer(rig.fresh());
  t.equal(web.requests, 1, 'it does not look without a reason');
  web.isPortal = true;
  await main.dot.close();
  const open = async (): Promise<boolean> => {
    void rig.answer(rig.fresh());
    await sleep(200);
    return rig.overview().portal !== undefined;
  };
  t.equal(await eventually(open, true), true);
  t.match(rig.overview().portal, { by: 'detected', url: 'http://192.0.2.1/login' });
  t.match(rig.status['portal'], { by: 'detected', url: 'http://192.0.2.1/login' });
  t.match(rig.lines.join(''), /this network has a captive portal; its page is http:\/\/192\.0\.2\.1\/login/);
  await rig.reload({ upstream, portal: { detect: 'off' } });
  t.equal(rig.overview().portal, undefined);
  t.match(rig.lines.join(''), /captive portals are not looked for any more[\s\S]*portal window closed/);
});

await t.test('the API that the network has announced is asked first, and its end closes the window', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const { web, detect } = await network(rig, false);
  const said = { captive: true, asked: 0 };
  const { cert, key } = certificate({ common: 'x', names: [], ips: ['127.0.0.1'], issuer: rig.ca });
  const api = tlsServer({ cert, key }, (_request, response) => {
    said.asked++;
    response
      .writeHead(200, { 'content-type': 'application/captive+json' })
      .end(JSON.stringify({ captive: said.captive, 'user-portal-url': 'https://portal.example/' }));
  });
  await new Promise<void>(resolve => void api.listen(0, '127.0.0.1', resolve));
  rig.onEnd(() => api.close());
  rig.announced = { resolvers: [], portals: [`https://127.0.0.1:${(api.address() as AddressInfo).port}/api`] };
  await rig.start({ upstream: { servers: [main.entry] }, portal: { detect } });
  t.equal(await eventually(() => rig.overview().portal?.url, 'https://portal.example/'), 'https://portal.example/');
  said.captive = false;
  t.equal(await eventually(() => rig.overview().portal, undefined), undefined);
  t.match(rig.lines.join(''), /the captive portal lets everything through now/);
  t.same([said.asked, web.requests], [2, 0]);
});
