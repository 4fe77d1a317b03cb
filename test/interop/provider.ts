// Runs in separate namespaces (see clients.test.ts). It starts a resolver in cleartext on 127.0.0.2, which resolv.conf names, a
// DNS-over-TLS server on port 853, and `dotstub run dns.test`, and prints the results.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { messageToText } from '../../src/wire/message.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { ask, REPORT } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { responseTo } from '../fixtures/messages.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const directory = temporaryDirectory();
const ca = authority();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const inCleartext = new Set<string>();
const resolver = createSocket('udp4');
resolver.on('message', (query, from) => {
  const question = messageToText(query)?.question;
  // Names in cleartext come in random letter case.
  inCleartext.add(`${question?.name.toLowerCase() ?? '?'} ${question?.type ?? '?'}`);
  resolver.send(
    responseTo(query, question?.type === 'A' ? { answers: 'dns.test. 300 A 127.0.0.1' } : {}),
    from.port,
    from.address,
  );
});
await new Promise<void>(resolve => resolver.bind(53, '127.0.0.2', () => resolve()));
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering(),
  port: 853,
});

const daemon = await startDotstub(`upstream: { ca_file: ${join(directory.path, 'ca.pem')} }\n`, ['dns.test']);
const { text, report } = await ask({ address: '127.0.0.1', port: 5300 }, 'www.example', { options: [REPORT] });
console.log(`answer: ${text.answers[0]?.data ?? text.rcode} from ${report.toString()}`);
await server.close();
const after = await ask({ address: '127.0.0.1', port: 5300 }, 'alias.example');
console.log(`with the server gone: ${after.text.rcode}`);
console.log(`in cleartext: ${[...inCleartext].sort().join(', ')}`);
await daemon.stop();
resolver.close();
directory.remove();
process.exit(0);
