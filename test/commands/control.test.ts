// Commands that tell the running daemon something, as people run them, with a little signed world behind it.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { authority, certificate } from '../fixtures/certificates.js';
import { ask, REPORT } from '../fixtures/client.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { eventually } from '../fixtures/rig.js';
import { signedTree } from '../fixtures/signed-records.js';

const tree = signedTree(
  {
    '.': { text: '' },
    'example.': { text: 'www.example. 300 A 192.0.2.80\nalias.example. 300 CNAME www.broken.' },
    'broken.': { text: 'www.broken. 300 A 192.0.2.81' },
  },
  Math.floor(Date.now() / 1000),
);
const ca = authority();
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: (query, session) => {
    const reply = tree.answer(query);
    if (reply === undefined) return;
    const copy = Buffer.from(reply);
    // The last octet of an address in the answer: what comes for www.broken is not what was signed.
    const at = copy.indexOf(Buffer.from([192, 0, 2, 81]));
    if (at !== -1) copy[at + 3] = 66;
    session.reply(copy);
  },
});
const directory = temporaryDirectory();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const port = await freePort();
const socket = join(directory.path, 'control.sock');
const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
state_directory: ${directory.path}
control: { socket: ${socket} }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
dnssec: { trust_anchors: [${tree.anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
t.teardown(async () => {
  await daemon.stop();
  await server.close();
  directory.remove();
});
const at = { address: '127.0.0.1', port };
const tell = async (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
  dotstub([...args, '--socket', socket]);
const tag = tree.anchors[0]?.split(' ')[2] ?? '';

await t.test('trust-anchor status: trusted keys before and after the first check', async t => {
  t.match(
    (await tell('trust-anchor', 'status')).stdout,
    new RegExp(`not looked at yet\\n +${tag} +ECDSAP256SHA256 +believed, not seen yet`),
  );
  t.ok((await ask(at, 'www.example', { dnssec: true })).text.flags.includes('ad'));
  const { code, stdout } = await tell('trust-anchor');
  t.equal(code, 0);
  t.match(
    stdout,
    new RegExp(
      `^\\. {2}looked at 20[\\d-]+T[\\d:]+Z, next 20[\\d-]+T[\\d:]+Z\\n +${tag} +ECDSAP256SHA256 +believed, since`,
    ),
  );
  // The state is written a moment after the first answer.
  const kept = join(directory.path, 'trust-anchors.json');
  t.equal(await eventually(() => existsSync(kept), true), true);
  t.match(JSON.parse(readFileSync(kept, 'utf8')), {
    version: 1,
    points: [{ zone: '.', keys: [{ tag: Number(tag), state: 'valid' }] }],
  });
  t.match(daemon.log(), `key ${tag} of . is a trust anchor`);
  t.match(JSON.parse((await tell('trust-anchor', 'status', '--json')).stdout), {
    ok: true,
    data: [{ zone: '.', keys: [{ state: 'valid' }] }],
  });
  t.match((await tell('trust-anchor', 'remove')).stderr, 'there is status');
});

await t.test('trace: the chain, step by step, and the reason where it breaks', async t => {
  const { code, stdout } = await tell('trace', 'www.example');
  t.equal(code, 0);
  for (const line of [
    /^\. +DNSKEY: signed by key/m,
    /^\. +signed; keys /m,
    /^example\. +DS for key \d+ \(ECDSAP256SHA256, digest type 2\): signed by key \d+ \(ECDSAP256SHA256\) of \. until 20/m,
    /^example\. +www\.example\. A: signed by key/m,
    /^www\.example\. A: secure \(NOERROR, dns\.test over dot; 4 questions, [\d.]+ ms\)$/m,
  ])
    t.match(stdout, line);
  t.match(
    (await tell('trace', 'www.broken', 'A')).stdout,
    /^www\.broken\. A: bogus \(SERVFAIL; 5 questions, [\d.]+ ms\)\nDNSSEC Bogus: .*its signature by key \d+ \(ECDSAP256SHA256\) of broken\. is wrong$/m,
  );
  t.match(JSON.parse((await tell('trace', 'www.example', '--json')).stdout), {
    ok: true,
    data: { verdict: 'secure', questions: 4 },
  });
  t.match((await tell('trace', 'www.example', 'NONSENSE')).stderr, '"NONSENSE" is not a record type');
  t.match((await tell('trace', 'a..b')).stderr, '"a..b" is not a domain name');
  t.equal((await tell('trace')).code, 2);
});

await t.test('nta: a broken zone is answered for a while, at once, and then no more', async t => {
  t.match(
    (await tell('nta', 'list')).stdout,
    'There is no negative trust anchor but those of private and special names.',
  );
  t.match((await ask(at, 'www.broken')).text, { rcode: 'SERVFAIL', extendedErrors: [{ infoCode: 6 }] });
  t.match((await tell('nta', 'add', 'broken', '1h')).stdout, /^broken\. +for 3600 s more\n$/);
  t.match((await ask(at, 'www.broken', { dnssec: true })).text, {
    rcode: 'NOERROR',
    answers: [{ data: '192.0.2.66' }],
  });
  t.notOk((await ask(at, 'www.broken', { dnssec: true })).text.flags.includes('ad'));
  t.ok((await ask(at, 'www.example', { dnssec: true })).text.flags.includes('ad'));
  t.equal((await tell('nta', 'remove', 'broken')).code, 0);
  t.match((await ask(at, 'www.broken')).text, { rcode: 'SERVFAIL' });
  t.match((await tell('nta', 'remove', 'broken')).stderr, 'there is no negative trust anchor at broken.');
  t.match((await tell('nta', 'add', '.')).stderr, 'dnssec.mode does');
  t.match((await tell('nta', 'add', 'broken', '8d')).stderr, '8d is not allowed: 1s to 7d');
  t.match((await tell('nta', 'add')).stderr, 'nta add needs a NAME');
  t.match((await tell('nta', 'frob', 'x')).stderr, 'there are add, remove and list');
  t.equal((await tell('nta', 'add', 'broken', '1s')).code, 0);
  await new Promise(resolve => setTimeout(resolve, 1200));
  t.match((await tell('nta', 'list')).stdout, 'There is no negative trust anchor');
});

await t.test('nta: aliases that lead to the zone follow it, too', async t => {
  const rcode = async (): Promise<string> => (await ask(at, 'alias.example')).text.rcode;
  t.equal(await rcode(), 'SERVFAIL');
  await tell('nta', 'add', 'broken', '1h');
  t.equal(await rcode(), 'NOERROR');
  await tell('nta', 'remove', 'broken');
  t.equal(await rcode(), 'SERVFAIL');
});

await t.test('status and upstreams: at a glance, and for programs', async t => {
  await ask(at, 'www.example');
  const { code, stdout } = await tell('status');
  t.equal(code, 0);
  for (const line of [
    /^dotstub +0\.1\.0, running for \d+ s$/m,
    /^privacy +strict: queries go over TLS, to servers that have proved who they are$/m,
    /^servers +1 of 1 server address reached$/m,
    /^DNSSEC +require: answers are validated here$/m,
    /^cache +\d+ answers? in \d+ KiB of the 7\.5 MiB that cache\.size \(16 MiB\) has for them$/m,
    /^listening +127\.0\.0\.1:\d+ \(UDP\), 127\.0\.0\.1:\d+ \(TCP\)$/m,
    /^dns\.test +127\.0\.0\.1 port \d+ +over TLS +proved +[\d.]+ ms +1$/m,
  ])
    t.match(stdout, line);
  t.match(JSON.parse((await tell('status', '--json')).stdout), {
    ok: true,
    data: {
      mode: 'strict',
      privacy: 'authenticated',
      upstreams: [{ upstream: 'dns.test', state: 'private', authenticated: true }],
    },
  });
  t.match(JSON.parse((await tell('upstreams', '--json')).stdout), {
    ok: true,
    data: [{ upstream: 'dns.test', address: '127.0.0.1', path: 'tls', connections: 1 }],
  });
});

await t.test('cache and flush: forgotten names are asked for again', async t => {
  const source = async (name: string): Promise<string | null> =>
    (await ask(at, name, { options: [REPORT] })).report.get('source');
  await ask(at, 'www.example');
  t.equal(await source('www.example'), 'cache');
  t.match((await tell('flush', 'WWW.Example')).stdout, '1 answer forgotten: www.example.');
  t.equal(await source('www.example'), 'upstream');
  t.match(
    (await tell('cache', 'flush', 'zone', 'example')).stdout,
    /^[1-9]\d* answers? forgotten: example\. and all below it\.$/m,
  );
  t.equal(await source('www.example'), 'upstream');
  t.equal((await tell('cache', 'flush', 'all')).code, 0);
  t.match(
    (await tell('cache', 'stats')).stdout,
    /^0 answers in 0 KiB of the 7\.5 MiB that .*; the keys and proofs of 0 names$/m,
  );
  const thereAre = 'flush: there are NAME, "--zone NAME", "--all", "--negative" and "--bogus"';
  t.match((await tell('cache', 'flush')).stderr, thereAre);
  t.match((await tell('flush')).stderr, thereAre);
  for (const command of [['flush'], ['cache', 'flush']]) {
    const flush = async (...args: string[]): Promise<string> => {
      await ask(at, 'www.example');
      const { stdout, stderr } = await tell(...command, ...args);
      return stdout + stderr;
    };
    t.match(await flush('all'), /^[1-9]\d* answers? forgotten: all\.$/m, 'not of the name "all"');
    t.match(await flush('--all'), /^[1-9]\d* answers? forgotten: all\.$/m);
    t.match(await flush('name', 'all'), '0 answers forgotten: all.');
    t.match(await flush('www.example'), '1 answer forgotten: www.example.');
    t.match(await flush('name', 'www.example'), '1 answer forgotten: www.example.');
    t.match(await flush('zone', 'example'), /^[1-9]\d* answers? forgotten: example\. and all below it\.$/m);
    t.match(await flush('--zone', 'example'), /^[1-9]\d* answers? forgotten: example\. and all below it\.$/m);
    t.match(await flush('zone'), 'a NAME is needed');
    t.match(await flush('www.example', 'mail.example'), 'flush www.example mail.example: there are NAME, ');
    t.match(await flush('all', 'www.example'), 'flush all www.example: there are NAME, ');
    t.match(await flush('--negative'), /^\d+ answers? forgotten: those that a name or a type does not exist\.$/m);
    t.match(await flush('--bogus'), /^\d+ failures? forgotten: failures, bogus zones included\.$/m);
  }
  t.match((await tell('flush', 'a..b')).stderr, 'a NAME is needed, which "a..b" is not');
});

await t.test('reload: the same as SIGHUP, and it says what came of it', async t => {
  const text = readFileSync(daemon.configFile, 'utf8');
  t.match((await tell('reload')).stdout, / taken over\n$/);
  writeFileSync(daemon.configFile, `${text}\nnonsense: 1\n`);
  const refused = await tell('reload');
  t.equal(refused.code, 1);
  t.match(
    refused.stderr,
    /was not taken over \(1 problem\): the configuration that runs stays\n.*nonsense: no such option/,
  );
  t.match((await tell('status')).stdout, /^(health)? +the configuration file was refused/m);
  writeFileSync(
    daemon.configFile,
    text.replace('metrics: { listen: off }', 'metrics: { listen: off }\nlog: { level: debug }\ncache: { size: 1MiB }'),
  );
  t.match(
    (await tell('reload')).stdout,
    /taken over: log\.level\nchanged, but only in force after a restart: cache\.size/,
  );
  t.match((await tell('log', 'level')).stdout, 'debug');
  t.notMatch((await tell('status')).stdout, 'was refused');
  writeFileSync(daemon.configFile, text);
});

await t.test('reload: negative trust anchors of the file, and what was believed before', async t => {
  const text = readFileSync(daemon.configFile, 'utf8');
  t.equal((await ask(at, 'www.broken')).text.rcode, 'SERVFAIL');
  writeFileSync(daemon.configFile, text.replace('dnssec: {', 'dnssec: { negative_trust_anchors: [broken],'));
  t.match((await tell('reload')).stdout, /taken over: .*dnssec\.negative_trust_anchors/);
  t.equal((await ask(at, 'www.broken')).text.rcode, 'NOERROR', 'the refusal is forgotten');
  writeFileSync(daemon.configFile, text);
  t.equal((await tell('reload')).code, 0);
  t.equal((await ask(at, 'www.broken')).text.rcode, 'SERVFAIL', 'and so is the answer');
});

await t.test('query says what was found', async t => {
  t.match((await dotstub(['query', 'www.example', '--server', `127.0.0.1:${port}`])).stdout, /checked: +DNSSEC secure/);
  const { code, stdout } = await dotstub(['query', 'www.broken', '--server', `127.0.0.1:${port}`]);
  t.equal(code, 1);
  t.match(stdout, /why: +DNSSEC Bogus: .* is wrong[\s\S]*checked: +DNSSEC bogus: not what the zone signed/);
  const again = await dotstub(['query', 'www.broken', '--server', `127.0.0.1:${port}`]);
  t.match(again.stdout, /from: +cache: it failed a moment ago/, 'a failure that was kept is a failure');
});
