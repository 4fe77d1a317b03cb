// dnstap with fstrm's capture program as the receiver and BIND's dnstap-read as the reader.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { ask } from '../fixtures/client.js';
import { setting } from '../fixtures/daemon.js';
import { temporaryDirectory } from '../fixtures/program.js';
import { missing, program } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const skip = missing('fstrm_capture', 'dnstap-read');

/** Starts a capture. `end` makes it write its file. */
async function capture(t: Pick<Test, 'teardown'>, socket: string, file: string): Promise<{ end(): Promise<void> }> {
  const child = spawn(program('fstrm_capture') ?? '', ['-t', 'protobuf:dnstap.Dnstap', '-u', socket, '-w', file], {
    stdio: 'ignore',
  });
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()));
  t.teardown(() => child.kill('SIGKILL'));
  await until(() => existsSync(socket), 'the socket');
  return {
    async end() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

await t.test('queries and replies over UDP and TCP, from upstream and cache, are captured', { skip }, async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const [socket, file] = [join(directory.path, 'tap.sock'), join(directory.path, 'tap')];
  const captured = await capture(t, socket, file);
  const { at, daemon, log, metric } = await setting(t, { config: `log: { dnstap: ${socket} }` });
  await until(() => log.lines.some(line => line.includes('dnstap goes to')), 'the log line');
  await ask(at, 'www.example');
  await ask(at, 'www.example');
  await ask(at, 'www.example', { tcp: true });
  t.equal(await metric('dotstub_dnstap_dropped_total'), 0);
  await daemon.stop();
  await captured.end();
  const text = execFileSync(program('dnstap-read') ?? '', ['-y', file]).toString();
  t.equal(text.match(/^type: MESSAGE/gm)?.length, 3);
  t.equal(text.match(/ type: CLIENT_RESPONSE/g)?.length, 3);
  t.equal(text.match(/ socket_protocol: UDP/g)?.length, 2);
  t.equal(text.match(/ socket_protocol: TCP/g)?.length, 1);
  t.match(text, /version: "?dotstub test/);
  t.match(text, /query_address: "?127\.0\.0\.1/);
  t.match(text, /www\.example\. \d+ IN A 192\.0\.2\./);
  t.match(text, new RegExp(`response_time: !!timestamp ${new Date().toISOString().slice(0, 11)}`));
});

await t.test(
  'without a receiver queries are answered and frames count as lost; with one, capture goes on',
  { skip },
  async t => {
    const directory = temporaryDirectory();
    t.teardown(() => directory.remove());
    const [socket, file] = [join(directory.path, 'tap.sock'), join(directory.path, 'tap')];
    const { at, daemon, log, metric } = await setting(t, { config: `log: { dnstap: ${socket} }` });
    for (let i = 0; i < 5; i++) t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
    t.equal(await metric('dotstub_dnstap_dropped_total'), 5);
    t.equal(log.lines.filter(line => line.includes('nobody takes dnstap')).length, 1);
    const captured = await capture(t, socket, file);
    await until(() => log.lines.some(line => line.includes('dnstap goes to')), 'the log line');
    await ask(at, 'www.example');
    await daemon.stop();
    await captured.end();
    t.equal(
      execFileSync(program('dnstap-read') ?? '', [file])
        .toString()
        .trim()
        .split('\n').length,
      1,
    );
  },
);
