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
  t.equal(
    statusLine({ ...main({ ...plain, rttMs: undefined }), mode: 'opportunistic' }),
    'opportunistic: queries go in cleartext (0 of 1 server address reached, 1 not asked yet)',
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
  t.match(health({ lostTrust: ['all trust anchors of . were revoked'] }), 'all trust anchors of . were revoked');
  t.match(health({ unwritten: ['/x cannot be written'] }), '/x cannot be written');
  t.match(statusText(overviewOf({ draining: true })), /^health +it is being taken out of service$/m);
});

await t.test('not ready: whenever status says that names do not resolve, and while it is drained', async t => {
  const why = (overview: Overview): string | undefined => notReady(overview)?.words;
  t.equal(why(overviewOf()), undefined);
  t.equal(why(main({ state: 'probing', authenticated: false })), undefined, 'not tried yet');
  t.match(why(main(refused, { ...refused, path: 'tls' })), 'no server is reached', 'though one may be tried');
  t.match(why(overviewOf({ servers: [...main(refused).servers, route] })), 'no server is reached');
  t.equal(why(overviewOf({ draining: true })), 'it is being taken out of service');
  t.equal(why(overviewOf({ lostTrust: ['nothing is validated'] })), 'nothing is validated');
  t.equal(why({ ...main(plain), mode: 'opportunistic' }), undefined, 'what is only weak is ready');
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

await t.test('an open portal window is told with its reason, since when, and where to sign in', async t => {
  const url = 'http://login.hotel.test/';
  const portal = { by: 'detected', url, visit: url, openMs: 61_000, leftMs: 1500 } as const;
  const seen = overviewOf({ portal });
  t.match(
    statusText(seen),
    /^health +a portal window is open for 2 s more, and some names go in cleartext: this network has a captive portal, found 1 min ago\n +to do: open http:\/\/login\.hotel\.test\/ in a browser to sign in/m,
  );
  t.match(statusData(seen), { portal_seconds: 2, portal: { by: 'detected', url, visit: url, open_seconds: 61 } });
  t.match(statusText(overviewOf({ portal: { ...portal, by: 'command', url: undefined } })), 'opened by command');
  t.match(statusData(overviewOf()), { portal_seconds: 0, portal: undefined });
  t.notMatch(statusText(overviewOf()), 'portal');
});

await t.test('a report tells where servers come from, unless all are in the configuration', async t => {
  const announced = serverOverview({ label: 'dns.example', origin: 'announced' });
  const system = serverOverview({
    label: '192.0.2.53',
    origin: 'system',
    addresses: [addressOverview(), addressOverview({ address: '192.0.2.77', designated: true })],
  });
  const seen = overviewOf({ servers: [announced, system] });
  t.match(
    upstreamsText(seen),
    /^server +from +address[\s\S]*^dns\.example +network \(DNR\) .*\n192\.0\.2\.53 +resolv\.conf .*\n192\.0\.2\.53 +network \(DDR\) +192\.0\.2\.77/m,
  );
  t.same(
    upstreamsData(seen).map(({ origin }) => origin),
    ['announced', 'system', 'designated'],
  );
  t.notMatch(upstreamsText(overviewOf()), /from/);
  t.equal(upstreamsData(overviewOf())[0]?.['origin'], undefined);
});

await t.test('servers of routes and of a portal window are in the report, with their purpose', async t => {
  const seen = overviewOf({ servers: [serverOverview(), route, { ...route, purpose: 'portal' }] });
  t.match(upstreamsText(seen), /^server +purpose[\s\S]*^one +main .*\n10\.0\.0\.53 +route .*\n10\.0\.0\.53 +portal /m);
  t.match(upstreamsData(seen), [{ upstream: 'one' }, { purpose: 'route' }, { purpose: 'portal' }]);
  t.equal(upstreamsData(seen)[0]?.['purpose'], undefined);
  t.equal(upstreamsData(seen)[1]?.['clients'], undefined);
  const ofGroups = overviewOf({ servers: [serverOverview(), { ...route, clients: ['kids', 'guests'] }] });
  t.match(upstreamsText(ofGroups), /^10\.0\.0\.53 +route \(kids, guests\) /m);
  t.match(upstreamsData(ofGroups)[1], { purpose: 'route', clients: ['kids', 'guests'] });
});

await t.test('the key exchange of each address stands below the table, and in the data', t => {
  const servers = [
    serverOverview({
      addresses: [
        addressOverview({ tlsVersion: 'TLSv1.3', tlsGroup: 'X25519MLKEM768' }),
        addressOverview({ address: '2001:db8::1', tlsVersion: 'TLSv1.3', tlsGroup: 'X25519MLKEM768' }),
      ],
    }),
    serverOverview({ label: 'two', addresses: [addressOverview({ tlsVersion: 'TLSv1.2' })] }),
    serverOverview({ label: '192.0.2.3', addresses: [addressOverview({ address: '192.0.2.3' })] }),
  ];
  t.match(
    upstreamsText({ servers }),
    /\n\nTLS 1\.3, X25519MLKEM768: one \(192\.0\.2\.1\), one \(2001:db8::1\)\nTLS 1\.2: two \(192\.0\.2\.1\)$/,
  );
  t.match(upstreamsData({ servers }), [{ tls_version: 'TLSv1.3', key_exchange: 'X25519MLKEM768' }]);
  t.end();
});

await t.test('a server that is asked over HTTPS is shown with the reason', async t => {
  const seen = overviewOf({
    servers: [
      serverOverview({
        addresses: [addressOverview({ transport: 'https', transportReason: 'the connection was not made in time' })],
      }),
    ],
  });
  t.match(upstreamsText(seen), /over HTTPS/);
  t.match(
    statusText(seen),
    /one \(192\.0\.2\.1\): asked over HTTPS, because port 853 cannot be used: the connection was not made in time/,
  );
  t.match(upstreamsData(seen), [{ transport: 'https', transport_reason: 'the connection was not made in time' }]);
});

await t.test('for programs: the fields that there have always been, and what waits', async t => {
  t.same(JSON.parse(JSON.stringify(statusData(overviewOf({ waiting: ['log.format'] })))), {
    version: '1.2.3',
    up_seconds: 60,
    mode: 'strict',
    privacy: 'authenticated',
    privacy_words: 'queries go over TLS, to servers that have proved who they are',
    dnssec: 'require',
    cache: { entries: 3, bytes: 2048, limit_bytes: 11 << 20, size_bytes: 16 << 20 },
    inflight: 0,
    listening: ['[::1]:53 (UDP)'],
    listeners: [{ transport: 'udp', address: '::1', port: 53 }],
    portal_seconds: 0,
    health: 'changed, but only in force after a restart: log.format',
    findings: [
      {
        id: 'restart',
        level: 'weak',
        words: 'changed, but only in force after a restart: log.format',
        advice: 'restart it, for example with systemctl restart dotstub',
      },
    ],
    waiting: ['log.format'],
    unserved: [],
    unwritten: [],
    upstreams: [
      {
        upstream: 'one',
        address: '192.0.2.1',
        port: 853,
        asked_port: 853,
        state: 'private',
        path: 'tls',
        transport: 'dot',
        authenticated: true,
        connections: 1,
        rtt_ms: 12.3,
        idle_limit_ms: 8000,
      },
    ],
  });
});
