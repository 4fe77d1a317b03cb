// Streams to servers, with sockets: TCP, TLS on top (RFC 7858 §3.1, profile of RFC 9325), and the question whether
// the server is who it should be (RFC 8310 §8.1). A server that fails that test never sees a query: `connected` is
// only called for a stream that may be used.

import { connect, type OnReadOpts, type Socket } from 'node:net';
import * as tls from 'node:tls';

import type { FailureCode } from '../base/outcome.js';
import type { Clock, Connected, Dial, DialTarget, Stream, StreamEvents } from '../base/ports.js';
import { errorWords } from './error-words.js';
import { identityKey, type PeerVerdict, type TlsSecurity, verifyPeer } from './identity.js';
import { Tickets } from './tickets.js';

/** How long connecting may take. */
export interface DialTimes {
  readonly tcpMs: number;
  /** TCP and TLS together. */
  readonly totalMs: number;
}
export const DIAL_TIMES: DialTimes = { tcpMs: 2000, totalMs: 4000 };

/** RFC 7858 §3.1 uses port 853; the ALPN id `dot` is registered for it (RFC 7858 §3.1 erratum, IANA). */
export const ALPN = 'dot';

/** The largest TLS record (RFC 8446 §5.1). */
const READ_BYTES = 16384;

/** What the dialer is made from. */
export interface DialParts {
  /** PEM text of the trusted roots; undefined: those that Node.js brings along. */
  readonly ca: string | undefined;
  /** Our own certificate and key, PEM, for servers that want to know who asks. */
  readonly client: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly clock: Clock;
  /** Whether the wall clock cannot be right, or was set by nobody. */
  readonly clockIsBehind?: () => boolean;
  /** Has the kernel acknowledge what has come on a socket at once; undefined: it cannot be told. */
  readonly acknowledge?: (fd: number) => void;
}

/** Makes the Dial port. */
export function dialer(parts: DialParts, times: DialTimes = DIAL_TIMES): Dial {
  const shared = new Shared(parts, times);
  return (target, events) => new DialledStream(shared, target, events);
}

/** What all streams of a dialer share. */
class Shared {
  readonly tickets: Tickets;
  private context: tls.SecureContext | undefined = undefined;

  constructor(
    readonly parts: DialParts,
    readonly times: DialTimes,
  ) {
    this.tickets = new Tickets(() => parts.clock.wallMs());
  }

  /** Made once, and not before it is needed: parsing a system's whole store of roots takes tens of milliseconds. */
  get secureContext(): tls.SecureContext {
    const { ca, client } = this.parts;
    return (this.context ??= tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...client,
    }));
  }
}

type Phase = 'connecting' | 'established' | 'over';

/** One stream, from the first SYN to its end. */
class DialledStream implements Stream {
  private phase: Phase = 'connecting';
  /** Undefined: the system gave none. A server that refuses our ALPN id gets a second one. */
  private socket: Socket | undefined = undefined;
  /** Whether the server has refused our ALPN id on this stream. */
  private refusesAlpn = false;
  /** What leaves at the end of this turn of the event loop. */
  private outgoing: Buffer[] = [];
  private isFlushing = false;
  private readonly timers: readonly NodeJS.Timeout[];
  /** One buffer for all that comes: a buffer and an event for each record would cost more than its query. */
  private readonly onread: OnReadOpts;
  /** For people. */
  private readonly where: string;

  constructor(
    private readonly shared: Shared,
    private readonly target: DialTarget,
    private readonly events: StreamEvents,
  ) {
    this.where = `${target.address} port ${target.port}`;
    this.onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (bytes, buffer) => {
        if (this.phase !== 'over') this.events.bytes(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
        return true;
      },
    };
    const { tcpMs, totalMs } = shared.times;
    this.timers = [
      setTimeout(() => {
        if (this.socket?.connecting === true) this.fail('connect_timeout', `no TCP connection within ${tcpMs} ms`);
      }, tcpMs),
      setTimeout(() => this.fail('connect_timeout', `no TLS connection within ${totalMs} ms`), totalMs),
    ];
    this.open(target.withoutAlpn !== true);
  }

  send(bytes: Buffer): void {
    this.outgoing.push(bytes);
    if (this.isFlushing) return;
    this.isFlushing = true;
    // Once per turn of the event loop, so that all queries of one turn share a TLS record and a segment.
    setImmediate(this.flush);
  }

  acknowledge(): void {
    if (this.phase !== 'over' && this.socket !== undefined) this.acknowledgeOn(this.socket);
  }

  close(): void {
    if (this.phase === 'over') return;
    const { socket } = this;
    this.flush();
    const wasEstablished = this.phase === 'established';
    this.end();
    if (!wasEstablished) return void socket?.destroy();
    socket?.end();
    // A peer that never answers our FIN must not keep the socket.
    setTimeout(() => socket?.destroy(), this.shared.times.tcpMs).unref();
  }

  destroy(): void {
    this.end();
    this.socket?.destroy();
  }

  /** Opens a socket. What the system refuses at once is told later, like all other failures. */
  private open(alpn: boolean): void {
    try {
      const { security } = this.target;
      const opened = security.at === 'cleartext' ? this.openPlain() : this.openTls(security, alpn);
      this.socket = opened;
      this.watch(opened, alpn);
    } catch (error) {
      setImmediate(() => this.fail('connect', error instanceof Error ? errorWords(error) : String(error)));
    }
  }

  private openPlain(): Socket {
    const { address, port } = this.target;
    const opened = connect({ host: address, port, noDelay: true, onread: this.onread });
    opened.once('connect', () => {
      if (this.phase !== 'over') this.connected({ authenticated: false, resumed: false });
    });
    return opened;
  }

  private openTls(security: TlsSecurity, alpn: boolean): Socket {
    const { shared, target } = this;
    const identity = identityKey(target);
    const session = shared.tickets.take(identity);
    const sni = sniOf(security);
    const opened = tls.connect({
      host: target.address,
      port: target.port,
      secureContext: shared.secureContext,
      ...(alpn ? { ALPNProtocols: [ALPN] } : {}),
      // Without a name there is no SNI (RFC 6066 §3 allows none for addresses).
      ...(sni === undefined ? {} : { servername: sni }),
      ...(session === undefined ? {} : { session }),
      // Verified below, with all that is known: Node.js would not ask at all for a session that is resumed.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...{ onread: this.onread },
    });
    // Tickets come with the handshake (TLS 1.2) or after it (TLS 1.3), and are kept once the server has been verified.
    let early: Buffer | undefined;
    let verdict: PeerVerdict = { at: 'refused', detail: '' };
    opened.on('session', (ticket: Buffer) => {
      // Many servers send tickets in a segment of their own and, because of Nagle's algorithm, hold the first answer back
      // until it has been acknowledged, which the kernel here would only do 40 ms later.
      this.acknowledgeOn(opened);
      if (this.phase === 'established') shared.tickets.put(identity, ticket, verdict);
      else early = ticket;
    });
    opened.once('secureConnect', () => {
      if (this.phase === 'over' || opened !== this.socket) return;
      const resumed = opened.isSessionReused();
      verdict = this.verify(opened, security, resumed ? shared.tickets.verdict(identity) : undefined);
      if (verdict.at === 'refused') return this.fail('tls_verify', verdict.detail);
      if (early !== undefined) shared.tickets.put(identity, early, verdict);
      // TLS 1.2 gives no new ticket with a session that was resumed; the old one is as good (RFC 5077).
      else if (resumed && session !== undefined && opened.getProtocol() === 'TLSv1.2')
        shared.tickets.put(identity, session, verdict);
      this.connected({
        authenticated: verdict.authenticated,
        resumed,
        protocol: opened.getProtocol() ?? '',
        ...certificateEnd(opened),
        ...(this.refusesAlpn ? { refusesAlpn: true } : {}),
        ...(verdict.warning === undefined ? {} : { warning: verdict.warning }),
      });
    });
    return opened;
  }

  /** @param known the verdict of the handshake that the session comes from: tickets are kept under all that it depends on */
  private verify(opened: tls.TLSSocket, security: TlsSecurity, known: PeerVerdict | undefined): PeerVerdict {
    if (known !== undefined) return known;
    const { clockIsBehind } = this.shared.parts;
    const peer = opened.getPeerCertificate(true);
    return verifyPeer(peer, chainProblem(opened), security, this.target.address, clockIsBehind?.());
  }

  private watch(opened: Socket, alpn: boolean): void {
    opened.setNoDelay(true);
    opened.on('error', (error: NodeJS.ErrnoException) => {
      if (opened !== this.socket || this.phase === 'over') return;
      if (alpn && error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL') {
        this.refusesAlpn = true;
        this.open(false);
        return;
      }
      this.fail(this.phase === 'established' ? 'closed' : codeOf(error), errorWords(error));
    });
    // No half-open streams: a server that has closed its side answers nothing more.
    opened.on('end', () => {
      if (opened !== this.socket) return;
      if (this.phase === 'established') this.finish(undefined);
      else this.fail('tls_alert', 'closed during the handshake');
    });
    opened.on('close', () => {
      if (opened !== this.socket) return;
      if (this.phase === 'established') this.finish(undefined);
      else this.fail('connect', 'closed before the connection was made');
    });
  }

  private connected(info: Connected): void {
    this.phase = 'established';
    this.timers.forEach(clearTimeout);
    this.flush();
    this.events.connected(info);
  }

  private fail(code: FailureCode, detail: string): void {
    this.finish({ code, detail: `${this.where}: ${detail}` });
  }

  private finish(why: Parameters<StreamEvents['closed']>[0]): void {
    if (this.phase === 'over') return;
    this.end();
    this.socket?.destroy();
    this.events.closed(why);
  }

  private end(): void {
    this.phase = 'over';
    this.timers.forEach(clearTimeout);
  }

  private readonly flush = (): void => {
    this.isFlushing = false;
    // Not a byte before the peer has proved itself.
    if (this.phase !== 'established' || this.outgoing.length === 0) return;
    const bytes = this.outgoing.length === 1 ? this.outgoing[0] : Buffer.concat(this.outgoing);
    this.outgoing = [];
    if (bytes !== undefined) this.socket?.write(bytes);
  };

  private acknowledgeOn(opened: Socket): void {
    const { acknowledge } = this.shared.parts;
    const fd = acknowledge === undefined ? undefined : fdOf(opened);
    if (fd !== undefined) acknowledge?.(fd);
  }
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

/** Which row of FAILURES an error before the end of the handshake belongs to. */
function codeOf({ code = '' }: NodeJS.ErrnoException): FailureCode {
  return code.startsWith('ERR_SSL') || code.startsWith('EPROTO') || code.startsWith('ERR_TLS')
    ? 'tls_alert'
    : 'connect';
}
