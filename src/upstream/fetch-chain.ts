// Fetches the certificates of a server, for people who want to see them before they trust the server.

import * as tls from 'node:tls';

import { ALPN, DIAL_TIMES, type DialTimes } from './dial.js';
import { wallMs } from '../base/time.js';
import { errorWords } from './error-words.js';
import { showChain, unjudged, type ShownCertificate } from './identity.js';

/**
 * Connects, reads the certificates, and closes.
 * @param host an address, or a name that the system looks up
 * @returns the chain, or why there is none
 */
export async function fetchChain(
  host: string,
  port: number,
  name: string | undefined,
  times: DialTimes = DIAL_TIMES,
): Promise<ShownCertificate[] | string> {
  return new Promise(resolve => {
    const socket = tls.connect(
      {
        host,
        port,
        rejectUnauthorized: false,
        ALPNProtocols: [ALPN],
        ...(name === undefined ? {} : { servername: name }),
      },
      () => {
        resolve(chainOf(socket, name));
        socket.destroy();
      },
    );
    socket.setTimeout(times.totalMs, () =>
      socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
    );
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(errorWords(error)));
  });
}

/** The chain that a server shows, or why it cannot be shown. */
function chainOf(socket: tls.TLSSocket, name: string | undefined): ShownCertificate[] | string {
  try {
    const peer = socket.getPeerCertificate(true);
    return showChain(peer, name, socket.remoteAddress ?? '', wallMs(Date.now()), socket.authorized);
  } catch (error) {
    // The server wrote the certificates, so that they cannot be read is a fault of the server and not ours.
    return unjudged(error);
  }
}
