// A server that leaves the algorithm of Nagle on holds its second small reply back until the first is acknowledged, which
// kernels delay by up to 40 ms. Debian package: unbound.

import { connect } from 'node:tls';

import t, { type Test } from 'tap';

import { framed, frameReader } from '../../src/wire/frame.js';
import { ask, queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { relay } from '../fixtures/relay.js';
import { type Bench, bench, missing, unbound } from '../fixtures/servers.js';

const ROUNDS = 20;
/** On a busy machine, replies of a round come together. */
const LEAST = 5;
/** Replies at a time: the first leaves at once, the others wait for its acknowledgement. */
const AT_ONCE = 5;
/** The way there; a round trip is twice as long. */
const DELAY_MS = 10;
/** Between an acknowledgement at once and a delayed one, which the kernel sends after 40 ms. */
const MOST_MS = 25;
const ZONE = 'small.test2.';
const names = (round: number): readonly string[] => Array.from({ length: AT_ONCE }, (_, i) => `n${round}-${i}.${ZONE}`);

/** The median of how long the client's kernel took to acknowledge, where replies waited for that. */
function median(t: Test, all: readonly number[]): number {
  t.ok(all.length >= LEAST, `replies have waited for ${all.length} acknowledgements`);
  return [...all].sort((a, b) => a - b)[all.length >> 1] ?? NaN;
}

async function setUp(t: Test) {
  const on = bench(t);
  const local = `  local-zone: ${ZONE} redirect\n  local-data: "${ZONE} 60 A 192.0.2.7"`;
  const behind = await unbound(on, { address: '127.0.0.1', port: 1 }, local);
  const far = await relay(behind.port, DELAY_MS, true);
  t.teardown(() => far.close());
  return { on, far };
}

/** A client of TLS that leaves acknowledgements to its kernel. */
async function askPlainly(on: Bench, port: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', ca: on.ca.cert, servername: 'dns.test' });
  await new Promise<void>(resolve => socket.once('secureConnect', () => resolve()));
  const frames = frameReader();
  let missing = 0;
  let whenAll = (): void => undefined;
  const took = (): void => {
    if (--missing === 0) whenAll();
  };
  socket.on('data', (octets: Buffer) => frames.push(octets, took));
  for (let round = 0; round < ROUNDS; round++) {
    missing = AT_ONCE;
    const answered = new Promise<void>(resolve => (whenAll = resolve));
    socket.write(Buffer.concat(names(round).map(name => framed(queryMessage(name)))));
    await answered;
  }
  socket.destroy();
}

await t.test('small replies that wait for an acknowledgement get it at once', { skip: missing('unbound') }, async t => {
  const { on, far } = await setUp(t);
  await askPlainly(on, far.port);
  t.ok(median(t, far.acknowledgedMs) > MOST_MS, 'a client that does nothing about it waits for its kernel');

  const port = await freePort();
  const running = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${far.port}"] }] }
`);
  t.teardown(() => running.stop());
  const at = { address: '127.0.0.1', port };
  await ask(at, `first.${ZONE}`);
  const before = far.acknowledgedMs.length;
  for (let round = 0; round < ROUNDS; round++) await Promise.all(names(round).map(async name => ask(at, name)));
  t.ok(median(t, far.acknowledgedMs.slice(before)) < MOST_MS, 'the daemon does not');
});
