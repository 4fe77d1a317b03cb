// The program with few descriptors, and clients that open connections and say nothing: it lives, and UDP goes on answering.

import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';

import t from 'tap';

import { framed, frameReader } from '../../src/wire/frame.js';
import { messageToText, type MessageText } from '../../src/wire/message.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { ask, queryMessage } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { PROGRAM, startDotstub, temporaryDirectory } from '../fixtures/program.js';

const SILENT = 1000;

const ca = authority();
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering('*.example. 300 A 192.0.2.80'),
});
const directory = temporaryDirectory();
const own = certificate({ common: 'x', names: ['router.test'], issuer: ca });
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
writeFileSync(join(directory.path, 'cert.pem'), own.cert);
writeFileSync(join(directory.path, 'key.pem'), own.key);
t.teardown(async () => {
  await server.close();
  directory.remove();
});

/** A connection that says nothing; resolved when it is made, or refused. */
const silent = async (port: number, from: string): Promise<Socket> =>
  new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from }, () => resolve(socket));
    socket.on('error', () => resolve(socket));
  });

/** The answer that a client of its own gets over a session. */
const answerOver = async (transport: 'TCP' | 'TLS', port: number): Promise<MessageText | undefined> =>
  new Promise(resolve => {
    const plain = connect({ host: '127.0.0.1', port, localAddress: '127.0.2.1' });
    const socket = transport === 'TCP' ? plain : connectTls({ socket: plain, rejectUnauthorized: false });
    const frames = frameReader();
    const done = (text: MessageText | undefined): void => {
      clearTimeout(timer);
      plain.destroy();
      resolve(text);
    };
    const timer = setTimeout(() => done(undefined), 5000);
    for (const each of new Set([plain, socket])) each.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => frames.push(chunk, message => done(messageToText(message))));
    socket.on('close', () => done(undefined));
    socket.write(framed(queryMessage('newcomer.example')));
  });

for (const limit of [1024, 256, 64]) {
  for (const transport of ['TCP', 'TLS'] as const) {
    for (const threads of [0, 1]) {
      const title = `ulimit -n ${limit}, front threads: ${threads}: ${SILENT} silent ${transport} connections`;
      await t.test(title, async t => {
        const [port, tlsPort] = [await freePort(), await freePort('127.0.0.2')];
        const daemon = await startDotstub(
          `
listen: ["127.0.0.1:${port}"]
listen_tls:
  addresses: ["127.0.0.1:${tlsPort}"]
  certificate: ${join(directory.path, 'cert.pem')}
  key: ${join(directory.path, 'key.pem')}
metrics: { listen: "off" }
log: { format: json }
state_directory: ${directory.path}
front: { threads: ${threads} }
upstream:
  mode: strict
  ca_file: ${join(directory.path, 'ca.pem')}
  servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }]`,
          [],
          ['sh', '-c', `ulimit -n ${limit}; exec "$0" "$@"`, ...PROGRAM],
        );
        t.teardown(async () => daemon.child.exitCode === null && daemon.stop());
        const at = { address: '127.0.0.1', port };
        t.equal((await ask(at, 'before.example')).text.rcode, 'NOERROR');
        const sockets: Socket[] = [];
        // One client, which has a cap of its own, and others beside it.
        for (let from = 0; from < SILENT / 50; from++) {
          const address = from < 5 ? '127.0.0.1' : `127.0.1.${from}`;
          const target = transport === 'TCP' ? port : tlsPort;
          sockets.push(...(await Promise.all(Array.from({ length: 50 }, async () => silent(target, address)))));
          if (from % 5 === 0) t.equal((await ask(at, `n${from}.example`)).text.rcode, 'NOERROR');
        }
        await sleep(100);
        const after = await ask(at, 'after.example');
        t.equal(after.text.rcode, 'NOERROR');
        // What waits for descriptors waits for seconds.
        t.ok(after.ms < 3000, `UDP answered within ${after.ms.toFixed()} ms`);
        // The crowd holds all there is, and a newcomer still gets an answer.
        t.equal((await answerOver(transport, transport === 'TCP' ? port : tlsPort))?.rcode, 'NOERROR');
        t.match(daemon.log(), new RegExp(`at most ${limit} files may be open`));
        const complaints = daemon.log().match(/^.*"level":"(?:warn|error)".*$/gm) ?? [];
        t.equal(complaints.length, 2, 'one line about the limit, one about the mode of this test');
        t.notMatch(daemon.log(), /EMFILE|a failure of the system/);
        t.equal(daemon.child.exitCode, null);
        for (const each of sockets) each.destroy();
        t.equal((await daemon.stop()).code, 0);
      });
    }
  }
}
