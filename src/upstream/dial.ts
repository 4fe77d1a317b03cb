// Streams to servers, with sockets: TCP, TLS over TCP (RFC 7858 §3.1, profile of RFC 9325), and authentication of the
// server (RFC 8310 §8). No query is sent to a server that fails authentication: `connected` is called only for a stream
// that may be used. Where TLSA records decide, the owner looks them up over the stream and judges.

import { connect, type OnReadOpts, type Socket } from 'node:net';
import * as tls from 'node:tls';

import type { FailureCode } from '../base/outcome.js';
import { Outbox } from '../base/outbox.js';
import { alertOf } from '../base/tls-error.js';
import type { Clock, Connected, Dial, DialTarget, Stream, StreamEvents } from '../base/ports.js';
import { groupName, HYBRID_GROUPS } from '../base/tls-groups.js';
import { errorWords } from './error-words.js';
import {
  type CertificateSecurity,
  identityKey,
  type PeerVerdict,
  sentChain,
  type TlsSecurity,
  unjudged,
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

const NO_HTTP2 = 'the server does not offer HTTP/2 (ALPN id h2)';

/** The largest TLS record (RFC 8446 §5.1). */
const READ_BYTES = 16384;

/** The post-quantum groups that this OpenSSL knows. */
export const hybridGroups = (): string[] =>
  HYBRID_GROUPS.filter(group => {
    try {
      tls.createSecureContext({ ecdhCurve: group });
      return true;
    } catch {
      // The only way to find out.
      return false;
    }
  });

/** The parts of the dialer. */
export interface DialParts {
  /** PEM text of the trusted roots; undefined: those of Node.js. */
  readonly ca: string | undefined;
  /** Our certificate and key in PEM, for servers that ask for a client certificate. */
  readonly client: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** Whether to offer nothing less than a post-quantum key exchange: TLS 1.3 with HYBRID_GROUPS. */
  readonly requirePq?: boolean;
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
    const { ca, client, requirePq } = this.parts;
    return (this.context ??= tls.createSecureContext({
      ...(requirePq === true
        ? ({ minVersion: 'TLSv1.3', ecdhCurve: hybridGroups().join(':') } as const)
        : ({ minVersion: 'TLSv1.2' } as const)),
      ...(ca === undefined ? {} : { ca }),
      ...client,
    }));
  }
}

/** `unproved`: the handshake is over, and the server is not judged yet (RFC 8310 §8.2). */
type Phase = 'connecting' | 'unproved' | 'established' | 'over';

/** What a handshake may offer. */
interface Attempt {
  readonly alpn: boolean;
  readonly tickets: boolean;
}

/** A socket that is being connected, and whether its handshake offers a ticket. */
interface Opened {
  readonly socket: Socket;
  readonly offersTicket: boolean;
}

/**
 * The attempt after one that the server has ended during the handshake; undefined: there is none. Each takes something
 * away, so there are three at most, all within the time limits of the stream.
 */
function nextAttempt(
  { alpn, tickets, offersTicket }: Attempt & Pick<Opened, 'offersTicket'>,
  error: Error | undefined,
): Attempt | undefined {
  if (alpn && error !== undefined && alertOf(error) === NO_APPLICATION_PROTOCOL) return { alpn: false, tickets };
  // A server that has lost the key of a ticket should make a full handshake (RFC 8446 §4.2.11). Some give up instead,
  // with any alert or none.
  return offersTicket ? { alpn, tickets: false } : undefined;
}

/** The alert of a server that speaks none of the protocols of the ALPN extension (RFC 7301 §3.2). */
const NO_APPLICATION_PROTOCOL = 120;
/**
 * The alerts of a server that knows none of our groups, or no TLS 1.3: handshake_failure, illegal_parameter,
 * protocol_version and insufficient_security (RFC 8446 §4.1.1, §6.2).
 */
const NO_COMMON_KEY_EXCHANGE: ReadonlySet<number> = new Set([40, 47, 70, 71]);

/** One stream, from the first SYN to its end. */
class DialledStream implements Stream {
  private phase: Phase = 'connecting';
  /** Undefined: the system gave none. It is replaced if the server refuses our ALPN id or a ticket, once for each. */
  private socket: Socket | undefined = undefined;
  /** Whether the server has refused the ALPN id `dot` on this stream. */
  private refusesAlpn = false;
  /** Octets that leave at the end of this turn of the event loop. */
  private readonly outgoing = new Outbox();
  private isFlushing = false;
  /** Whether what has come must be acknowledged at the end of this turn. */
  private mustAcknowledge = false;
  private readonly timers: readonly NodeJS.Timeout[];
  /** One buffer for all received octets: a buffer and an event for each record would cost more than the query. */
  private readonly onread: OnReadOpts;
  /** The part of it that was filled last. Servers pad their answers, so that the next part is mostly as long. */
  private filled: Buffer;
  /** The server's address, for messages. */
  private readonly where: string;

  constructor(
    private readonly shared: Shared,
    private readonly target: DialTarget,
    private readonly events: StreamEvents,
  ) {
    this.where = `${target.address} port ${target.port}`;
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    this.filled = buffer;
    this.onread = {
      buffer,
      callback: bytes => {
        if (this.filled.length !== bytes) this.filled = buffer.subarray(0, bytes);
        if (this.phase !== 'over') this.events.bytes(this.filled);
        return true;
      },
    };
    const { tcpMs, totalMs } = shared.times;
    this.timers = [
      setTimeout(() => {
        if (this.socket?.connecting === true) this.late('TCP', tcpMs);
      }, tcpMs),
      setTimeout(() => {
        if (this.phase === 'unproved') this.fail('tls_verify', `no TLSA records within ${totalMs} ms`);
        else this.late(this.socket?.connecting === false ? 'TLS' : 'TCP', totalMs);
      }, totalMs),
    ];
    this.open({ alpn: target.withoutAlpn !== true, tickets: true });
  }

  send(bytes: Buffer): void {
    this.outgoing.add(bytes);
    this.flushSoon();
  }

  acknowledge(): void {
    this.mustAcknowledge = true;
    this.flushSoon();
  }

  /** Once per turn of the event loop, so that all queries of a turn share a TLS record and a segment. */
  private flushSoon(): void {
    if (this.isFlushing) return;
    this.isFlushing = true;
    setImmediate(this.flush);
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
  private open(attempt: Attempt): void {
    try {
      const { security } = this.target;
      const { socket: opened, offersTicket } =
        security.at === 'cleartext' ? this.openPlain() : this.openTls(security, attempt);
      this.socket = opened;
      this.watch(opened, { ...attempt, offersTicket });
    } catch (error) {
      setImmediate(() => this.fail('connect', error instanceof Error ? errorWords(error) : String(error)));
    }
  }

  private openPlain(): Opened {
    const { address, port } = this.target;
    const opened = connect({ host: address, port, noDelay: true, onread: this.onread });
    opened.once('connect', () => {
      if (this.phase !== 'over') this.connected({ authenticated: false, resumed: false });
    });
    return { socket: opened, offersTicket: false };
  }

  private openTls(security: TlsSecurity, { alpn, tickets }: Attempt): Opened {
    const { shared, target } = this;
    const identity = identityKey(target);
    const offered = tickets && target.withoutResumption !== true ? shared.tickets.take(identity) : undefined;
    const sni = sniOf(security);
    const opened = tls.connect({
      host: target.address,
      port: target.port,
      secureContext: shared.secureContext,
      ...(alpn ? { ALPNProtocols: [target.alpn ?? ALPN] } : {}),
      // Without a name there is no SNI (RFC 6066 §3 allows none for addresses).
      ...(sni === undefined || NAMES_SOCKETS ? {} : { servername: sni }),
      ...(offered === undefined ? {} : { session: offered.session }),
      // `verify` checks the certificate with more information. Node.js would not check it at all for a resumed session.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...{ onread: this.onread },
    });
    if (sni !== undefined) nameSocket(opened, sni);
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
        // HTTP/2 must be negotiated (RFC 9113 §3.2). Otherwise the server might read the octets as another protocol.
        if (target.alpn === 'h2' && opened.alpnProtocol !== 'h2') return this.fail('tls_alert', NO_HTTP2);
        if (early !== undefined) shared.tickets.put(identity, early, verdict);
        // TLS 1.2 sends no new ticket when a session is resumed; the old one can be used again (RFC 5077).
        else if (resumed && offered !== undefined && opened.getProtocol() === 'TLSv1.2')
          shared.tickets.put(identity, offered.session, verdict);
        this.connected({
          authenticated: verdict.authenticated,
          resumed,
          protocol: opened.getProtocol() ?? '',
          ...keyExchange(opened, resumed),
          ...certificateEnd(opened),
          ...(this.refusesAlpn ? { refusesAlpn: true } : {}),
          ...(verdict.warning === undefined ? {} : { warning: verdict.warning }),
        });
      };
      // Node.js does not check identities when a session is resumed: what counts is who answered its full handshake.
      if (resumed && offered !== undefined) judged(offered.verdict);
      else if (security.at === 'dane') this.unproved(opened, judged);
      else judged(this.judge(opened, security));
    });
    return { socket: opened, offersTicket: offered !== undefined };
  }

  /** Judges the peer of a full handshake. */
  private judge(opened: tls.TLSSocket, security: CertificateSecurity): PeerVerdict {
    const { clock, clockIsBehind } = this.shared.parts;
    const time = { nowMs: clock.wallMs(), isBehind: clockIsBehind?.() === true };
    try {
      return verifyPeer(opened.getPeerCertificate(true), chainProblem(opened), security, this.target.address, time);
    } catch (error) {
      // An exception elsewhere ends the process. This one depends on octets that the server wrote and on what Node.js
      // and OpenSSL make of them: were it to end the process, any server could end it, again after each restart.
      return { at: 'refused', detail: unjudged(error) };
    }
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
      send: bytes => void (this.phase === 'over' || opened.write(Buffer.from(bytes))),
      accept: untilMs => decide({ at: 'accepted', authenticated: true, warning: undefined, untilMs }),
      refuse: detail => decide({ at: 'refused', detail }),
    });
  }

  private watch(opened: Socket, attempt: Attempt & Pick<Opened, 'offersTicket'>): void {
    opened.setNoDelay(true);
    let isReached = false;
    opened.once('connect', () => void (isReached = true));
    const broken = (code: FailureCode, words: string, error?: Error): void => {
      if (opened !== this.socket || this.phase === 'over') return;
      if (this.phase === 'unproved') return this.fail('tls_verify', `${words} before its TLSA records came`);
      if (this.target.alpn === 'h2' && error !== undefined && alertOf(error) === NO_APPLICATION_PROTOCOL)
        return this.fail('tls_alert', NO_HTTP2);
      const next = isReached ? nextAttempt(attempt, error) : undefined;
      if (next === undefined) return this.fail(code, words);
      if (attempt.alpn && !next.alpn) this.refusesAlpn = true;
      if (attempt.tickets && !next.tickets) this.shared.tickets.drop(identityKey(this.target));
      opened.destroy();
      this.open(next);
    };
    opened.on('error', (error: NodeJS.ErrnoException) => {
      if (this.phase !== 'established') broken(codeOf(error), this.wordsOf(error), error);
      else if (opened === this.socket) this.fail('closed', errorWords(error));
    });
    // Half-open streams are not used: a server that has closed its side sends no more answers.
    opened.on('end', () => {
      if (this.phase === 'unproved') broken('tls_alert', 'closed');
      else if (this.phase !== 'established') broken('tls_alert', 'closed during the handshake');
      else if (opened === this.socket) this.finish(undefined);
    });
    opened.on('close', () => {
      if (this.phase !== 'established') broken('connect', 'closed before the connection was made');
      else if (opened === this.socket) this.finish(undefined);
    });
  }

  /** Words for an error during the handshake. */
  private wordsOf(error: Error): string {
    const alert = alertOf(error);
    return this.shared.parts.requirePq === true && alert !== undefined && NO_COMMON_KEY_EXCHANGE.has(alert)
      ? `it offers no post-quantum key exchange in TLS 1.3, and upstream.tls.require_pq allows no other (TLS alert ${alert})`
      : errorWords(error);
  }

  private connected(info: Connected): void {
    this.phase = 'established';
    this.timers.forEach(clearTimeout);
    this.flush();
    this.events.connected(info);
  }

  private late(what: 'TCP' | 'TLS', limitMs: number): void {
    this.fail('connect_timeout', `no ${what} connection within ${limitMs} ms`);
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
    const { socket, mustAcknowledge } = this;
    this.isFlushing = this.mustAcknowledge = false;
    if (socket === undefined) return;
    // Nothing is sent before the peer is authenticated. What is sent carries the acknowledgement, which would otherwise
    // take a system call and a segment of its own.
    if (this.phase === 'established' && !this.outgoing.isEmpty) socket.write(this.outgoing.take());
    else if (mustAcknowledge) this.acknowledgeOn(socket);
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

/**
 * Whether a socket can be given its name for SNI as `tls.connect` does it, by a method that is not documented. Given as an
 * option, Node.js would first see whether it is an address: V8 compiles that regular expression for 2 ms of the start.
 */
const NAMES_SOCKETS = 'setServername' in tls.TLSSocket.prototype;

function nameSocket(socket: tls.TLSSocket, name: string): void {
  if ('setServername' in socket && typeof socket.setServername === 'function')
    Reflect.apply(socket.setServername, socket, [name]);
}

/** The group of the key exchange. */
function keyExchange(socket: tls.TLSSocket, resumed: boolean): Pick<Connected, 'group'> {
  // OpenSSL then reports the group of the handshake that the session comes from.
  if (resumed && socket.getProtocol() !== 'TLSv1.3') return {};
  // {type: 'ECDH', name, size}, {type: 'DH', size}, or {type: 'TLSGroup', name} since OpenSSL 3.5; {} and null: none.
  const info: { readonly name?: string; readonly type?: string; readonly size?: number } =
    socket.getEphemeralKeyInfo() ?? {};
  if (info.name !== undefined) return { group: groupName(info.name) };
  return info.type === 'DH' ? { group: `ffdhe${info.size ?? ''}` } : {};
}

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
