// `npm run demo`: the whole of it in ten seconds and without a network. A small signed DNS world behind a DoT server
// with a certificate made on the spot, the daemon in strict mode in front of it, and a dozen questions.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ask, REPORT, type AskOptions, type At } from './fixtures/client.js';
import { authority, certificate } from './fixtures/certificates.js';
import { dotServer } from './fixtures/dot-server.js';
import { freePort } from './fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from './fixtures/program.js';
import { signedTree } from './fixtures/signed-records.js';

const BIG_TEXT = Array.from({ length: 17 }, (_, i) => `"${String.fromCharCode(97 + i).repeat(240)}"`).join(' ');

const tree = signedTree({
  '.': { text: '' },
  'example.': { text: `
    example.            3600 MX    10 mail.example.
    ns.example.         3600 A     192.0.2.53
    mail.example.       3600 A     192.0.2.25
    www.example.         300 A     192.0.2.80
    www.example.         300 AAAA  2001:db8::80
    www.example.         300 HTTPS \\# 17 0001 00 0001 0003 02 6832 0004 0004 c0000250
    shop.example.        300 CNAME www.example.
    big.example.         300 TXT   ${BIG_TEXT}
    strange.example.     300 TYPE65280 \\# 4 0a000001
    *.wild.example.      300 A     192.0.2.99
    forged.example.      300 A     192.0.2.66
  ` },
  'plain.': { unsigned: true, text: 'www.plain. 300 A 192.0.2.70' },
}, Math.floor(Date.now() / 1000));

const ca = authority('demo CA');
/** Of forged.example, and what it has become when it arrives. */
const SIGNED = Buffer.from([192, 0, 2, 66]);
const FORGED = Buffer.from([203, 0, 113, 66]);
const server = await dotServer({
  identity: certificate({ common: 'dot.demo', names: ['dot.demo'], issuer: ca }),
  handler(query, session) {
    const reply = tree.answer(query);
    if (reply === undefined) return;
    const forged = Buffer.from(reply);
    const at = forged.indexOf(SIGNED);
    if (at !== -1) FORGED.copy(forged, at);
    session.reply(forged);
  },
});

const directory = temporaryDirectory();
const caFile = join(directory.path, 'ca.pem');
writeFileSync(caFile, ca.cert);

const connectionsOf = (count: number): string => (count === 1 ? 'one TLS connection' : `${count} TLS connections`);

async function daemon(name: string) {
  const port = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
upstream:
  mode: strict
  ca_file: ${caFile}
  servers:
    - name: ${name}
      addresses: ["127.0.0.1:${server.port}"]
metrics: { listen: off }
dnssec: { trust_anchors: [${tree.anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
  return { program, at: { address: '127.0.0.1', port } };
}

const good = await daemon('dot.demo');
const impostor = await daemon('bank.demo');

const questions: readonly (readonly [what: string, at: At, expected: string, name: string, options?: AskOptions])[] = [
  ['an address', good.at, 'NOERROR secure', 'www.example'],
  ['the same again', good.at, 'NOERROR secure', 'www.example'],
  ['in other letters', good.at, 'NOERROR secure', 'WWW.eXample'],
  ['an IPv6 address', good.at, 'NOERROR secure', 'www.example', { type: 'AAAA' }],
  ['an alias', good.at, 'NOERROR secure', 'shop.example'],
  ['a mail server', good.at, 'NOERROR secure', 'example', { type: 'MX' }],
  ['a missing name', good.at, 'NXDOMAIN secure', 'nobody.example'],
  ['a missing type', good.at, 'NOERROR secure', 'mail.example', { type: 'AAAA' }],
  ['an HTTPS record', good.at, 'NOERROR secure', 'www.example', { type: 'HTTPS' }],
  ['4 KB: needs TCP', good.at, 'NOERROR secure', 'big.example', { type: 'TXT' }],
  ['4 KB from cache', good.at, 'NOERROR secure', 'big.example', { type: 'TXT' }],
  ['a wildcard', good.at, 'NOERROR secure', 'any.wild.example'],
  ['an unknown type', good.at, 'NOERROR secure', 'strange.example', { type: 'TYPE65280' }],
  ['signatures, from cache', good.at, 'NOERROR secure', 'www.example', { dnssec: true }],
  ['an unsigned zone', good.at, 'NOERROR insecure', 'www.plain'],
  ['a forged address', good.at, 'SERVFAIL bogus', 'forged.example'],
  ['a false certificate', impostor.at, 'SERVFAIL', 'www.example'],
];

// One question that is not shown: the clock shall not measure this script's own start.
await ask(good.at, 'ns.example', { tcp: true });
await ask(good.at, 'ns.example');

const ANSWER_WIDTH = 50;
const rows: string[][] = [];
let failures = 0;
for (const [what, at, expected, name, options = {}] of questions) {
  const { text, report, transport, ms } = await ask(at, name, { ...options, options: [REPORT] });
  const verdict = report.get('verdict') ?? '';
  const asWished = `${text.rcode} ${verdict}`.trimEnd() === expected && (report.get('source') === 'cache') === /again|letters|cache/.test(what);
  if (!asWished) failures++;
  const shown = text.answers.map(({ type, data }) => `${type} ${data}`).join(', ')
    || (text.rcode === 'NOERROR' ? 'no such record' : text.rcode === 'NXDOMAIN' ? 'no such name' : `${text.rcode}, see below`);
  const from = { upstream: 'upstream, TLS', cache: 'cache', error: 'nobody' }[report.get('source') ?? ''] ?? '?';
  rows.push([
    asWished ? what : `${what} (UNEXPECTED)`,
    `${name} ${options.type ?? 'A'}${options.dnssec === true ? ' DO' : ''}`,
    shown.length > ANSWER_WIDTH ? `${shown.slice(0, ANSWER_WIDTH - 1)}…` : shown,
    verdict, from, transport.toUpperCase(), `${ms.toFixed(1)} ms`.padStart(8),
  ]);
}

const head = ['what', 'question', 'answer', 'DNSSEC', 'from', 'via', '    took'];
const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]?.length ?? 0)));
const line = (cells: readonly string[]): string => cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd();
console.log(line(head));
console.log(widths.map(width => '─'.repeat(width)).join('  '));
for (const row of rows) console.log(line(row));
const bogus = await ask(good.at, 'forged.example');
const why = impostor.program.log().split('\n').find(each => each.includes('tls_verify'));
console.log(`
What was forged on its way is not what the zone signed, and the client is told:
  ${bogus.text.extendedErrors.map(({ text }) => text).join(' ')}

The server's certificate is for dot.demo. The daemon that answered all but the last question expects that name; the
last was asked of a daemon that expects bank.demo, which sent no question to a server that is not. It logged:
  ${why === undefined ? 'nothing' : (JSON.parse(why) as { msg: string }).msg}

${server.queries} queries went upstream, all of them over ${connectionsOf(server.connections)}; in cleartext: none.`);

await Promise.all([good.program.stop(), impostor.program.stop(), server.close()]);
directory.remove();
if (failures > 0) console.error(`\n${failures} of ${questions.length} did not come out as expected.`);
process.exit(failures > 0 ? 1 : 0);
