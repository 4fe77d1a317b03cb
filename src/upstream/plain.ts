// DNS in cleartext over UDP, with sockets (RFC 5452 §9.2): each query from a socket of its own, so that its source
// port is the kernel's random choice, connected, so that only the asked address can answer.

import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';

import type { DialDatagram } from '../base/ports.js';

/** The DialDatagram port. An ICMP error ends it at once. */
export const dialDatagram: DialDatagram = async ({ address, port }, query, accept, timeoutMs) =>
  new Promise(resolve => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const timer = setTimeout(() => finish('timeout'), timeoutMs);
    let over = false;
    function finish(reply: Buffer | 'timeout' | 'unreachable'): void {
      if (over) return;
      over = true;
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    }
    socket.on('error', () => finish('unreachable'));
    socket.on('message', message => {
      if (accept(message)) finish(message);
    });
    // What goes wrong with connecting, such as a network that is not there, comes here and not as an event; declared without.
    socket.connect(port, address, (...problem: unknown[]) => {
      if (problem[0] instanceof Error) finish('unreachable');
      else if (!over) socket.send(query);
    });
  });
