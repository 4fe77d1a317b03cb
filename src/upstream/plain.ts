// DNS in cleartext over UDP, with sockets (RFC 5452 §9.2): each query from a socket of its own, so that its source
// port is the kernel's random choice, connected, so that only the asked address can answer.

import { createSocket, type Socket } from 'node:dgram';
import { isIP, isIPv6 } from 'node:net';

import type { DialDatagram } from '../base/ports.js';

/**
 * The DialDatagram port. An ICMP error ends it at once, and so does a system that gives no socket or knows no way to the
 * address. An exception in `accept` is not caught: it comes from an event of the socket, and ends the process.
 */
export const dialDatagram: DialDatagram = async ({ address, port }, query, accept, timeoutMs) =>
  new Promise(resolve => {
    let socket: Socket | undefined;
    let isOver = false;
    const finish = (reply: Buffer | 'timeout' | 'unreachable'): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      closeSocket(socket);
      resolve(reply);
    };
    const timer = setTimeout(() => finish('timeout'), timeoutMs);
    // Names are never looked up here: the question would come back to ourselves.
    if (isIP(address) === 0) return finish('unreachable');
    try {
      socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
      const opened = socket;
      opened.on('error', () => finish('unreachable'));
      opened.on('message', message => {
        if (!isOver && accept(message)) finish(message);
      });
      // What goes wrong with connecting, such as a network that is not there, comes here and not as an event; declared without.
      opened.connect(port, address, (...problem: unknown[]) => {
        if (problem[0] instanceof Error) finish('unreachable');
        else if (!isOver) sendOn(opened, query, () => finish('unreachable'));
      });
    } catch {
      // No socket was to be had (EMFILE), or the address is none: what was tried is all in the lines above.
      finish('unreachable');
    }
  });

function sendOn(socket: Socket, query: Buffer, failed: () => void): void {
  try {
    socket.send(query, error => {
      if (error !== null) failed();
    });
  } catch {
    failed();
  }
}

/** A socket that could not be bound is closed already, and says so. */
function closeSocket(socket: Socket | undefined): void {
  try {
    socket?.close();
  } catch {
    // Closed already.
  }
}
