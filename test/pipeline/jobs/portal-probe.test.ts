// What counts as a portal: scripted networks. Sockets are played in test/os/http-get.test.ts, the daemon in
// test/scenarios/portal-detection.test.ts.

import fc from 'fast-check';
import t from 'tap';

import type { HttpRequest, HttpResponse } from '../../../src/base/ports.js';
import { Jobs } from '../../../src/pipeline/jobs/jobs.js';
import { type HttpPlace, portalProbeJob } from '../../../src/pipeline/jobs/portal-probe.js';
import { portal } from '../../../src/policy/portal.js';
import { PortalDetection } from '../../../src/policy/portal-detection.js';
import { ageClock, fakeClock, fakeRandom } from '../../fixtures/clock.js';
import { fakeNetwork } from '../../fixtures/network.js';
import { recorder } from '../../fixtures/recorder.js';
import { wireName } from '../../fixtures/records.js';

const PLACE: HttpPlace = { host: 'probe.example', port: 80, path: '/generate_204' };
const API = 'https://portal.example/api?x=1';
const NO_PORTAL: HttpResponse = { status: 204, location: undefined, contentType: '', body: Buffer.alloc(0) };
const page = (more: Partial<HttpResponse> = {}): HttpResponse => ({
  ...{ status: 200, location: undefined, contentType: 'text/html', body: Buffer.from('<html>') },
  ...more,
});
const api = (body: unknown, more: Partial<HttpResponse> = {}): HttpResponse =>
  page({ contentType: 'application/captive+json', body: Buffer.from(JSON.stringify(body)), ...more });

type Answer = (request: HttpRequest) => HttpResponse | undefined;

/** Starts the job in a network that answers like this. */
async function look(answer: Answer, apis: readonly string[] = [], place: HttpPlace | undefined = PLACE) {
  const clock = fakeClock();
  const network = fakeNetwork();
  const { observer, count } = recorder();
  const requests: HttpRequest[] = [];
  const found = { url: 'none' as string | undefined };
  const window = portal(ageClock(clock), []);
  network.datagram = name => ({ answers: `${name} 60 A 192.0.2.80` });
  const events = { opened: (url: string | undefined) => void (found.url = url), closed: () => undefined };
  const jobs = new Jobs(clock);
  jobs.begin();
  const detection = new PortalDetection(window, () => clock.monotonicMs(), { ...events, due: () => jobs.lookAgain() });
  const answering = { answer };
  jobs.add(
    portalProbeJob({
      detection,
      monotonicMs: () => clock.monotonicMs(),
      ports: {
        clock,
        random: fakeRandom(),
        dial: network.dial,
        dialDatagram: network.dialDatagram,
        observer,
        randomizesCase: () => true,
      },
      get: async request => {
        requests.push(request);
        return Promise.resolve(answering.answer(request));
      },
      place: () => place,
      apis: () => apis,
      resolvers: () => [{ address: '192.0.2.53', port: 53 }],
      roots: () => 'roots',
    }),
  );
  detection.configure(true);
  await clock.advance(1500);
  return { ...{ clock, network, requests, window, detection, jobs, answering, count }, found: () => found.url };
}

await t.test('204 without a body: no portal', async t => {
  const { window, requests, network, count, clock } = await look(() => NO_PORTAL);
  t.equal(window.open, undefined);
  t.match(requests, [
    { address: '192.0.2.80', host: 'probe.example', port: 80, path: '/generate_204', tls: undefined },
  ]);
  t.same(
    network.datagrams.map(({ address, name }) => `${address} ${name}`),
    ['192.0.2.53 probe.example.', '192.0.2.53 probe.example.'],
    "A and AAAA, of the network's resolver alone",
  );
  t.equal(count('cleartext', 'portal'), 2);
  await clock.advance(3_600_000);
  t.equal(requests.length, 1, 'never again, as long as nothing happens');
});

await t.test('anything else that answers is a portal, and its page is shown', async t => {
  const cases: readonly (readonly [HttpResponse, string])[] = [
    [page({ status: 302, location: 'http://login.hotel.test/?a=b' }), 'http://login.hotel.test/?a=b'],
    [page({ status: 307, location: '/login' }), 'http://probe.example/login'],
    [page(), 'http://probe.example/generate_204'],
    [page({ status: 511 }), 'http://probe.example/generate_204'],
    [page({ status: 302, location: 'javascript:alert(1)' }), 'http://probe.example/generate_204'],
    [page({ status: 302, location: 'http://me:secret@bank.example/' }), 'http://probe.example/generate_204'],
    [page({ status: 302, location: `http://a.example/${'x'.repeat(3000)}` }), 'http://probe.example/generate_204'],
    [
      page({ status: 302, location: 'http://höt€l.test/\u001b[2J<script>"' }),
      'http://xn--htl-sna5071b.test/%1B[2J%3Cscript%3E%22',
    ],
  ];
  for (const [response, url] of cases) {
    const { found, window } = await look(() => response);
    t.equal(found(), url);
    t.match(window.open, { cause: { by: 'detected', url } });
  }
});

await t.test("the names that a portal opens are its page's alone, and never a whole top-level domain", async t => {
  const opened = async (location: string, name: string): Promise<boolean | undefined> =>
    (await look(() => page({ status: 302, location }))).window.covers(wireName(name));
  t.ok(await opened('http://login.hotel.test/', 'login.hotel.test'));
  t.notOk(await opened('http://login.hotel.test/', 'hotel.test'));
  t.notOk(await opened('http://com/', 'bank.com'));
  t.notOk(await opened('http://com./', 'bank.com'));
  t.notOk(await opened('http://192.0.2.1/', 'www.example'));
});

await t.test('no answer, and no address: unknown, and nothing changes', async t => {
  const silent = await look(() => undefined);
  t.equal(silent.window.open, undefined);
  await silent.clock.advance(60_000);
  t.equal(silent.requests.length, 4, 'some more looks, then none');
  const nameless = await look(() => page());
  t.not(nameless.window.open, undefined);
  const literal = await look(() => NO_PORTAL, [], { ...PLACE, host: '2001:db8::1' });
  t.same(literal.network.datagrams, [], 'an address is not looked up');
  t.match(literal.requests, [{ address: '2001:db8::1', host: '2001:db8::1' }]);
});

await t.test('the API of the network comes first (RFC 8908), over TLS', async t => {
  const answer =
    (said: HttpResponse | undefined): Answer =>
    ({ host }) =>
      host === 'portal.example' ? said : NO_PORTAL;
  const captive = await look(answer(api({ captive: true, 'user-portal-url': 'https://portal.example/page' })), [API]);
  t.equal(captive.found(), 'https://portal.example/page');
  t.match(captive.requests, [
    { host: 'portal.example', port: 443, path: '/api?x=1', tls: { roots: 'roots' }, accept: /captive\+json/ },
  ]);
  t.equal(captive.requests.length, 1, 'the URL of the configuration is not needed');
  t.equal((await look(answer(api({ captive: true })), [API])).found(), undefined, 'a portal without a page');
  const free = await look(() => api({ captive: false }), [API]);
  t.equal(free.window.open, undefined);
  t.equal(free.requests.length, 1);
});

await t.test('what is no sound API is as if there were none: the URL is asked', async t => {
  const sound = { captive: false };
  const unsound: readonly (readonly [string, HttpResponse | undefined])[] = [
    [API, undefined],
    [API, api(sound, { status: 302, location: 'https://other.example/api' })],
    [API, api(sound, { contentType: 'text/html' })],
    [API, api({ captive: 'false' })],
    [API, api({})],
    [API, api([])],
    [API, api(null)],
    [API, api(sound, { body: Buffer.from('{"captive": false') })],
    ['http://portal.example/api', api(sound)],
    ['https://me@portal.example/api', api(sound)],
    ['file:///etc/passwd', api(sound)],
    ['https://', api(sound)],
    ['', api(sound)],
  ];
  for (const [url, said] of unsound) {
    const { found } = await look(({ host }) => (host === 'portal.example' ? said : page()), [url]);
    t.equal(found(), 'http://probe.example/generate_204', url);
  }
  const unrestricted = await look(() => page(), ['urn:ietf:params:capport:unrestricted']);
  t.same([unrestricted.requests, unrestricted.window.open], [[], undefined], 'RFC 8910: there is no portal');
});

await t.test('the window closes when the URL says that the portal is gone', async t => {
  const { answering, clock, window, requests } = await look(() => page());
  t.not(window.open, undefined);
  answering.answer = () => NO_PORTAL;
  await clock.advance(5100);
  t.equal(window.open, undefined);
  t.equal(requests.length, 2);
});

await t.test('closed while it looks: the result does not count', async t => {
  const { detection, clock, jobs, window, answering } = await look(() => undefined);
  answering.answer = () => {
    jobs.close();
    return page();
  };
  detection.trigger('network');
  await clock.advance(5000);
  t.equal(window.open, undefined);
});

await t.test('any response: never an error, and what is shown is printable', async () => {
  const response = fc.record({
    status: fc.integer({ min: 100, max: 599 }),
    location: fc.option(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl()), { nil: undefined }),
    contentType: fc.constantFrom('application/captive+json', 'application/json; charset=utf-8', 'text/html', ''),
    body: fc
      .oneof(
        fc.json(),
        fc.record({ captive: fc.boolean(), 'user-portal-url': fc.string() }).map(each => JSON.stringify(each)),
      )
      .map(text => Buffer.from(text)),
  });
  await fc.assert(
    fc.asyncProperty(response, fc.oneof(fc.webUrl(), fc.string(), fc.constant(API)), async (said, url) => {
      const { window, found, jobs } = await look(() => said, [url]);
      jobs.close();
      const { cause } = window.open ?? { cause: { by: 'command' as const } };
      const shown = cause.by === 'detected' ? (cause.url ?? '') : '';
      return (
        /^[\x21-\x7e]*$/.test(shown) &&
        /^(https?:|$)/.test(shown) &&
        (found() === 'none') === (window.open === undefined)
      );
    }),
    { numRuns: 300 },
  );
});
