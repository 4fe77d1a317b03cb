// Findings: every one of them, what it says, and where it shows.

import { readFileSync } from 'node:fs';

import t from 'tap';

import {
  type AddressOverview,
  type Facts,
  type FindingId,
  FINDINGS,
  type LocalFileOverview,
  type Overview,
  type ServerOverview,
} from '../../src/base/overview.js';
import { wallMs } from '../../src/base/time.js';
import { notReady, statusData, statusLine, statusText } from '../../src/control/status.js';
import { addressOverview, certificateOverview, overviewOf, serverOverview } from '../fixtures/overview.js';

const servers = (
  address: Partial<AddressOverview>,
  server: Partial<ServerOverview> = {},
): { readonly servers: readonly ServerOverview[] } => ({
  servers: [serverOverview({ ...server, addresses: [addressOverview(address)] })],
});
const unreached: Partial<AddressOverview> = {
  state: 'failed',
  path: 'refuse',
  authenticated: false,
  failure: 'the server could not be authenticated: it is another one',
  failureCode: 'tls_verify',
};
const plain: Partial<AddressOverview> = {
  state: 'failed',
  path: 'cleartext',
  authenticated: false,
  failure: 'connection refused',
  failureCode: 'connect',
};
const around = (more: Partial<NonNullable<Facts['surroundings']>>): Partial<Facts> => ({
  listening: [{ transport: 'udp', address: '127.0.0.1', port: 53 }],
  surroundings: {
    resolvConf: { nameservers: ['127.0.0.1'], search: [] },
    hosts: ['dns'],
    resolved: undefined,
    neighbours: [],
    addresses: ['127.0.0.1'],
    ...more,
  },
});

const localFile = (more: Partial<LocalFileOverview>): Partial<Facts> => ({
  local: {
    names: 1,
    files: [
      {
        path: '/tmp/dhcp.leases',
        format: 'dnsmasq',
        names: 1,
        readMs: wallMs(0),
        error: undefined,
        problems: 0,
        firstProblem: undefined,
        ...more,
      },
    ],
  },
});

/** For each finding a daemon that has it, and what it says first. */
const CASES: Readonly<Record<FindingId, readonly [Partial<Facts>, level: string, words: RegExp, advice?: RegExp]>> = {
  draining: [{ draining: true }, 'down', /taken out of service/],
  no_servers: [{ servers: [] }, 'down', /no server to ask/, /upstream\.servers/],
  unreached: [servers(unreached), 'down', /^no server is reached \(one: .* it is another one\)$/, /check name/],
  silent: [{ unanswered: 3 }, 'down', /^no server answers \(one\), and the last 3 questions were lost$/, /online/],
  errors: [
    servers({ alike: { at: 'errors', rcode: 5, count: 4 } }),
    'down',
    /^one answers REFUSED to everything \(its last 4 answers\)$/,
    /does not serve this network/,
  ],
  denials: [
    servers({ alike: { at: 'denials', count: 1 } }),
    'down',
    /^one says of every name.*last answer\)$/,
    /portal/,
  ],
  one_address: [
    servers({ alike: { at: 'one_address', address: '10.0.0.1', count: 4 } }),
    'weak',
    /10\.0\.0\.1 for the last 4 names/,
    /http:\/\/10\.0\.0\.1\//,
  ],
  signatures_missing: [servers({}, { dnssec: 'strips' }), 'down', /^nothing is validated: .* one, so/, /prefer/],
  bogus: [
    { validation: { works: false, bogus: { count: 3, upstream: 'one', code: 'signature_expired' } } },
    'down',
    /^the last 3 answers of one have failed validation: a signature has expired$/,
    /clock/,
  ],
  lost_trust: [{ lostTrust: ['all trust anchors of . were revoked'] }, 'down', /were revoked/],
  clock: [{ clockIsBehind: Date.UTC(2001, 0, 1) }, 'weak', /^the clock is wrong \(2001-01-01T00:00Z\)/, /set it/],
  failing: [
    { lately: { minutes: 5, questions: 12, failed: 6, cause: 'no response arrived in time: one' } },
    'weak',
    /^6 of 12 questions in the last 5 minutes have failed, most of them because: no response/,
    /trace/,
  ],
  stale: [
    { staleSec: 125 },
    'weak',
    /^servers do not answer.* expired answers have been given for 2 min/,
    /dotstub upstreams/,
  ],
  unvalidated: [
    { ...servers({}, { dnssec: 'strips' }), dnssec: 'prefer' },
    'weak',
    /^nothing is validated: .* one$/,
    /upstream\.servers/,
  ],
  cleartext: [
    { ...servers(plain, { origin: 'system' }), mode: 'opportunistic' },
    'weak',
    /^names go in cleartext to one, which cannot be asked over TLS: connection refused$/,
    /upstream\.servers/,
  ],
  portal: [
    { portal: { by: 'detected', url: 'http://login.test/', visit: 'http://login.test/', openMs: 0, leftMs: 1000 } },
    'weak',
    /^a portal window is open/,
    /open http:\/\/login\.test\/ in a browser/,
  ],
  config_refused: [{ reload: { taken: false, takenMs: 0 } }, 'weak', /file was refused/, /check-config/],
  certificate_refused: [
    { certificates: [certificateOverview({ refused: '/key.pem cannot be used' })] },
    'weak',
    /^a new certificate for clients is not used.*: \/key\.pem cannot be used$/,
    /correct the files/,
  ],
  certificate_dates: [
    { certificates: [certificateOverview({ validity: 'ends_soon', leftMs: 90_000_000 })] },
    'weak',
    /^the certificate for clients \(\/cert\.pem\) ends in 1 d 1 h$/,
    /renew it/,
  ],
  unserved: [{ unserved: ['HTTP: no address [::1]:9153 yet (metrics.listen)'] }, 'weak', /metrics\.listen/],
  lists: [
    {
      lists: {
        lists: [
          {
            ...{ name: 'ads', action: 'nxdomain', rules: 5 },
            sources: [{ source: '/x', rules: 5, skipped: [], ageMs: undefined, problem: 'it is a directory' }],
          },
        ],
        ...{ paused: [], bytes: 0, problem: undefined },
      },
    },
    'weak',
    /^the list ads is not current, and its rules of before are in force: \/x: it is a directory$/,
    /lists refresh/,
  ],
  unfilled: [{ unfilled: ['the set inet fw4 v4 cannot be filled: x'] }, 'weak', /cannot be filled/, /firewall_sets/],
  unwritten: [{ unwritten: ['/x cannot be written'] }, 'weak', /^\/x cannot be written$/],
  shared_cache: [
    { sharedCache: { at: 'off', why: 'connection refused' } },
    'note',
    /^answers are not shared with other replicas: the store is not used \(connection refused\)$/,
    /cache\.shared\.url/,
  ],
  restart: [{ waiting: ['log.format'] }, 'weak', /after a restart: log\.format$/, /restart/],
  local_file: [
    localFile({ error: 'there is no such file' }),
    'weak',
    /^\/tmp\/dhcp\.leases cannot be read \(there is no such file\), and what it had before counts$/,
    /local\.leases/,
  ],
  local_lines: [
    localFile({ problems: 2, firstProblem: '/tmp/dhcp.leases:7: not a lease' }),
    'note',
    /^2 lines of \/tmp\/dhcp\.leases cannot be used: \/tmp\/dhcp\.leases:7: not a lease$/,
    /count/,
  ],
  not_asked: [
    around({ resolvConf: { nameservers: ['192.0.2.1'], search: [] } }),
    'weak',
    /do not ask dotstub/,
    /install/,
  ],
  asked_beside: [
    around({ resolvConf: { nameservers: ['127.0.0.1', '192.0.2.1'], search: [] } }),
    'weak',
    /also ask 192\.0\.2\.1/,
    /only/,
  ],
  resolved_links: [
    around({
      resolvConf: { nameservers: ['127.0.0.53'], search: [] },
      resolved: { servers: ['127.0.0.1', '192.0.2.1'], search: ['lan'], routesAll: true },
    }),
    'weak',
    /192\.0\.2\.1 for names below lan/,
    /docs\/health\.md/,
  ],
  search: [around({ resolvConf: { nameservers: ['127.0.0.1'], search: ['lan'] } }), 'note', /again with lan/, /docs/],
  neighbours: [around({ neighbours: ['LLMNR'] }), 'note', /LLMNR/, /docs/],
};

for (const id of FINDINGS) {
  const [facts, level, words, advice] = CASES[id];
  await t.test(`${id}: found, said and shown, with what to do`, t => {
    const seen = overviewOf(facts);
    const one = seen.findings.find(each => each.id === id);
    t.match(one, { level });
    t.match(one?.words, words);
    if (advice === undefined) t.equal(one?.advice, undefined);
    else t.match(one?.advice, advice);
    t.same(
      seen.findings.map(each => each.id),
      [id],
      'and nothing else',
    );
    t.match(statusText(seen), one?.words);
    const isTrouble = level !== 'note';
    t.equal(statusData(seen)['health'], isTrouble ? one?.words : 'nothing is wrong');
    t.equal(statusLine(seen).includes(one?.words ?? ''), isTrouble);
    t.equal(notReady(seen)?.id, level === 'down' ? id : undefined);
    t.end();
  });
}

await t.test('each finding is in the document that advice refers to', t => {
  const text = readFileSync(new URL('../../docs/health.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| ([\w, ]+) \|/gm)];
  t.same(
    rows.map(([, id]) => id),
    FINDINGS,
  );
  for (const [, id = '', levels = ''] of rows) t.ok(levels.includes(CASES[id as FindingId][1]), `${id} is ${levels}`);
  t.end();
});

const idsOf = (facts: Partial<Facts>): readonly string[] => overviewOf(facts).findings.map(({ id }) => id);

await t.test('one server that works is enough: what another does is weak, and no reason not to be ready', t => {
  const alike = { at: 'errors', rcode: 2, count: 9 } as const;
  const seen = overviewOf({
    servers: [...servers({ alike }).servers, serverOverview({ id: 2, label: 'two' })],
  });
  t.match(seen.findings, [{ id: 'errors', level: 'weak' }]);
  t.equal(notReady(seen), undefined);
  const strips = serverOverview({ id: 2, label: 'two', dnssec: 'strips' });
  t.same(
    idsOf({ servers: [serverOverview({ dnssec: 'ok' }), strips] }),
    [],
    'the one that passes signatures on is asked',
  );
  t.same(idsOf({ servers: [...servers({ silent: true }).servers, serverOverview({ id: 2, label: 'two' })] }), []);
  const route = serverOverview({ id: 3, purpose: 'route', addresses: [addressOverview({ alike, silent: true })] });
  t.same(idsOf({ servers: [serverOverview(), route] }), [], 'servers of routes are not meant');
  t.end();
});

await t.test('what was asked for is no finding: mode off, no validation, a server that was not tried yet', t => {
  t.same(idsOf({ ...servers({ ...plain, state: 'probing', failure: undefined }), mode: 'off' }), []);
  t.same(idsOf({ ...servers(plain), mode: 'off' }), []);
  t.same(idsOf({ ...servers({}, { dnssec: 'strips' }), dnssec: 'off' }), []);
  t.same(idsOf({ ...servers({ ...plain, state: 'probing', failure: undefined }), mode: 'opportunistic' }), []);
  t.same(idsOf({ lately: { minutes: 5, questions: 9, failed: 9, cause: undefined } }), [], 'too few to tell');
  t.same(idsOf({ lately: { minutes: 5, questions: 100, failed: 49, cause: undefined } }), []);
  t.end();
});

await t.test('advice is what is not done yet', t => {
  const advice = (facts: Partial<Facts>): string | undefined => overviewOf(facts).findings[0]?.advice;
  t.match(advice({ ...servers(plain), mode: 'opportunistic' }), /^upstream\.mode strict/, 'servers are listed already');
  const blocked = { ...unreached, failureCode: 'connect_timeout' } as const;
  t.match(advice(servers({ ...blocked, hint: 'set https' })), /^set https; /);
  t.match(advice(servers(blocked)), /^is this machine online\?; /, 'https is set');
  t.match(advice(servers({ ...unreached, failureCode: 'bootstrap' })), /^list the addresses/);
  t.end();
});

await t.test('the gravest comes first, and the line for the service manager says how many more there are', t => {
  const seen: Overview = overviewOf({ ...servers(unreached), waiting: ['log.format'], clockIsSet: false });
  t.same(
    seen.findings.map(({ id }) => id),
    ['unreached', 'clock', 'restart'],
  );
  t.match(statusLine(seen), /; no server is reached .* \(and 2 more: "dotstub status"\)$/);
  t.same(idsOf({ ...servers(unreached), lately: { minutes: 5, questions: 20, failed: 20, cause: 'x' } }), [
    'unreached',
  ]);
  t.match(statusText(seen), /^health +no server is reached .*\n +to do: check name[^\n]*\n +nobody keeps/m);
  t.end();
});

await t.test('DNSSEC in words: what is configured, and what comes of it', t => {
  const words = (facts: Partial<Facts>): string => /^DNSSEC +(.*)$/m.exec(statusText(overviewOf(facts)))?.[1] ?? '';
  t.equal(words({}), 'require: answers are validated here');
  t.match(words({ validation: { works: false, bogus: undefined } }), 'none was signed so far');
  t.match(words({ ...servers({}, { dnssec: 'strips' }), dnssec: 'prefer' }), /^prefer: nothing is validated/);
  t.end();
});
