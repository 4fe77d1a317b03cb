// Sockets that somebody else has opened. Python opens them and becomes the program, as a service manager does.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { passedSockets } from '../../src/os/activation.js';
import { loadLibc } from '../../src/os/libc.js';
import { ask, queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { manyAnswers, snapshotOf } from '../fixtures/many-answers.js';
import { planFor } from '../fixtures/plans.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { eventually } from '../fixtures/rig.js';
import { missing } from '../fixtures/servers.js';

const found = loadLibc();
/** Whether this kernel allows it without a right. */
const mayHaveRoom = missing('ss') === false && Number(readFileSync('/proc/sys/net/core/rmem_max', 'utf8')) >= 1 << 21;
const skip = 'unavailable' in found ? 'no system calls here' : missing('python3');
const CLI = new URL('../../dist/cli.js', import.meta.url).pathname;

/** More than the daemon would ask for, which is 1 MiB; the kernel counts twice of it, and allows what net.core.rmem_max says. */
const ROOM_BYTES = 1 << 21;
/** What of it `ss` shows, of UDP sockets (`ul`) or of sessions (`t`). */
const roomsOf = (kind: 'ul' | 't', port: number): readonly number[] =>
  [...execFileSync('ss', [`-H${kind}nm`, `src 127.0.0.1:${port}`], { encoding: 'utf8' }).matchAll(/rb(\d+)/g)].map(
    ([, octets]) => Number(octets),
  );
/** The most that a session may have. */
const SESSION_ROOM_BYTES = 1 << 17;

/** What becomes the program with sockets: `udp`, `tcp`, `dot` or `doh`, address and port each; `v6both` for one that takes IPv4, too. */
const opened = (sockets: readonly (readonly [kind: string, address: string, port: number])[]): string[] => [
  'python3',
  '-c',
  `
import fcntl, os, socket, sys
opened = []
for kind, address, port in ${JSON.stringify(sockets)}:
    six = ':' in address
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM if kind in ('udp', 'udpdot') else socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if kind == 'v6both' else 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ${ROOM_BYTES})
    s.bind((address, port))
    if kind not in ('udp', 'udpdot'): s.listen(10)
    opened.append(os.dup(s.fileno()))
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in opened]
for i, fd in enumerate(high): os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=':'.join('dot' if kind.endswith('dot') else 'doh' if kind == 'doh' else 'dns' for kind, _, _ in ${JSON.stringify(sockets)}))
os.execv(sys.argv[1], sys.argv[1:])
`,
  process.execPath,
  CLI,
];

/** A connection to a program that is about to listen. */
async function soonConnected(port: number): Promise<Socket> {
  for (let tries = 0; tries < 1000; tries++) {
    const socket = connect(port, '127.0.0.1');
    const isConnected = await new Promise<boolean>(resolve => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (isConnected) return socket;
    await sleep(5);
  }
  throw new Error(`nobody listens on ${port}`);
}

const CONFIG = (front: string): string => `
listen: ["127.0.0.1:1"]
metrics: { listen: off }
front: ${front}
upstream: { mode: strict, servers: [{ name: nobody.test, addresses: ["127.0.0.1:9"] }] }
`;

await t.test('only what was meant for this process is taken', async t => {
  const none = (): never => {
    throw new Error('not asked');
  };
  t.equal(passedSockets({}, 10, none), undefined);
  t.equal(passedSockets({ LISTEN_PID: '11', LISTEN_FDS: '1' }, 10, none), undefined, 'of a parent');
  t.match(passedSockets({ LISTEN_PID: '10', LISTEN_FDS: 'many' }, 10, none), /LISTEN_FDS "many" is no number/);
  t.match(
    passedSockets({ LISTEN_PID: '10', LISTEN_FDS: '1' }, 10, () => ({ unavailable: 'no koffi' })),
    /no koffi.*disable the socket unit/,
  );
});

for (const front of ['{ threads: 1 }', '{ threads: 0 }', '{ threads: 2 }', '{ io: dgram }']) {
  await t.test(`queries are taken at them, front: ${front}`, { skip }, async t => {
    const port = await freePort();
    const starting = startDotstub(
      CONFIG(front),
      [],
      opened([
        ['udp', '127.0.0.1', port],
        ['tcp', '127.0.0.1', port],
        ['udp', '::1', port],
      ]),
    );
    // It comes before the daemon, and waits for it.
    const early = await soonConnected(port);
    t.teardown(() => early.destroy());
    const running = await starting;
    t.teardown(async () => running.stop());
    const any = { type: 'ANY' };
    t.equal((await ask({ address: '127.0.0.1', port }, 'a.test', any)).text.rcode, 'NOERROR');
    t.equal((await ask({ address: '::1', port }, 'a.test', any)).text.rcode, 'NOERROR');
    t.equal((await ask({ address: '127.0.0.1', port }, 'a.test', { ...any, tcp: true })).text.rcode, 'NOERROR');
    t.match(running.log(), 'the addresses in listen are not used');
    t.match(running.log(), `listening on [::1]:${port} (UDP)`);
    if (mayHaveRoom) {
      t.same(new Set(roomsOf('ul', port)), new Set([2 * ROOM_BYTES]), 'with the room for queries that it was given');
      const session = connect(port, '127.0.0.1');
      await once(session, 'connect');
      const bounded = [SESSION_ROOM_BYTES, SESSION_ROOM_BYTES];
      const rooms = (): readonly number[] => roomsOf('t', port);
      t.same(await eventually(rooms, bounded), bounded, 'which sessions do not have, nor those that came before it');
      session.destroy();
    }
    t.equal((await running.stop()).code, 0);
  });
}

await t.test(
  'a wildcard socket answers from the address that was asked, with or without threads',
  { skip },
  async t => {
    for (const front of ['{ threads: 1 }', '{ threads: 0 }']) {
      const port = await freePort();
      const running = await startDotstub(
        CONFIG(front),
        [],
        opened([
          ['udp', '0.0.0.0', port],
          ['tcp', '0.0.0.0', port],
        ]),
      );
      t.teardown(async () => running.stop());
      // The client is connected to 127.0.0.5, and would not hear a reply from 127.0.0.1.
      t.equal((await ask({ address: '127.0.0.5', port }, 'a.test', { type: 'ANY' })).text.rcode, 'NOERROR', front);
      await running.stop();
    }
  },
);

await t.test('what cannot be served is said', { skip }, async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const port = await freePort();
  const run = async (front: string, sockets: Parameters<typeof opened>[0]): Promise<string> => {
    const ended = startDotstub(CONFIG(front), [], opened(sockets));
    return ended.then(
      async running => `${running.log()}${(await running.stop()).stdout}`,
      (error: unknown) => String(error),
    );
  };
  t.match(await run('{ threads: 1 }', [['v6both', '::', port]]), /BindIPv6Only=ipv6-only/);
  t.match(await run('{ io: dgram }', [['udp', '0.0.0.0', port]]), /cannot be served with front.io dgram/);
  t.match(await run('{ threads: 1 }', [['dot', '127.0.0.1', port]]), /listen_tls.certificate/);
  t.match(await run('{ threads: 1 }', [['doh', '0.0.0.0', port]]), /listen_https.certificate/);
  t.match(await run('{ threads: 1 }', [['doh', '127.0.0.1', port]]), `listening on 127.0.0.1:${port} (HTTPS)`);
  t.match(await run('{ threads: 1 }', [['udpdot', '127.0.0.1', port]]), /ListenStream=/);
  t.equal(
    (
      await dotstub(
        ['run', '--config', '/nowhere'],
        [
          'python3',
          '-c',
          `import os, sys; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[1], sys.argv[1:])`,
          process.execPath,
          CLI,
        ],
      )
    ).code,
    2,
    'the file first',
  );
});

await t.test('queries that waited for a restart are answered from the cache of before', { skip }, async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const config = `${CONFIG('{ threads: 1 }')}state_directory: ${directory.path}\ndnssec: { mode: off }\n`;
  const settings = createHash('sha256').update(planFor(config).snapshot.settings).digest('hex');
  const cached = snapshotOf(manyAnswers(2000, 16 << 20), settings);
  writeFileSync(join(directory.path, 'cache.snapshot'), cached, { mode: 0o600 });
  const port = await freePort();
  const client = createSocket('udp4');
  const seen = new Map<number, number>();
  client.on('message', reply => seen.set(reply.readUInt16BE(0), (reply[3] ?? 0) & 15));
  // They arrive from before the start on, and no server is there to ask.
  let asked = 0;
  const asking = setInterval(() => {
    for (let i = 0; i < 4 && asked < 2000; i++, asked++)
      client.send(queryMessage(`s${asked}.example`, { id: asked }), port, '127.0.0.1');
  }, 2);
  t.teardown(() => {
    clearInterval(asking);
    client.close();
  });
  const sockets = ['udp', 'tcp'].map(kind => [kind, '127.0.0.1', port] as const);
  const running = await startDotstub(config, [], opened(sockets));
  t.teardown(async () => running.stop());
  await eventually(() => asked, 2000);
  await eventually(() => seen.has(1999), true);
  const first = Math.min(...seen.keys());
  t.comment(`${first} were sent before the socket was open`);
  const unanswered = Array.from({ length: 2000 - first }, (_, i) => first + i).filter(id => seen.get(id) !== 0);
  t.same(unanswered, []);
});
