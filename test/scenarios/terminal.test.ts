// Text from servers, and from whoever answers at the control socket, on a terminal: no character of it does anything.

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { failure } from '../../src/base/outcome.js';
import { sumsFrom } from '../../src/base/rates.js';
import { monoMs } from '../../src/base/time.js';
import { screen } from '../../src/commands/top.js';
import { statusText } from '../../src/control/status.js';
import { traceCommand } from '../../src/control/trace.js';
import { ROOT_NAME } from '../../src/dnssec/name.js';
import { logger } from '../../src/observe/log.js';
import { OPTION } from '../../src/wire/edns.js';
import { freePort } from '../fixtures/free-port.js';
import { responseTo } from '../fixtures/messages.js';
import { addressOverview, overviewOf, serverOverview } from '../fixtures/overview.js';
import { dotstub, type Ended, temporaryDirectory } from '../fixtures/program.js';

/** Clears the screen, sets a title, and makes a line of its own, in C0 and C1 controls; then turns the direction. */
const HOSTILE = 'x\x1b[2J\x1b]0;pwned\x07\x9b2J\r\nhealth nothing is wrong\u202e\u2028y';
/** What is left of it where people read it. */
const SHOWN = 'x\\027[2J\\027]0;pwned\\007\\194\\1552J\\013\\010health nothing is wrong\\226\\128\\174\\226\\128\\168y';
const DOES_SOMETHING = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u;

const isHarmless = (t: Test, text: string, what: string): void => {
  t.notMatch(text, DOES_SOMETHING, what);
  t.notMatch(text, /^health nothing is wrong/m, `${what}: no line of its own`);
};

await t.test('query: RDATA, names, Extended DNS Errors and the report of a hostile server', async t => {
  const octets = Buffer.from(HOSTILE);
  const hex = Buffer.concat([Buffer.from([octets.length]), octets]).toString('hex');
  const quoted = `\\# ${octets.length + 1} ${hex}`;
  const alias = octets
    .toString('latin1')
    .replace(/[^a-z]/g, each => `\\${each.charCodeAt(0).toString().padStart(3, '0')}`);
  const report = new URLSearchParams({ source: HOSTILE, upstream: HOSTILE, protocol: HOSTILE, verdict: HOSTILE });
  const server = createSocket('udp4', (query, from) => {
    const reply = responseTo(query, {
      answers: `x.example. 1 CNAME ${alias}.example.\n${alias}.example. 1 TXT ${quoted}\n${alias}.example. 1 HINFO ${quoted}`,
      options: [
        { code: OPTION.EDE, data: Buffer.concat([Buffer.from([0, 22]), octets]) },
        { code: OPTION.REPORT, data: Buffer.from(report.toString()) },
      ],
    });
    server.send(reply, from.port, from.address);
  });
  const port = await freePort();
  await new Promise<void>(resolve => server.bind(port, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { code, stdout } = await dotstub(['query', 'x.example', 'TXT', '--server', `127.0.0.1:${port}`]);
  t.equal(code, 0);
  isHarmless(t, stdout, 'as text');
  t.ok(stdout.includes(`why:      No Reachable Authority: ${SHOWN}`), 'the error is there to be read');
  t.ok(stdout.includes('"x\\027[2J\\027]0;pwned\\007\\194\\1552J\\013\\010health'), 'and so is the TXT');
  const json = (await dotstub(['query', 'x.example', 'TXT', '--json', '--server', `127.0.0.1:${port}`])).stdout;
  isHarmless(t, json, 'as JSON');
  t.match(JSON.parse(json), { extendedErrors: [{ text: HOSTILE }], upstream: HOSTILE }, 'which says what was sent');
});

await t.test('every command that prints what the control socket says', async t => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'control.sock');
  let reply: unknown;
  const server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(`${JSON.stringify(reply)}\n`));
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
    directory.remove();
  });
  const both = ({ stdout, stderr }: Ended): string => stdout + stderr;
  const commands = [
    ['status'],
    ['upstreams'],
    ['cache', 'stats'],
    ['flush', 'x'],
    ['log', 'level'],
    ['metrics'],
    ['nta', 'list'],
    ['portal', 'status'],
    ['probe'],
    ['reload'],
    ['trace', 'x'],
    ['trust-anchor', 'status'],
  ];
  for (const command of commands) {
    for (reply of [
      { ok: true, text: HOSTILE, data: { [HOSTILE]: HOSTILE } },
      { ok: false, problem: HOSTILE },
    ]) {
      const said = await dotstub([...command, '--socket', path]);
      t.notMatch(both(said), DOES_SOMETHING, command.join(' '));
      t.ok(both(said).includes('pwned'));
      t.notMatch(both(await dotstub([...command, '--json', '--socket', path])), DOES_SOMETHING, 'as JSON');
    }
  }
  const upstream = { upstream: HOSTILE, address: HOSTILE, state: 'private', path: 'tls', connections: 1 };
  const data = { sums: [], bounds_ms: [], privacy_words: HOSTILE, upstreams: [upstream], names: [[HOSTILE, 1]] };
  reply = { ok: true, text: '', data };
  t.notMatch(both(await dotstub(['top', '--once', '--socket', path])), DOES_SOMETHING, 'top');
  t.notMatch(both(await dotstub(['top', '--once', '--json', '--socket', path])), DOES_SOMETHING, 'top --json');
});

await t.test('what the daemon says of servers: one line for each fact', async t => {
  const address = addressOverview({ state: 'failed', path: 'refuse', failure: HOSTILE, address: '192.0.2.1' });
  const other = addressOverview({ transport: 'https', transportReason: HOSTILE, cleartextMs: 1000 });
  const portal = { by: 'detected', url: HOSTILE, visit: HOSTILE, openMs: 1, leftMs: 1 } as const;
  const servers = [serverOverview({ label: HOSTILE, addresses: [address, other] })];
  isHarmless(t, statusText(overviewOf({ servers, portal, unwritten: [HOSTILE] })), 'status');
  const steps = [{ zone: ROOT_NAME, words: HOSTILE }];
  const traced = { steps, outcome: failure('bogus', HOSTILE), questions: 1, ms: 1 };
  const told = await traceCommand(async () => traced).run(['x.example']);
  isHarmless(t, told.ok ? told.text : told.problem, 'trace');
  t.ok(told.ok && told.text.includes(`DNSSEC Bogus: `) && told.text.includes(SHOWN));
  const upstreams = [{ upstream: HOSTILE, state: 'private', path: 'tls', connections: 1 }] as const;
  const sums = sumsFrom([monoMs(0)]);
  const top = { sums: [], bounds_ms: [], privacy_words: '', upstreams, names: [[HOSTILE, 1]], clients: [] } as const;
  isHarmless(t, screen(top, sums, sums), 'top');
});

await t.test('the log, as text and as JSON', async t => {
  for (const format of ['text', 'json'] as const)
    for (const isTTY of [true, false]) {
      let text = '';
      const sink = { isTTY, write: (line: string) => (text += line) };
      logger({ level: 'info', format }, sink).warn({ upstream: HOSTILE, n: 1 }, `no answer from ${HOSTILE}`);
      // Colours are our own.
      isHarmless(t, text.replace(/\x1b\[\d+m/g, ''), `${format} ${isTTY ? 'on a terminal' : 'elsewhere'}`);
      t.equal(text.split('\n').length, 2, 'one line');
    }
  let text = '';
  const log = logger({ level: 'info', format: 'text' }, { write: (line: string) => (text += line) });
  log.error({ stack: 'Error: a bug\n    at somewhere' }, 'failed');
  t.match(text, /failed stack=Error: a bug\n {4}at somewhere\n$/, 'a stack stays readable');
});
