// Response policy zones beside BIND, which has invented them: one file for both, the same questions, the same answers. Debian
// package: bind9. One difference is left out: where an alias of others leads to a listed name, the name that was asked for is answered like
// that one, so that it is the one which stands before a wildcard target.

import { writeFileSync } from 'node:fs';

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { records } from '../fixtures/records.js';
import { Rig } from '../fixtures/rig.js';
import { type Bench, bench, missing, start } from '../fixtures/servers.js';
import { world } from '../fixtures/world.js';

const LABEL = 'a'.repeat(60);
/** It has room for few octets before it. */
const LONG = `${LABEL}.${LABEL}.${LABEL}.${LABEL}.long`;

/** What both have as data. All in the root, which BIND serves itself. */
const ZONE = `
. 300 SOA a. b. 1 7200 3600 1209600 300
. 300 NS ns.example.
ns.example. 300 A 127.0.0.1
www.led.example. 300 A 192.0.2.1
led.example. 300 A 192.0.2.2
forced.search.example. 300 A 192.0.2.3
www.search.example. 300 A 192.0.2.4
self.example. 300 A 192.0.2.5
marked.example. 300 A 203.0.113.9
*.garden. 300 A 198.51.100.1
*.garden. 300 TXT walled
page.home. 300 A 198.51.100.2
`;

const POLICY = `$TTL 60
@ SOA a. b. 1 7200 3600 1209600 300
@ NS a.
led.example CNAME *.garden.
*.led.example CNAME *.garden.
plain.example CNAME page.home.
*.search.example CNAME forced.search.example.
self.example CNAME self.example.
25.0.113.0.203.rpz-ip CNAME .
32.9.113.0.203.rpz-ip CNAME *.garden.
far.example CNAME *.${LONG}.
`;

/** BIND with the data as its root zone, and the policy. */
async function named(on: Bench): Promise<At> {
  const port = await freePort();
  const file = (name: string, text: string): string => {
    const path = `${on.path}/${name}`;
    writeFileSync(path, text);
    return path;
  };
  const config = file(
    'named.conf',
    `options {
  directory "${on.path}";
  pid-file none;
  session-keyfile none;
  listen-on port ${port} { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion yes;
  dnssec-validation no;
  response-policy { zone "policy"; } qname-wait-recurse no;
};
controls { };
zone "." { type primary; file "${file('root.zone', ZONE)}"; };
zone "policy" { type primary; file "${file('policy.zone', POLICY)}"; };
`,
  );
  await start(on, 'named', ['-g', '-c', config, '-n', '1'], port);
  return { address: '127.0.0.1', port };
}

const QUESTIONS: readonly (readonly [name: string, type: string])[] = [
  ['led.example', 'A'],
  ['WWW.led.example', 'A'],
  ['nobody.led.example', 'A'],
  ['led.example', 'TXT'],
  ['led.example', 'AAAA'],
  ['led.example', 'CNAME'],
  ['plain.example', 'A'],
  ['www.search.example', 'A'],
  ['forced.search.example', 'A'],
  ['forced.search.example', 'AAAA'],
  ['self.example', 'A'],
  ['marked.example', 'A'],
  ['far.example', 'A'],
];

async function told(at: At, name: string, type: string): Promise<readonly string[]> {
  const { rcode, answers } = (await ask(at, name, { type })).text;
  return [rcode, ...answers.map(each => `${each.name} ${each.type} ${each.data}`.toLowerCase()).sort()];
}

await t.test('what a policy zone says is what BIND makes of it', { skip: missing('named') }, async t => {
  const on = bench(t);
  const bind = await named(on);
  const rig = await Rig.make(t);
  const server = await rig.server('dns.test', { answer: world(records(ZONE)) });
  await rig.start({
    upstream: { servers: [server.entry] },
    lists: [{ name: 'policy', format: 'rpz', sources: [`${on.path}/policy.zone`] }],
  });
  for (const [name, type] of QUESTIONS) {
    const said = await told(bind, name, type);
    t.same(await told(rig.at, name, type), said, `${name} ${type}`);
  }
});
