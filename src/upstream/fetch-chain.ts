// Fetches the certificates of a server, for people who want to see them before they or their phones trust the server.

import { X509Certificate } from 'node:crypto';
import * as tls from 'node:tls';

import { ALPN, DIAL_TIMES, type DialTimes } from './dial.js';
import { wallMs } from '../base/time.js';
import { errorWords } from './error-words.js';
import { sentChain, showChain, unjudged, type ShownCertificate } from './identity.js';

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
  return handshake({ host, port, name, alpn: [ALPN] }, times, socket =>
    showChain(socket.getPeerCertificate(true), name, socket.remoteAddress ?? '', wallMs(Date.now()), socket.authorized),
  );
}

/** What a server shows, and what OpenSSL says about it. */
export interface JudgedChain {
  /** The server's own certificate first. */
  readonly certificates: readonly X509Certificate[];
  /** OpenSSL's code for a problem with the chain; undefined: it leads to one of the roots. Names are not looked at. */
  readonly problem: string | undefined;
}

/** Whom to ask, over what. */
export interface HandshakeTarget {
  /** An address, or a name that the system looks up. */
  readonly host: string;
  readonly port: number;
  /** For SNI. */
  readonly name: string | undefined;
  readonly alpn: readonly string[];
}

/**
 * Connects, has OpenSSL judge the chain that the server sends by these roots (PEM) and no others, and closes.
 * @returns the chain, or why there is none
 */
export const judgeChain = async (
  target: HandshakeTarget,
  roots: readonly string[],
  times: DialTimes = DIAL_TIMES,
): Promise<JudgedChain | string> =>
  handshake({ ...target, roots }, times, socket => ({
    certificates: sentChain(socket.getPeerCertificate(true)).map(each => new X509Certificate(each)),
    problem: socket.authorized ? undefined : String(socket.authorizationError),
  }));

/** @param use its errors are the server's: it wrote the certificates */
async function handshake<T>(
  { host, port, name, alpn, roots }: HandshakeTarget & { readonly roots?: readonly string[] },
  { totalMs }: DialTimes,
  use: (socket: tls.TLSSocket) => T,
): Promise<T | string> {
  return new Promise(resolve => {
    const socket = tls.connect(
      {
        ...{ host, port, rejectUnauthorized: false, ALPNProtocols: [...alpn] },
        ...(name === undefined ? {} : { servername: name }),
        ...(roots === undefined ? {} : { ca: [...roots], checkServerIdentity: () => undefined }),
      },
      () => {
        resolve(judged(() => use(socket)));
        socket.destroy();
      },
    );
    socket.setTimeout(totalMs, () => socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(errorWords(error)));
  });
}

/** What is made of the certificates, or why they cannot be read. */
function judged<T>(use: () => T): T | string {
  try {
    return use();
  } catch (error) {
    return unjudged(error);
  }
}
