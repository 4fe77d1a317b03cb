// The floor of the start and of memory: the least that a program on Node.js does for the first answer, in `node relay.cjs
// PORT SERVER_PORT CA_FILE THREADS`. It hands messages on between UDP and one TLS connection; its threads do nothing.

'use strict';

const { createSocket } = require('node:dgram');
const { readFileSync } = require('node:fs');
const { connect } = require('node:tls');

const [port, serverPort, caFile, threads] = process.argv.slice(2);
const server = connect({
  host: '127.0.0.1',
  port: Number(serverPort),
  servername: 'dns.test',
  ca: readFileSync(caFile),
});
const clients = createSocket('udp4');
const asked = new Map();
let unread = Buffer.alloc(0);

clients.on('message', (message, client) => {
  asked.set(message.readUInt16BE(0), client);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  server.write(Buffer.concat([length, message]));
});
server.on('data', octets => {
  unread = Buffer.concat([unread, octets]);
  while (unread.length > 2 && unread.length >= 2 + unread.readUInt16BE(0)) {
    const end = 2 + unread.readUInt16BE(0);
    const { port: to, address } = asked.get(unread.readUInt16BE(2));
    clients.send(unread.subarray(2, end), to, address);
    unread = unread.subarray(end);
  }
});
clients.bind(Number(port), '127.0.0.1');
if (Number(threads) > 0) {
  const { Worker } = require('node:worker_threads');
  for (let i = 0; i < Number(threads); i++) new Worker('setInterval(() => undefined, 1000)', { eval: true });
}
