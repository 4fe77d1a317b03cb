// DNS in cleartext over UDP, with sockets (RFC 5452 §9.2). Each query has its own socket, so that the kernel chooses a
// random source port. The socket is connected, so that only the address that was asked can answer.

import { createSocket, type Socket } from 'node:dgram';

import { isIP, isIPv6 } from '../base/address.js';
import type { DialDatagram } from '../base/ports.js';

/**
 * The DialDatagram port. It ends at once after an ICMP error, and if the system gives no socket or has no route to the
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
      // Errors of connecting, such as a missing network, are passed to this callback instead of an event. The type has
      // no parameter for it.
      opened.connect(port, address, (...problem: unknown[]) => {
        if (problem[0] instanceof Error) finish('unreachable');
        else if (!isOver) sendOn(opened, query, () => finish('unreachable'));
      });
    } catch {
      // The system has no socket left (EMFILE), or the address is invalid.
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

/** Closes a socket. One that could not be bound is closed already, and throws. */
function closeSocket(socket: Socket | undefined): void {
  try {
    socket?.close();
  } catch {
    // Closed already.
  }
}
