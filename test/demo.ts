// `npm run demo`: the whole of it in ten seconds and without a network. A small signed DNS world behind a DoT server
// with a certificate made on the spot, the daemon in strict mode in front of it, and a dozen questions.

import { ask, REPORT } from './fixtures/client.js';
import { demoQuestions, demoWorld } from './fixtures/demo-world.js';

const connectionsOf = (count: number): string => (count === 1 ? 'one TLS connection' : `${count} TLS connections`);

const world = await demoWorld();
const { server } = world;
const good = await world.daemon('dot.demo');
const impostor = await world.daemon('bank.demo');
const questions = demoQuestions(good, impostor);

// One question that is not shown: the clock shall not measure this script's own start.
await ask(good.at, 'ns.example', { tcp: true });
await ask(good.at, 'ns.example');

const ANSWER_WIDTH = 50;
const rows: string[][] = [];
let failures = 0;
for (const [what, at, expected, name, options = {}] of questions) {
  const { text, report, transport, ms } = await ask(at, name, { ...options, options: [REPORT] });
  const verdict = report.get('verdict') ?? '';
  const asWished =
    `${text.rcode} ${verdict}`.trimEnd() === expected && (report.get('source') === 'cache') === /cache/.test(what);
  if (!asWished) failures++;
  const shown =
    text.answers.map(({ type, data }) => `${type} ${data}`).join(', ') ||
    (text.rcode === 'NOERROR'
      ? 'no such record'
      : text.rcode === 'NXDOMAIN'
        ? 'no such name'
        : `${text.rcode}, see below`);
  const from = { upstream: 'upstream, TLS', cache: 'cache', error: 'nobody' }[report.get('source') ?? ''] ?? '?';
  rows.push([
    asWished ? what : `${what} (UNEXPECTED)`,
    `${name} ${options.type ?? 'A'}${options.dnssec === true ? ' DO' : ''}`,
    shown.length > ANSWER_WIDTH ? `${shown.slice(0, ANSWER_WIDTH - 1)}…` : shown,
    verdict,
    from,
    transport.toUpperCase(),
    `${ms.toFixed(1)} ms`.padStart(8),
  ]);
}

const head = ['what', 'question', 'answer', 'DNSSEC', 'from', 'via', '    took'];
const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]?.length ?? 0)));
const line = (cells: readonly string[]): string =>
  cells
    .map((cell, i) => cell.padEnd(widths[i] ?? 0))
    .join('  ')
    .trimEnd();
console.log(line(head));
console.log(widths.map(width => '─'.repeat(width)).join('  '));
for (const row of rows) console.log(line(row));
const bogus = await ask(good.at, 'forged.example');
const why = impostor.program
  .log()
  .split('\n')
  .find(each => each.includes('tls_verify'));
console.log(`
What was forged on its way is not what the zone signed, and the client is told:
  ${bogus.text.extendedErrors.map(({ text }) => text).join(' ')}

The server's certificate is for dot.demo. The daemon that answered all but the last question expects that name; the
last was asked of a daemon that expects bank.demo, which sent no question to a server that is not. It logged:
  ${why === undefined ? 'nothing' : (JSON.parse(why) as { msg: string }).msg}

${server.queries} queries went upstream, all of them over ${connectionsOf(server.connections)}; in cleartext: none.`);

await Promise.all([good.program.stop(), impostor.program.stop()]);
await world.close();
if (failures > 0) console.error(`\n${failures} of ${questions.length} did not come out as expected.`);
process.exit(failures > 0 ? 1 : 0);
