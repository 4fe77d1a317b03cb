// Whether programs ask the daemon, and what leaves beside it.

import t from 'tap';

import type { Finding, Surroundings } from '../../src/base/overview.js';
import { besideFindings, type Listening } from '../../src/control/beside.js';

const LAPTOP: Listening = [
  { transport: 'udp', address: '127.0.0.1', port: 53 },
  { transport: 'udp', address: '::1', port: 53 },
];
const plain = (nameservers: readonly string[], more: Partial<Surroundings> = {}): Surroundings => ({
  resolvConf: { nameservers, search: [] },
  hosts: ['files', 'dns'],
  resolved: undefined,
  neighbours: [],
  addresses: ['127.0.0.1', '192.168.1.7', 'fe80::7'],
  ...more,
});
const found = (surroundings: Surroundings | undefined, listening: Listening = LAPTOP): readonly Finding[] =>
  besideFindings({ surroundings, listening });
const ids = (...args: Parameters<typeof found>): readonly string[] =>
  found(...args).map(({ id, level }) => `${id} ${level}`);

await t.test('programs that ask the daemon, and nobody else', t => {
  t.same(ids(plain(['127.0.0.1'])), []);
  t.same(ids(plain(['127.0.0.1', '::1'])), []);
  t.same(ids(plain([])), [], 'the C library asks 127.0.0.1 then');
  t.same(ids(plain([], { resolvConf: undefined })), []);
  t.same(ids(plain(['192.168.1.7']), [{ transport: 'udp', address: '0.0.0.0', port: 53 }]), [], 'an address of ours');
  t.same(ids(plain(['127.0.0.9']), [{ transport: 'udp', address: '0.0.0.0', port: 53 }]), []);
  t.same(ids(plain(['fe80::7%eth0']), [{ transport: 'udp', address: '::', port: 53 }]), []);
  t.same(ids(undefined), [], 'not known is not wrong');
  t.end();
});

await t.test('programs that ask others', t => {
  t.match(found(plain(['192.168.1.1'])), [
    { id: 'not_asked', level: 'weak', words: /do not ask dotstub, but 192\.168\.1\.1 \(\/etc\/resolv\.conf\)$/ },
  ]);
  const elsewhere: Listening = [{ transport: 'udp', address: '127.0.0.1', port: 5300 }];
  t.match(found(plain(['192.168.1.1']), elsewhere), [
    { level: 'note', words: /it listens on port 5300, and they ask port 53$/ },
  ]);
  t.same(ids(plain(['127.0.0.1']), elsewhere), ['not_asked note']);
  const household: Listening = [{ transport: 'udp', address: '0.0.0.0', port: 53 }];
  t.same(ids(plain(['192.168.1.1']), household), ['not_asked note'], 'it is there for other machines');
  t.match(found(plain(['127.0.0.1', '192.168.1.1'])), [
    { id: 'asked_beside', level: 'weak', words: /^programs also ask 192\.168\.1\.1 .* in cleartext/ },
  ]);
  t.same(ids(plain(['127.0.0.1', '::1', '127.0.0.1', '192.168.1.1'])), [], 'a fourth one is not read');
  t.end();
});

await t.test('systemd-resolved: whom it asks counts, and the servers of links are named', t => {
  const through = (resolved: Surroundings['resolved'], more: Partial<Surroundings> = {}): Surroundings =>
    plain(['127.0.0.53'], { resolved, ...more });
  const ours = ['127.0.0.1', '::1'];
  t.same(ids(through({ servers: ours, search: ['lan'], routesAll: true })), []);
  t.match(found(through({ servers: ['192.168.1.1'], search: [], routesAll: false })), [
    { id: 'not_asked', words: /but systemd-resolved, which asks 192\.168\.1\.1$/ },
  ]);
  t.match(found(through({ servers: [...ours, '192.168.1.1'], search: ['lan'], routesAll: true })), [
    { id: 'resolved_links', words: 'systemd-resolved also asks 192.168.1.1 for names below lan, in cleartext' },
  ]);
  t.match(found(through({ servers: [...ours, '192.168.1.1'], search: [], routesAll: false })), [
    { id: 'resolved_links', words: /for all names, in cleartext$/, advice: /Domains=~\./ },
  ]);
  t.same(ids(through({ servers: [...ours, '192.168.1.1'], search: [], routesAll: true })), []);
  const hosts = ['files', 'resolve', 'dns'];
  t.same(
    ids(plain(['127.0.0.1'], { hosts, resolved: { servers: ['192.168.1.1'], search: [], routesAll: false } })),
    ['not_asked weak'],
    'nss-resolve passes resolv.conf by',
  );
  t.same(ids(plain(['127.0.0.1'], { hosts })), [], 'unless it does not run');
  t.end();
});

await t.test('search domains and questions to neighbours, in one line each', t => {
  t.match(found(plain(['127.0.0.1'], { resolvConf: { nameservers: ['127.0.0.1'], search: ['lan', 'corp.test'] } })), [
    { id: 'search', level: 'note', words: /again with lan, corp\.test behind them/ },
  ]);
  t.match(found(plain(['127.0.0.1'], { neighbours: ['LLMNR', 'mDNS'] })), [
    { id: 'neighbours', level: 'note', words: /for names without a dot \(LLMNR\), and names below local \(mDNS\)$/ },
  ]);
  t.end();
});
