// Streams to servers, with sockets: TCP, TLS on top (RFC 7858 §3.1, profile of RFC 9325), and the question whether
// the server is who it should be (RFC 8310 §8.1). A server that fails that test never sees a query: `connected` is
// only called for a stream that may be used.

import { connect, type OnReadOpts, type Socket } from 'node:net';
import * as tls from 'node:tls';

import type { FailureCode } from '../base/outcome.js';
import type { Clock, Connected, Dial, Stream, StreamEvents } from '../base/ports.js';
import { identityKey, judge, type Judged, showChain, type Shown, type TlsSecurity, wordsFor } from './identity.js';
import { tickets } from './tickets.js';

/** How long connecting may take. */
export interface DialTimes {
  readonly tcpMs: number;
  /** TCP and TLS together. */
  readonly totalMs: number;
}
export const DIAL_TIMES: DialTimes = { tcpMs: 2000, totalMs: 4000 };

/** RFC 7858 §3.1 uses port 853; the ALPN id `dot` is registered for it (RFC 7858 §3.1 erratum, IANA). */
const ALPN = 'dot';

/** The largest TLS record (RFC 8446 §5.1). */
const READ_BYTES = 16384;

/** What the dialer is made from. */
export interface DialParts {
  /** PEM text of the trusted roots; undefined: those that Node.js brings along. */
  readonly ca: string | undefined;
  /** Our own certificate and key, PEM, for servers that want to know who asks. */
  readonly client: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly clock: Clock;
  /** Whether the wall clock can not be right, or was set by nobody. */
  readonly clockIsBehind?: () => boolean;
  /** Has the kernel acknowledge what has come on a socket at once; undefined: it can not be told. */
  readonly acknowledge?: (fd: number) => void;
}

/** Makes the Dial port. */
export function dialer(
  { ca, client, clock, acknowledge, clockIsBehind }: DialParts,
  times: DialTimes = DIAL_TIMES,
): Dial {
  // Parsing a system's whole store takes tens of milliseconds: once, and not before it is needed.
  let context: tls.SecureContext | undefined;
  const secureContext = (): tls.SecureContext =>
    (context ??= tls.createSecureContext({ minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }), ...client }));
  // Servers that refuse a handshake because of ALPN; as many as there are configured addresses.
  const withoutAlpn = new Set<string>();
  const kept = tickets(() => clock.wallMs());

  return (target, events) => {
    const where = `${target.address} port ${target.port}`;
    const identity = identityKey(target);
    let established = false;
    let over = false;
    let outgoing: Buffer[] = [];
    let flushing = false;
    let socket: Socket;

    const timers = [
      setTimeout(
        () => socket.connecting && fail('connect_timeout', `${where}: no TCP connection within ${times.tcpMs} ms`),
        times.tcpMs,
      ),
      setTimeout(
        () => fail('connect_timeout', `${where}: no TLS connection within ${times.totalMs} ms`),
        times.totalMs,
      ),
    ];

    // Into one buffer, again and again: a buffer and an event for each record would cost more than its query.
    const onread: OnReadOpts = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback(bytes, buffer) {
        if (!over) events.bytes(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
        return true;
      },
    };

    function acknowledgeOn(opened: Socket): void {
      const fd = acknowledge === undefined ? undefined : fdOf(opened);
      if (fd !== undefined) acknowledge?.(fd);
    }

    function finish(why: Parameters<StreamEvents['closed']>[0]): void {
      if (over) return;
      over = true;
      timers.forEach(clearTimeout);
      socket.destroy();
      events.closed(why);
    }
    const fail = (code: FailureCode, detail: string): void => finish({ code, detail });

    function connected(info: Connected): void {
      established = true;
      timers.forEach(clearTimeout);
      flush();
      events.connected(info);
    }

    function openPlain(): Socket {
      const opened = connect({ host: target.address, port: target.port, noDelay: true, onread });
      opened.once('connect', () => {
        if (!over) connected({ authenticated: false, resumed: false });
      });
      return opened;
    }

    function openTls(security: TlsSecurity, alpn: boolean): Socket {
      const session = kept.take(identity);
      const opened = tls.connect({
        host: target.address,
        port: target.port,
        secureContext: secureContext(),
        ...(alpn ? { ALPNProtocols: [ALPN] } : {}),
        // Without a name there is no SNI (RFC 6066 §3 allows none for addresses).
        ...(sniOf(security) === undefined ? {} : { servername: sniOf(security) }),
        ...(session === undefined ? {} : { session }),
        // Judged below, with all that is known: Node.js would not ask at all for a session that is resumed.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
        ...{ onread },
      });
      // Tickets come with the handshake (TLS 1.2) or after it (TLS 1.3), and are kept once the server has been judged.
      let early: Buffer | undefined;
      opened.on('session', (ticket: Buffer) => {
        // Many servers send tickets in a segment of their own and, after Nagle, hold the first answer back until it has been
        // acknowledged, which the kernel here would only do 40 ms later.
        acknowledgeOn(opened);
        if (established) kept.put(identity, ticket, judged);
        else early = ticket;
      });
      let judged: Judged = { at: 'refused', detail: '' };
      opened.once('secureConnect', () => {
        if (over || opened !== socket) return;
        const resumed = opened.isSessionReused();
        // What a ticket was kept under is all that the verdict depends on, so it holds for the resumed session too.
        judged =
          (resumed ? kept.verdict(identity) : undefined) ??
          judge(opened.getPeerCertificate(true), chainProblem(opened), security, target.address, clockIsBehind?.());
        if (judged.at === 'refused') return fail('tls_verify', `${where}: ${judged.detail}`);
        if (early !== undefined) kept.put(identity, early, judged);
        // TLS 1.2 gives no new ticket with a session that was resumed; the old one is as good (RFC 5077).
        else if (resumed && session !== undefined && opened.getProtocol() === 'TLSv1.2')
          kept.put(identity, session, judged);
        connected({
          authenticated: judged.authenticated,
          resumed,
          protocol: opened.getProtocol() ?? '',
          ...certificateEnd(opened),
          ...(judged.warning === undefined ? {} : { warning: judged.warning }),
        });
      });
      return opened;
    }

    function open(alpn: boolean): Socket {
      const { security } = target;
      const opened = security.at === 'cleartext' ? openPlain() : openTls(security, alpn);
      opened.setNoDelay(true);
      opened.on('error', (error: NodeJS.ErrnoException) => {
        if (opened !== socket || over) return;
        if (alpn && error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL') {
          withoutAlpn.add(where);
          socket = open(false);
          return;
        }
        if (established) fail('closed', `${where}: ${plainWords(error)}`);
        else fail(codeOf(error), `${where}: ${plainWords(error)}`);
      });
      // No half-open streams: a server that has closed its side answers nothing more.
      opened.on('end', () => {
        if (opened !== socket) return;
        if (established) finish(undefined);
        else fail('tls_alert', `${where}: closed during the handshake`);
      });
      opened.on('close', () => {
        if (opened !== socket) return;
        if (established) finish(undefined);
        else fail('connect', `${where}: closed before the connection was made`);
      });
      return opened;
    }
    socket = open(!withoutAlpn.has(where));

    // Once per turn of the event loop, so that all queries of one turn share a TLS record and a segment.
    function flush(): void {
      flushing = false;
      // Not a byte before the peer has proved itself.
      if (over || !established || outgoing.length === 0) return;
      const bytes = outgoing.length === 1 ? outgoing[0] : Buffer.concat(outgoing);
      outgoing = [];
      if (bytes !== undefined) socket.write(bytes);
    }

    const stream: Stream = {
      send(bytes) {
        outgoing.push(bytes);
        if (flushing) return;
        flushing = true;
        setImmediate(flush);
      },
      acknowledge: () => over || acknowledgeOn(socket),
      close() {
        if (over) return;
        flush();
        over = true;
        timers.forEach(clearTimeout);
        if (!established) return void socket.destroy();
        socket.end();
        // A peer that never answers our FIN must not keep the socket.
        setTimeout(() => socket.destroy(), times.tcpMs).unref();
      },
      destroy() {
        over = true;
        timers.forEach(clearTimeout);
        socket.destroy();
      },
    };
    return stream;
  };
}

/**
 * Connects, looks at the certificates, and goes away: for people who want to know what a server shows.
 * @param host an address, or a name that the system looks up
 * @returns the chain, or why there is none
 */
export async function fetchChain(
  host: string,
  port: number,
  name: string | undefined,
  times: DialTimes = DIAL_TIMES,
): Promise<Shown[] | string> {
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
        const chain = showChain(socket.getPeerCertificate(true));
        socket.destroy();
        resolve(chain);
      },
    );
    socket.setTimeout(times.totalMs, () =>
      socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
    );
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(plainWords(error)));
  });
}

/** Node.js has no public way to it. */
const fdOf = (socket: Socket): number | undefined => {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
};

const sniOf = (security: TlsSecurity): string | undefined =>
  security.name ?? (security.at === 'authenticated' ? security.designatedBy?.name : undefined);

/** Where a session is resumed, there may be no certificate. */
function certificateEnd(socket: tls.TLSSocket): Pick<Connected, 'certificateEndsMs'> {
  // Declared as always there; an empty object in truth where there is none.
  const { valid_to: until } = socket.getPeerCertificate() as Partial<tls.PeerCertificate>;
  const endsMs = until === undefined ? NaN : Date.parse(until);
  return Number.isNaN(endsMs) ? {} : { certificateEndsMs: endsMs };
}

/** Declared as an Error, and a code in truth. */
function chainProblem(socket: tls.TLSSocket): string | undefined {
  const problem: unknown = socket.authorizationError;
  return problem instanceof Error ? problem.message : typeof problem === 'string' ? problem : undefined;
}

const plainWords = (error: NodeJS.ErrnoException): string => wordsFor(error.code ?? '') ?? error.message;

/** Which row of FAILURES an error before the end of the handshake belongs to. */
function codeOf({ code = '' }: NodeJS.ErrnoException): FailureCode {
  return code.startsWith('ERR_SSL') || code.startsWith('EPROTO') || code.startsWith('ERR_TLS')
    ? 'tls_alert'
    : 'connect';
}
