// The floor of the start, of memory and of missed queries: the least that a program on Node.js does, in `node relay.cjs PORT
// SERVER_PORT CA_FILE THREADS`. It hands messages on between UDP and one TLS connection, as they are: without checks, ids of its
// own, padding, time limits or a cache. Its threads do nothing.

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
/** Queries that leave at the end of this turn, in one write. */
let queries = [];
let unread = Buffer.alloc(0);

const flush = () => {
  server.write(Buffer.concat(queries));
  queries = [];
};
clients.on('message', (message, client) => {
  asked.set(message.readUInt16BE(0), client);
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16BE(message.length);
  if (queries.push(length, message) === 2) setImmediate(flush);
});
server.on('data', octets => {
  const all = unread.length === 0 ? octets : Buffer.concat([unread, octets]);
  let at = 0;
  while (at + 4 <= all.length && at + 2 + all.readUInt16BE(at) <= all.length) {
    const end = at + 2 + all.readUInt16BE(at);
    const { port: to, address } = asked.get(all.readUInt16BE(at + 2));
    clients.send(all.subarray(at + 2, end), to, address);
    at = end;
  }
  unread = all.subarray(at);
});
clients.bind(Number(port), '127.0.0.1');
if (Number(threads) > 0) {
  const { Worker } = require('node:worker_threads');
  for (let i = 0; i < Number(threads); i++) new Worker('setInterval(() => undefined, 1000)', { eval: true });
}
