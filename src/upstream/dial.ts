// Streams to servers, with sockets: TCP, TLS on top (RFC 7858 §3.1, profile of RFC 9325), and the question whether
// the server is who it should be (RFC 8310 §8.1). A server that fails that test never sees a query: `connected` is
// only called for a stream that may be used.

import { createHash, X509Certificate } from 'node:crypto';
import { connect, type OnReadOpts, type Socket } from 'node:net';
import * as tls from 'node:tls';

import type { FailureCode } from '../base/outcome.js';
import type { Dial, DialTarget, Stream, StreamEvents } from '../base/ports.js';

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

/**
 * Makes the Dial port.
 * @param ca PEM text of the trusted roots; undefined: those that Node.js brings along
 */
export function dialer(ca: string | undefined, times: DialTimes = DIAL_TIMES): Dial {
  // Parsing a system's whole store takes tens of milliseconds: once, and not before it is needed.
  let context: tls.SecureContext | undefined;
  const secureContext = (): tls.SecureContext =>
    (context ??= tls.createSecureContext({ minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) }));
  // Servers that refuse a handshake because of ALPN; as many as there are configured addresses.
  const withoutAlpn = new Set<string>();

  return (target, events) => {
    const where = `${target.address} port ${target.port}`;
    let established = false;
    let over = false;
    let outgoing: Buffer[] = [];
    let flushing = false;
    let socket: Socket;

    const timers = [
      setTimeout(() => socket.connecting && fail('connect_timeout', `${where}: no TCP connection within ${times.tcpMs} ms`), times.tcpMs),
      setTimeout(() => fail('connect_timeout', `${where}: no TLS connection within ${times.totalMs} ms`), times.totalMs),
    ];

    // Into one buffer, again and again: a buffer and an event for each record would cost more than its query.
    const onread: OnReadOpts = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback(bytes, buffer) {
        if (!over) events.bytes(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
        return true;
      },
    };

    function finish(why: Parameters<StreamEvents['closed']>[0]): void {
      if (over) return;
      over = true;
      timers.forEach(clearTimeout);
      socket.destroy();
      events.closed(why);
    }
    const fail = (code: FailureCode, detail: string): void => finish({ code, detail });

    function open(alpn: boolean): Socket {
      const opened = target.security.at === 'cleartext'
        ? connect({ host: target.address, port: target.port, noDelay: true, onread })
        : tls.connect({
          host: target.address,
          port: target.port,
          secureContext: secureContext(),
          ...(alpn ? { ALPNProtocols: [ALPN] } : {}),
          ...identityOptions(target),
          ...{ onread },
        });
      opened.setNoDelay(true);
      opened.once(opened instanceof tls.TLSSocket ? 'secureConnect' : 'connect', () => {
        if (over) return;
        established = true;
        timers.forEach(clearTimeout);
        flush();
        const protocol = opened instanceof tls.TLSSocket ? opened.getProtocol() : null;
        events.connected({
          authenticated: target.security.at === 'authenticated',
          resumed: opened instanceof tls.TLSSocket && opened.isSessionReused(),
          ...(protocol === null ? {} : { protocol }),
        });
      });
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

/** What decides whom we talk to. */
function identityOptions({ address, security }: DialTarget): tls.ConnectionOptions {
  if (security.at !== 'authenticated') return { rejectUnauthorized: false };
  const { name, pins } = security;
  return {
    rejectUnauthorized: true,
    // Without a name there is no SNI (RFC 6066 §3 allows none for addresses).
    ...(name === undefined ? {} : { servername: name }),
    checkServerIdentity: (_host, peer) => checkIdentity(peer, name, address, pins),
  };
}

/** A certificate, and the one that vouches for it as far as the server sent or we hold it. */
interface CertificateLink {
  readonly raw: Buffer;
  readonly issuerCertificate?: CertificateLink | undefined;
}

class IdentityError extends Error {
  readonly code = 'IDENTITY';
}

/**
 * RFC 8310 §8.1: the name must be among the subjectAltNames (the subject's CN does not count, RFC 6125 §6.4.4;
 * wildcards only as a whole leftmost label); without a name, the IP address must be.
 */
function checkIdentity(peer: CertificateLink, name: string | undefined, address: string, pins: readonly string[]): Error | undefined {
  const certificate = new X509Certificate(peer.raw);
  const proved = name === undefined
    ? certificate.checkIP(address)
    : certificate.checkHost(name, { subject: 'never', wildcards: true, partialWildcards: false });
  if (proved === undefined) {
    return new IdentityError(`the certificate is for ${namesIn(certificate)}, not for ${name ?? address}`);
  }
  if (pins.length === 0) return undefined;
  const served = chainPins(peer);
  if (pins.some(pin => served.includes(pin))) return undefined;
  return new IdentityError(`no configured pin matches; the server shows ${served.map(pin => `sha256/${pin}`).join(', ')}`);
}

const MOST_NAMES_SHOWN = 5;

function namesIn(certificate: X509Certificate): string {
  const names = certificate.subjectAltName?.split(', ').map(each => each.replace(/^(DNS|IP Address):/, '')) ?? [];
  if (names.length === 0) return 'no name at all (it has no subjectAltName)';
  return names.slice(0, MOST_NAMES_SHOWN).join(', ') + (names.length > MOST_NAMES_SHOWN ? ' and others' : '');
}

/** SHA-256 of each SubjectPublicKeyInfo in the chain, leaf first, base64 (RFC 7858 §4.2). */
function chainPins(leaf: CertificateLink): string[] {
  const pins: string[] = [];
  const seen = new Set<CertificateLink>();
  // A self-signed root names itself as its issuer.
  for (let each: CertificateLink | undefined = leaf; each !== undefined && !seen.has(each); each = each.issuerCertificate) {
    seen.add(each);
    const spki = new X509Certificate(each.raw).publicKey.export({ type: 'spki', format: 'der' });
    pins.push(createHash('sha256').update(spki).digest('base64'));
  }
  return pins;
}

/** OpenSSL's and libuv's codes, in words that tell what to look at. */
const WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired (or the clock here is wrong)',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet (or the clock here is wrong)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an authority that upstream.ca_file does not hold',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate comes from an authority that upstream.ca_file does not hold',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate comes from an authority that upstream.ca_file does not hold, or it does not send its intermediate certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate comes from an authority that upstream.ca_file does not hold, or it does not send its intermediate certificate',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'no local address to connect from',
  ETIMEDOUT: 'timed out',
  EPIPE: 'connection closed',
};

const plainWords = (error: NodeJS.ErrnoException): string => WORDS[error.code ?? ''] ?? error.message;

const VERIFY_CODES = /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|CRL_|INVALID_(CA|PURPOSE)|PATH_LENGTH|HOSTNAME_MISMATCH|IDENTITY)/;

/** Which row of FAILURES an error before the end of the handshake belongs to. */
function codeOf({ code = '' }: NodeJS.ErrnoException): FailureCode {
  if (VERIFY_CODES.test(code)) return 'tls_verify';
  return code.startsWith('ERR_SSL') || code.startsWith('EPROTO') || code.startsWith('ERR_TLS') ? 'tls_alert' : 'connect';
}

