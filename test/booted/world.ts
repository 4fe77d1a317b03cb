// The Internet of the booted trees: a signed root with example.com and example.net, in cleartext on two addresses (the
// routers) and over TLS on a third (dot.demo). `node --import=tsx world.ts DIRECTORY CLEARTEXT CLEARTEXT TLS` writes what
// a strict configuration for it needs into DIRECTORY, and runs until it is ended.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { authority, certificate } from '../fixtures/certificates.js';
import { dotServer, type Handler } from '../fixtures/dot-server.js';
import { signedTree } from '../fixtures/signed-records.js';

const DNS = 53;
const DOT = 853;
const TC_AT = 2;
const TC = 0x02;
const HEADER_BYTES = 12;
const MOST_UDP_BYTES = 1232;

const [directory = '.', first = '127.0.0.1', second = '127.0.0.2', tls = '127.0.0.3'] = process.argv.slice(2);

const tree = signedTree(
  {
    '.': { text: '' },
    'com.': { text: '' },
    'net.': { text: '' },
    'example.com.': { text: 'example.com. 60 A 192.0.2.80' },
    'example.net.': { text: 'example.net. 60 A 192.0.2.81' },
  },
  Math.floor(Date.now() / 1000),
);

const handler: Handler = (query, session) => {
  const reply = tree.answer(query);
  if (reply !== undefined) session.reply(reply);
};

for (const address of [first, second]) {
  await dotServer({ identity: undefined, handler, address, port: DNS });
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const reply = tree.answer(query);
    if (reply === undefined) return;
    const cut = reply.length > MOST_UDP_BYTES ? Buffer.from(reply.subarray(0, HEADER_BYTES)) : reply;
    if (cut !== reply) {
      cut[TC_AT] = (cut[TC_AT] ?? 0) | TC;
      cut.fill(0, 4);
    }
    socket.send(cut, from.port, from.address);
  });
  socket.bind(DNS, address);
}

const ca = authority('CA of the booted trees');
const identity = certificate({ common: 'dot.demo', names: ['dot.demo'], issuer: ca });
await dotServer({ identity, handler, address: tls, port: DOT });

const anchors = `dnssec: { trust_anchors: [${tree.anchors.map(each => JSON.stringify(each)).join(', ')}] }\n`;
writeFileSync(join(directory, 'ca.pem'), ca.cert);
writeFileSync(join(directory, 'network.yaml'), `preset: laptop\n${anchors}`);
writeFileSync(
  join(directory, 'strict.yaml'),
  `preset: laptop\n${anchors}upstream: { ca_file: /etc/dotstub/ca.pem, servers: [{ name: dot.demo, addresses: ["${tls}"] }] }\n`,
);
console.log('ready');
