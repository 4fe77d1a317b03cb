// Runs in separate namespaces (see clients.test.ts). It starts zones behind DNS over TLS and the daemon on port 53 of the network
// namespace's loopback, then runs the command in its arguments and exits with its code.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { authority, certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const directory = temporaryDirectory();
const ca = authority();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering(),
});
const daemon = await startDotstub(`
preset: laptop
listen: ["127.0.0.1:53"]
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);
const [command = 'true', ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: 'inherit' });
const code = await new Promise<number>(resolve => child.once('close', status => resolve(status ?? 1)));
await daemon.stop();
await server.close();
directory.remove();
process.exit(code);
