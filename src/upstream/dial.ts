// Streams to servers, with sockets: TCP, TLS over TCP (RFC 7858 §3.1, profile of RFC 9325), and authentication of the
// server (RFC 8310 §8). No query is sent to a server that fails authentication: `connected` is called only for a stream
// that may be used. Where TLSA records decide, the owner looks them up over the stream and judges.

import { connect, type OnReadOpts, type Socket } from 'node:net';
import * as tls from 'node:tls';

import type { FailureCode } from '../base/outcome.js';
import type { Clock, Connected, Dial, DialTarget, Stream, StreamEvents } from '../base/ports.js';
import { errorWords } from './error-words.js';
import {
  type CertificateSecurity,
  identityKey,
  type PeerVerdict,
  sentChain,
  type TlsSecurity,
  verifyPeer,
} from './identity.js';
import { Tickets } from './tickets.js';

/** Time limits for connecting. */
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

/** The parts of the dialer. */
export interface DialParts {
  /** PEM text of the trusted roots; undefined: those of Node.js. */
  readonly ca: string | undefined;
  /** Our certificate and key in PEM, for servers that ask for a client certificate. */
  readonly client: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly clock: Clock;
  /** Whether the wall clock is known to be wrong, or was never set. */
  readonly clockIsBehind?: () => boolean;
  /** Makes the kernel acknowledge received octets on a socket at once; undefined: not available. */
  readonly acknowledge?: (fd: number) => void;
}

/** Makes the Dial port. */
export function dialer(parts: DialParts, times: DialTimes = DIAL_TIMES): Dial {
  const shared = new Shared(parts, times);
  return (target, events) => new DialledStream(shared, target, events);
}

/** State that all streams of a dialer share. */
class Shared {
  readonly tickets: Tickets;
  private context: tls.SecureContext | undefined = undefined;

  constructor(
    readonly parts: DialParts,
    readonly times: DialTimes,
  ) {
    this.tickets = new Tickets(() => parts.clock.wallMs());
  }

  /** Made when it is first needed: parsing all roots of a system takes tens of milliseconds. */
  get secureContext(): tls.SecureContext {
    const { ca, client } = this.parts;
    return (this.context ??= tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...client,
    }));
  }
}

/** `unproved`: the handshake is over, and the server is not judged yet (RFC 8310 §8.2). */
type Phase = 'connecting' | 'unproved' | 'established' | 'over';

/** One stream, from the first SYN to its end. */
class DialledStream implements Stream {
  private phase: Phase = 'connecting';
  /** Undefined: the system gave none. It is replaced once if the server refuses our ALPN id. */
  private socket: Socket | undefined = undefined;
  /** Whether the server has refused our ALPN id on this stream. */
  private refusesAlpn = false;
  /** Octets that leave at the end of this turn of the event loop. */
  private outgoing: Buffer[] = [];
  private isFlushing = false;
  private readonly timers: readonly NodeJS.Timeout[];
  /** One buffer for all received octets: a buffer and an event for each record would cost more than the query. */
  private readonly onread: OnReadOpts;
  /** The server's address, for messages. */
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
      setTimeout(() => {
        if (this.phase === 'unproved') this.fail('tls_verify', `no TLSA records within ${totalMs} ms`);
        else this.fail('connect_timeout', `no TLS connection within ${totalMs} ms`);
      }, totalMs),
    ];
    this.open(target.withoutAlpn !== true);
  }

  send(bytes: Buffer): void {
    this.outgoing.push(bytes);
    if (this.isFlushing) return;
    this.isFlushing = true;
    // Once per turn of the event loop, so that all queries of a turn share a TLS record and a segment.
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
    // If the peer never answers our FIN, the socket must still close.
    setTimeout(() => socket?.destroy(), this.shared.times.tcpMs).unref();
  }

  destroy(): void {
    this.end();
    this.socket?.destroy();
  }

  /** Opens a socket. A failure that the system reports at once is passed on later, like all other failures. */
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
    const session = target.withoutResumption === true ? undefined : shared.tickets.take(identity);
    const sni = sniOf(security);
    const opened = tls.connect({
      host: target.address,
      port: target.port,
      secureContext: shared.secureContext,
      ...(alpn ? { ALPNProtocols: [ALPN] } : {}),
      // Without a name there is no SNI (RFC 6066 §3 allows none for addresses).
      ...(sni === undefined ? {} : { servername: sni }),
      ...(session === undefined ? {} : { session }),
      // `verify` checks the certificate with more information. Node.js would not check it at all for a resumed session.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...{ onread: this.onread },
    });
    // Tickets arrive with the handshake (TLS 1.2) or after it (TLS 1.3). They are kept only after the server was
    // verified.
    let early: Buffer | undefined;
    let verdict: PeerVerdict = { at: 'refused', detail: '' };
    opened.on('session', (ticket: Buffer) => {
      // Many servers send tickets in a segment of their own. Because of Nagle's algorithm, they then hold the first
      // answer back until that segment is acknowledged, which the kernel here delays by up to 40 ms.
      this.acknowledgeOn(opened);
      if (this.phase === 'established') shared.tickets.put(identity, ticket, verdict);
      else early = ticket;
    });
    opened.once('secureConnect', () => {
      if (this.phase === 'over' || opened !== this.socket) return;
      const resumed = opened.isSessionReused();
      const judged = (found: PeerVerdict): void => {
        verdict = found;
        if (verdict.at === 'refused') return this.fail('tls_verify', verdict.detail);
        if (early !== undefined) shared.tickets.put(identity, early, verdict);
        // TLS 1.2 sends no new ticket when a session is resumed; the old one can be used again (RFC 5077).
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
      };
      const known = resumed ? shared.tickets.verdict(identity) : undefined;
      if (known !== undefined) judged(known);
      else if (security.at === 'dane') this.unproved(opened, judged);
      else judged(this.verify(opened, security));
    });
    return opened;
  }

  private verify(opened: tls.TLSSocket, security: CertificateSecurity): PeerVerdict {
    const { clockIsBehind } = this.shared.parts;
    const peer = opened.getPeerCertificate(true);
    return verifyPeer(peer, chainProblem(opened), security, this.target.address, clockIsBehind?.());
  }

  /** Lets the owner look TLSA records up over this stream, and judge. Nothing else is sent until then. */
  private unproved(opened: tls.TLSSocket, judged: (verdict: PeerVerdict) => void): void {
    if (this.events.unproved === undefined)
      return judged({ at: 'refused', detail: 'nobody here can look its TLSA records up' });
    this.phase = 'unproved';
    const decide = (verdict: PeerVerdict): void => {
      if (this.phase === 'unproved') judged(verdict);
    };
    this.events.unproved({
      chain: sentChain(opened.getPeerCertificate(true)),
      pkixProblem: chainProblem(opened),
      send: bytes => void (this.phase === 'over' || opened.write(bytes)),
      accept: untilMs => decide({ at: 'accepted', authenticated: true, warning: undefined, untilMs }),
      refuse: detail => decide({ at: 'refused', detail }),
    });
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
      if (this.phase === 'unproved')
        return this.fail('tls_verify', `${errorWords(error)} before its TLSA records came`);
      this.fail(this.phase === 'established' ? 'closed' : codeOf(error), errorWords(error));
    });
    // Half-open streams are not used: a server that has closed its side sends no more answers.
    opened.on('end', () => {
      if (opened !== this.socket) return;
      if (this.phase === 'established') this.finish(undefined);
      else if (this.phase === 'unproved') this.fail('tls_verify', 'closed before its TLSA records came');
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
    // Nothing is sent before the peer is authenticated.
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

/** The descriptor of a socket. Node.js has no public API for it. */
const fdOf = (socket: Socket): number | undefined => {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
};

const sniOf = (security: TlsSecurity): string | undefined =>
  security.name ?? (security.at === 'authenticated' ? security.designatedBy?.name : undefined);

/** When the certificate expires. A resumed session may have no certificate. */
function certificateEnd(socket: tls.TLSSocket): Pick<Connected, 'certificateEndsMs'> {
  // The type says that it is always there. Without a certificate it is an empty object.
  const { valid_to: until } = socket.getPeerCertificate() as Partial<tls.PeerCertificate>;
  const endsMs = until === undefined ? NaN : Date.parse(until);
  return Number.isNaN(endsMs) ? {} : { certificateEndsMs: endsMs };
}

/** OpenSSL's code for a problem with the chain. The type says that it is an Error. */
function chainProblem(socket: tls.TLSSocket): string | undefined {
  const problem: unknown = socket.authorizationError;
  return problem instanceof Error ? problem.message : typeof problem === 'string' ? problem : undefined;
}

/** The row of FAILURES for an error before the end of the handshake. */
function codeOf({ code = '' }: NodeJS.ErrnoException): FailureCode {
  return code.startsWith('ERR_SSL') || code.startsWith('EPROTO') || code.startsWith('ERR_TLS')
    ? 'tls_alert'
    : 'connect';
}
