// What an overview says to people and to programs.

import t from 'tap';

import type { AddressOverview, Overview } from '../../src/base/overview.js';
import { privacyOf } from '../../src/control/privacy.js';
import {
  notReady,
  statusData,
  statusLine,
  statusText,
  upstreamsData,
  upstreamsText,
} from '../../src/control/status.js';
import { addressOverview, overviewOf, serverOverview } from '../fixtures/overview.js';

const main = (...addresses: Partial<AddressOverview>[]): Overview =>
  overviewOf({ servers: addresses.map((each, id) => serverOverview({ id, addresses: [addressOverview(each)] })) });
const refused: Partial<AddressOverview> = { state: 'failed', path: 'refuse', authenticated: false };
const plain: Partial<AddressOverview> = { state: 'failed', path: 'cleartext', authenticated: false };
const route = serverOverview({
  id: 9,
  label: '10.0.0.53',
  purpose: 'route',
  addresses: [addressOverview({ ...plain, state: 'probing', address: '10.0.0.53' })],
});

await t.test('one word for how queries travel now', async t => {
  const cases: readonly (readonly [wanted: string, what: string, Overview])[] = [
    ['none', 'no server at all', main()],
    ['authenticated', 'a server that has proved who it is', main({})],
    ['encrypted', 'one that has not', main({ authenticated: false })],
    ['authenticated', 'one of two reached', main({}, refused)],
    ['none', 'none reached', main(refused)],
    ['none', 'strict: it may be tried, but was not reached', main({ ...refused, path: 'tls' })],
    ['none', 'no address', main({ state: 'looking', path: 'refuse', address: undefined })],
    ['cleartext', 'opportunistic, without TLS', main(plain)],
    ['cleartext', 'opportunistic, not tried yet', main({ ...plain, state: 'probing' })],
    ['authenticated', 'a private server keeps others from being asked in cleartext', main({}, plain)],
    ['partly', 'one is tried again over TLS, one is asked in cleartext', main({ state: 'suspect' }, plain)],
    ['authenticated', 'what routes do is not meant', overviewOf({ servers: [serverOverview(), route] })],
    ['none', 'nor does a route stand in for a server', overviewOf({ servers: [...main(refused).servers, route] })],
  ];
  for (const [wanted, what, overview] of cases) t.equal(privacyOf(overview), wanted, what);
});

await t.test('a line for the service manager', async t => {
  t.equal(
    statusLine(main({}, refused)),
    'strict: queries go over TLS, to servers that have proved who they are (1 of 2 server addresses reached)',
  );
  t.equal(
    statusLine({ ...main(plain), mode: 'opportunistic' }),
    'opportunistic: queries go in cleartext (1 of 1 server address reached)',
  );
});

await t.test('health names every problem', async t => {
  const health = (more: Partial<Overview>): unknown => statusData(overviewOf(more))['health'];
  t.equal(health({}), 'nothing is wrong');
  t.match(health({ servers: main(refused).servers }), 'no server is reached');
  t.match(health({ draining: true }), 'it is being taken out of service');
  t.match(health({ clockIsSet: false }), "nobody keeps this machine's clock right");
  t.equal(health({ clockIsSet: undefined }), 'nothing is wrong', 'not known is not wrong');
  t.match(health({ reload: { taken: false, takenMs: 0 } }), 'the configuration file was refused');
  t.match(health({ waiting: ['log.format', 'front.io'] }), 'only in force after a restart: log.format, front.io');
  t.match(health({ unwritten: ['/x cannot be written'] }), '/x cannot be written');
  t.match(statusText(overviewOf({ draining: true })), /^health +it is being taken out of service$/m);
});

await t.test('readiness: draining, and no server that could be asked', async t => {
  t.equal(notReady(overviewOf()), undefined);
  t.equal(notReady(main(refused, { ...refused, path: 'tls' })), undefined, 'one may be tried');
  t.equal(notReady(main(refused)), 'no upstream server can be reached');
  t.equal(notReady(overviewOf({ servers: [...main(refused).servers, route] })), 'no upstream server can be reached');
  t.equal(notReady(overviewOf({ draining: true })), 'it is being taken out of service');
});

await t.test('why a server is not reached stands below the table', async t => {
  const lost = serverOverview({
    label: 'two',
    addresses: [
      addressOverview({
        address: undefined,
        state: 'looking',
        path: 'refuse',
        authenticated: false,
        connections: 0,
        rttMs: undefined,
        failure: 'no address',
      }),
    ],
  });
  t.match(
    upstreamsText({ servers: [serverOverview(), lost] }),
    /^server +address +state +identity +RTT +connections\none +192\.0\.2\.1 port 853 +over TLS +proved +12 ms +1\ntwo +address unknown +0\n\ntwo: no address$/,
  );
  t.match(upstreamsText({ servers: [] }), 'There is no server');
  const byDane = serverOverview({ addresses: [addressOverview({ dane: true })] });
  t.match(upstreamsText({ servers: [byDane] }), / over TLS +proved by DANE +12 ms/);
  t.match(upstreamsData({ servers: [byDane, lost] }), [{ dane: true }, { dane: undefined }]);
});

await t.test('servers of routes and of a portal window are in the report, with their purpose', async t => {
  const seen = overviewOf({ servers: [serverOverview(), route, { ...route, purpose: 'portal' }] });
  t.match(upstreamsText(seen), /^server +purpose[\s\S]*^one +main .*\n10\.0\.0\.53 +route .*\n10\.0\.0\.53 +portal /m);
  t.match(upstreamsData(seen), [{ upstream: 'one' }, { purpose: 'route' }, { purpose: 'portal' }]);
  t.equal(upstreamsData(seen)[0]?.['purpose'], undefined);
});

await t.test('for programs: the fields that there have always been, and what waits', async t => {
  t.same(JSON.parse(JSON.stringify(statusData(overviewOf({ waiting: ['log.format'] })))), {
    version: '1.2.3',
    up_seconds: 60,
    mode: 'strict',
    privacy: 'authenticated',
    privacy_words: 'queries go over TLS, to servers that have proved who they are',
    dnssec: 'require',
    cache: { entries: 3, bytes: 2048, limit_bytes: 1 << 20 },
    inflight: 0,
    listening: ['[::1]:53 (UDP)'],
    portal_seconds: 0,
    health: 'changed, but only in force after a restart: log.format',
    waiting: ['log.format'],
    unwritten: [],
    upstreams: [
      {
        upstream: 'one',
        address: '192.0.2.1',
        port: 853,
        state: 'private',
        path: 'tls',
        authenticated: true,
        connections: 1,
        rtt_ms: 12.3,
        idle_limit_ms: 8000,
      },
    ],
  });
});
