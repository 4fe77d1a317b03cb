// Runs in separate namespaces (see link-local.test.ts). veth1 is the router's end of a link and veth0 ours. The router's resolver is
// at fe80::53: in cleartext on port 53, where it also designates itself, and over TLS on 853. Its client is the program. The arguments
// name the situation and the file that is mounted at /etc/resolv.conf. It prints its findings as JSON.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { messageToText } from '../../src/wire/message.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { REPORT, tryAsk, type At } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { responseTo } from '../fixtures/messages.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [situation = ''] = process.argv.slice(2);
const directory = temporaryDirectory();
const ca = authority();
const caFile = join(directory.path, 'ca.pem');
writeFileSync(caFile, ca.cert);
const LOOPBACK: At = { address: '127.0.0.1', port: 5300 };
/** A designated resolver is elsewhere, but must prove the address of the one that designated it (RFC 9462 §4.2). */
const tlsAddress = situation.includes('designated') ? 'fe80::54' : 'fe80::53';

const inCleartext: string[] = [];
const plain = createSocket('udp6');
plain.on('message', (query, from) => {
  const { name: asked = '', type = '' } = messageToText(query)?.question ?? {};
  // Names in cleartext come in random letter case.
  const name = asked.toLowerCase();
  inCleartext.push(name);
  // No zone: messages of DNS cannot carry one.
  const answers =
    type === 'SVCB'
      ? '_dns.resolver.arpa. 60 SVCB 1 dns.test. alpn=dot'
      : type === 'AAAA' && name.startsWith('dns.test')
        ? `dns.test. 60 AAAA ${tlsAddress}`
        : type === 'A' && !name.startsWith('dns.test')
          ? `${name} 0 A 192.0.2.53`
          : undefined;
  const says = type !== 'SVCB' || situation.includes('designated') ? answers : undefined;
  plain.send(responseTo(query, says === undefined ? {} : { answers: says }), from.port, from.address);
});
await new Promise<void>(resolve => plain.bind(53, 'fe80::53%veth1', () => resolve()));
const tls = await dotServer({
  identity: certificate({
    common: 'x',
    names: ['dns.test'],
    ips: ['fe80::53'],
    // A router's own certificate.
    ...(situation.includes('own certificate') ? {} : { issuer: ca }),
  }),
  handler: answering(),
  address: `${tlsAddress}%veth1`,
  port: 853,
});

/** Asks a few new names, and returns the RCODE and the protocol of the last. */
async function query(at = LOOPBACK, tcp = false): Promise<{ rcode: string; protocol: string }> {
  let last = { rcode: 'none', protocol: '' };
  for (let i = 0; i < 5; i++) {
    const told = await tryAsk(at, `n${i}.wild.example`, { options: [REPORT], tcp });
    last = { rcode: told?.text.rcode ?? 'none', protocol: told?.report.get('protocol') ?? '' };
    await sleep(200);
  }
  return last;
}

const result: Record<string, unknown> = {};
const configuration =
  {
    'the default configuration, own certificate': '',
    'the default configuration, designated': `upstream: { ca_file: ${caFile} }\n`,
    'strict, by address': `upstream: { mode: strict, ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["fe80::53%veth0"] }] }\n`,
    'strict, no name': `upstream: { mode: strict, ca_file: ${caFile}, servers: [{ addresses: ["[fe80::53%veth0]:853"], pins: ["sha256/${ca.pin}"], pin_policy: pin_only }] }\n`,
    'strict, name looked up': `upstream: { mode: strict, ca_file: ${caFile}, bootstrap: ["fe80::53%veth0"], servers: [{ name: dns.test }] }\n`,
    'a route': `upstream: { mode: strict, ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["fe80::53%veth0"] }] }\nroutes: [{ zones: [wild.example], resolvers: ["fe80::53%veth0"] }]\n`,
  }[situation] ?? '';
const listening = situation.startsWith('listeners')
  ? `listen: ["[${situation.includes('wildcard') ? '::' : 'fe80::1%veth0'}]:5300"]\nfront: { io: ${situation.includes('dgram') ? 'dgram' : 'auto'}, threads: ${situation.endsWith('a thread') ? 1 : 0} }\naccess: { allow: ["fe80::/10"] }\nupstream: { mode: strict, ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["fe80::53%veth0"] }] }\n`
  : undefined;
const daemon = await startDotstub(listening ?? configuration);
if (listening === undefined) {
  result['answer'] = await query();
} else {
  const own: At = { address: 'fe80::1%veth0', port: 5300 };
  result['udp'] = await query(own);
  result['cached'] = await query(own);
  result['tcp'] = await query(own, true);
}
result['overTls'] = tls.queries > 0;
result['inCleartext'] = [...new Set(inCleartext)];
result['log'] = daemon.log();
await daemon.stop();
console.log(JSON.stringify(result));
plain.close();
await tls.close();
directory.remove();
process.exit(0);
