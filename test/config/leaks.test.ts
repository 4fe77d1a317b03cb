// The list of leaks (config/leaks).

import t from 'tap';

import { checkConfig } from '../../src/config/check.js';
import { leaks } from '../../src/config/leaks.js';

const found = (text: string): string[] => {
  const checked = checkConfig(text);
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems));
  return leaks(checked.config).map(({ path, names, words }) => `${path}: ${names}: ${words}`);
};

await t.test(
  'strict mode with addresses, on loopback: only the portal window leaks, and without its names nothing does',
  t => {
    const strict = 'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }\n';
    t.match(found(strict), [/^portal\.names: connectivitycheck\.gstatic\.com, .*"dotstub portal start"/]);
    t.equal(found(strict).length, 1);
    t.same(found(`${strict}portal: { names: [] }\n`), []);
    t.end();
  },
);

await t.test('the detection of captive portals leaks the names that it needs', t => {
  const strict = 'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }\n';
  t.match(found(`${strict}portal: { names: [a.example], detect: "http://probe.example/generate_204" }`), [
    /^portal\.names: a\.example.*or a detected portal/,
    /^portal\.detect: probe\.example, and the names of the network's portal: in cleartext/,
  ]);
  t.end();
});

await t.test('an imported route leaks what the network says, which is not known before', t => {
  const strict = 'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }\nportal: { names: [] }\n';
  const kids = 'clients: [{ name: kids, networks: [10.1.0.0/16] }]\n';
  const open = 'upstream: { mode: off, servers: [{ addresses: [192.0.2.1] }] }\nportal: { names: [] }\n';
  t.match(found(`${open}${kids}routes: [{ zones: ["."], resolvers: [192.0.2.1], clients: [kids] }]`), [
    /^upstream\.mode: every name/,
    'routes[0]: all names, asked by clients of kids: in cleartext to 192.0.2.1, always',
  ]);
  t.same(found(`${strict}routes: [{ import: true }]`), [
    "routes[0]: the search domains of the network, and all below: in cleartext to the network's resolvers, always",
  ]);
  t.end();
});

await t.test('a route with a schedule leaks at its times, and at others as upstream does', t => {
  const none = 'portal: { names: [] }\n';
  const strict = 'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }\n';
  const route = (mode: string): string =>
    `routes: [{ zones: [corp.example], resolvers: [192.0.2.2], schedule: "mon 08:00-18:00", ${mode} }]\n`;
  const proved = route('mode: strict, name: dns.corp.example');
  t.same(found(`${none}${strict}${route('mode: off')}`), [
    'routes[0]: corp.example and all below: in cleartext to 192.0.2.2, at the times of its schedule (mon 08:00-18:00)',
  ]);
  t.same(found(`${none}${strict}routes: [{ import: true, schedule: "mon 08:00-18:00" }]`), [
    "routes[0]: the search domains of the network, and all below: in cleartext to the network's resolvers, at the times of its schedule (mon 08:00-18:00)",
  ]);
  t.same(found(`${none}${strict}${proved}`), []);
  const at = 'routes[0].schedule: corp.example and all below';
  const to = 'to the servers of upstream, at other times than mon 08:00-18:00';
  for (const [mode, how] of [
    ['off', 'in cleartext'],
    ['opportunistic', 'in cleartext whenever TLS works with none of them,'],
    ['encrypted', 'over TLS, without authentication,'],
  ] as const) {
    const upstream = `upstream: { mode: ${mode}, servers: [{ addresses: [192.0.2.1] }] }\n`;
    t.same(found(`${none}${upstream}${proved}`).slice(-1), [`${at}: ${how} ${to}`]);
  }
  t.end();
});

await t.test('every leak is listed with the option that opens it', t => {
  const none = 'portal: { names: [] }\n';
  t.match(found(none), [
    /^upstream\.servers: every name: in cleartext to the system's resolvers, until TLS/,
    /without authentication: an attacker on the path can pose as the server$/,
  ]);
  t.match(found(`${none}upstream: { mode: off, servers: [{ addresses: [192.0.2.1] }] }`), [
    /^upstream\.mode: every name: in cleartext to 192\.0\.2\.1, always$/,
  ]);
  t.match(found(`${none}upstream: { mode: encrypted, servers: [{ addresses: [192.0.2.1] }] }`), [
    /can pose as the server$/,
  ]);
  t.match(found(`${none}upstream: { bootstrap: [192.0.2.53], servers: [{ name: dns.example }] }`), [
    /^upstream\.servers\[0\]: dns\.example\.?: in cleartext to 192\.0\.2\.53, to look up its address/,
  ]);
  t.match(
    found(`${none}listen: ["192.168.1.1:53"]\nupstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }`),
    [/^listen\[0\]: the queries of clients: in cleartext/],
  );
  const proxied =
    'listen: ["127.0.0.1:53"]\nlisten_https: { addresses: ["192.168.1.1:80", "127.0.0.1:80"], proxies: [192.168.1.3]';
  const strict = 'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }';
  t.match(found(`${none}${proxied} }\n${strict}`), [
    /^listen_https\.addresses\[0\]: the queries of clients of listen_https\.proxies: in cleartext from the reverse proxies to 192\.168\.1\.1 port 80/,
  ]);
  t.same(found(`${none}${proxied}, certificate: /c, key: /k }\n${strict}`), [], 'over TLS');
  t.end();
});
