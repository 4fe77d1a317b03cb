// DNS over TLS for `openssl s_client`, which does what resolvers do not: it renews keys, renegotiates, and resumes from a file.
// And for very many handshakes, which must leave no memory and no descriptor behind.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';

import t, { type Test } from 'tap';

import { frameReader, framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';
import { queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { residentBytes } from '../fixtures/memory.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, missing, program } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const HOST = '127.0.0.1';
const skip = missing('openssl');
const HANDSHAKES = 10_000;
const AT_ONCE = 20;
/** What a heap may grow by until it is collected. TLS sessions that nobody frees take tens of kibibytes each. */
const MOST_GROWN_BYTES = 24 << 20;

async function serving(on: Bench): Promise<{ readonly port: number; readonly pid: number }> {
  const port = await freePort();
  const daemon = await startDotstub(`
listen: ["${HOST}:${await freePort()}"]
listen_tls: { addresses: ["${HOST}:${port}"], certificate: ${on.certFile}, key: ${on.keyFile} }
metrics: { listen: off }
access: { sessions_per_client: 0 }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["${HOST}:1"] }] }
`);
  on.onEnd(async () => void (await daemon.stop()));
  return { port, pid: daemon.child.pid ?? 0 };
}

/** `openssl s_client`, what it says, and the replies that it prints among that. */
function client(t: Test, port: number, ...args: string[]) {
  const common = ['s_client', '-connect', `${HOST}:${port}`, '-servername', 'dns.test'];
  const child: ChildProcessWithoutNullStreams = spawn(program('openssl') ?? '', [...common, ...args]);
  t.teardown(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('latin1')));
  child.stderr.on('data', (chunk: Buffer) => (out += chunk.toString('latin1')));
  child.stdin.on('error', () => undefined);
  let hasEnded = false;
  child.on('close', () => (hasEnded = true));
  // A name for which nobody is asked.
  const ask = async (): Promise<void> => {
    const before = out.split('localhost').length;
    child.stdin.write(framed(queryMessage('localhost')));
    await until(() => out.split('localhost').length > before, 'a reply');
  };
  return { child, out: () => out, hasEnded: () => hasEnded, ask };
}

await t.test('openssl s_client', { skip }, async t => {
  const on = bench(t);
  const { port } = await serving(on);

  for (const version of ['-tls1_2', '-tls1_3'])
    await t.test(`${version}: is answered, and its session is resumed`, async t => {
      const file = join(on.path, `session${version}`);
      const first = client(t, port, version, '-alpn', 'dot', '-sess_out', file);
      await first.ask();
      t.match(first.out(), /ALPN protocol: dot/);
      t.match(first.out(), /New, TLS/);
      first.child.stdin.end();
      await until(() => existsSync(file), 'the ticket');
      const second = client(t, port, version, '-sess_in', file);
      await second.ask();
      t.match(second.out(), /Reused, TLS/);
    });

  await t.test('new keys in the midst of a session change nothing', async t => {
    const { child, ask, hasEnded } = client(t, port, '-tls1_3');
    await ask();
    for (const letter of ['k', 'K', 'K']) {
      child.stdin.write(`${letter}\n`);
      await sleep(100);
      await ask();
    }
    t.notOk(hasEnded());
  });

  await t.test('a second handshake is refused, and the session goes on, or its client ends it', async t => {
    const { child, ask, out, hasEnded } = client(t, port, '-tls1_2');
    await ask();
    child.stdin.write('R\n');
    await until(() => out().includes('RENEGOTIATING'), 'the attempt');
    await until(() => hasEnded() || out().includes('no renegotiation'), 'its end');
    t.notMatch(out(), /verify return:1[\s\S]*RENEGOTIATING[\s\S]*verify return:1/);
  });

  await t.test('other protocols and old versions are refused', async t => {
    const other = client(t, port, '-alpn', 'h2');
    await until(other.hasEnded, 'the end');
    t.match(other.out(), /no application protocol/);
    const old = client(t, port, '-tls1_1', '-cipher', 'DEFAULT:@SECLEVEL=0');
    await until(old.hasEnded, 'the end');
    t.match(old.out(), /protocol version|no protocols available/);
    await client(t, port).ask();
  });
});

await t.test(`${HANDSHAKES} handshakes leave no memory and no descriptor`, { timeout: 300_000 }, async t => {
  const on = bench(t);
  const { port, pid } = await serving(on);
  const session = async (ticket: Buffer | undefined): Promise<Buffer | undefined> =>
    new Promise((resolve, reject) => {
      const options = { host: HOST, port, rejectUnauthorized: false, ALPNProtocols: ['dot'] };
      const socket: TLSSocket = connect(ticket === undefined ? options : { ...options, session: ticket });
      let next: Buffer | undefined;
      socket.on('session', (data: Buffer) => (next = data)).on('error', reject);
      const frames = frameReader();
      socket.on('data', (chunk: Buffer) =>
        frames.push(chunk, message => {
          if (messageToText(message)?.rcode !== 'NOERROR') reject(new Error('no answer'));
          socket.destroy();
          resolve(next);
        }),
      );
      socket.write(framed(queryMessage('localhost')));
    });
  const series = async (count: number): Promise<void> => {
    let ticket: Buffer | undefined;
    for (let i = 0; i < count; i++) ticket = await session(i % 2 === 0 ? undefined : ticket);
  };
  const all = async (count: number): Promise<unknown> =>
    Promise.all(Array.from({ length: AT_ONCE }, async () => series(count / AT_ONCE)));
  const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;
  await all(HANDSHAKES * 0.4);
  await sleep(500);
  const fds = descriptors();
  const bytes = residentBytes(pid);
  await all(HANDSHAKES * 0.6);
  const grown = residentBytes(pid) - bytes;
  t.ok(grown < MOST_GROWN_BYTES, `${grown} octets more`);
  await until(() => descriptors() <= fds, 'no more descriptors than before');
});
