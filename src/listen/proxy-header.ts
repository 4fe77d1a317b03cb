// Reads headers of the PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): what a proxy writes before
// the octets of a client, to say where the connection comes from. No sockets.

import { addressOctets, isIPv4, isIPv6, unmappedText } from '../base/address.js';
import { u16At } from '../base/octets.js';

/** The most octets of a header of version 1, with its end of line (§2.1). */
const MOST_LINE_BYTES = 107;
/**
 * The most octets after the first 16 of version 2. Two addresses have 216 at most. The rest is for what some proxies add
 * (§2.2.1): a host name has 255, an id 128, a name in a certificate 64.
 */
const MOST_BLOCK_BYTES = 1024;

const V1_BEGINS = Buffer.from('PROXY ');
const V2_BEGINS = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_FIXED_BYTES = 16;

/** Version 2, and its commands. */
const LOCAL = 0x20;
const PROXY = 0x21;
/** Families of addresses. 0: unspecified; the last one: AF_UNIX. */
const INET = 1;
const INET6 = 2;
const LAST_FAMILY = 3;
/** Transports. 0: unspecified, 1: stream, 2: datagram. */
const LAST_TRANSPORT = 2;

/** Where a connection comes from. IPv4-mapped addresses are IPv4 addresses. */
export interface ProxiedClient {
  readonly address: string;
  readonly port: number;
}

/** What the first octets of a connection are. */
export type ProxyHeader =
  /** The header may be there once so many octets have come. */
  | { readonly at: 'partial'; readonly wanted: number }
  | { readonly at: 'malformed' }
  /** A header of so many octets. Without a client, the proxy itself is the client, or does not know it. */
  | { readonly at: 'header'; readonly bytes: number; readonly client: ProxiedClient | undefined };

const MALFORMED: ProxyHeader = { at: 'malformed' };

/** Reads the header with which octets begin. What follows it is not looked at. */
export function readProxyHeader(octets: Buffer): ProxyHeader {
  if (begins(octets, V1_BEGINS)) return readLine(octets);
  if (begins(octets, V2_BEGINS)) return readBinary(octets);
  return MALFORMED;
}

/** Whether octets begin like this, as far as they go. */
function begins(octets: Buffer, like: Buffer): boolean {
  const compared = Math.min(octets.length, like.length);
  return octets.subarray(0, compared).equals(like.subarray(0, compared));
}

/** Version 1 (§2.1). */
function readLine(octets: Buffer): ProxyHeader {
  const end = octets.subarray(0, MOST_LINE_BYTES).indexOf('\r\n');
  if (end === -1) return octets.length < MOST_LINE_BYTES ? { at: 'partial', wanted: octets.length + 1 } : MALFORMED;
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = '', ...more] = octets
    .toString('latin1', 0, end)
    .split(' ');
  const bytes = end + 2;
  // Whatever else is in the line.
  if (family === 'UNKNOWN') return { at: 'header', bytes, client: undefined };
  if (family !== 'TCP4' && family !== 'TCP6') return MALFORMED;
  const isAddress = family === 'TCP4' ? isIPv4 : isIPv6Alone;
  const isComplete = isAddress(source) && isAddress(destination) && isPort(sourcePort) && isPort(destinationPort);
  const address = addressOctets(source);
  if (!isComplete || more.length > 0 || address === undefined) return MALFORMED;
  return { at: 'header', bytes, client: { address: unmappedText(address), port: Number(sourcePort) } };
}

/** A zone means something only on the machine that has written it. */
const isIPv6Alone = (text: string): boolean => isIPv6(text) && !text.includes('%');

const isPort = (text: string): boolean => /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 0xffff;

/** Version 2 (§2.2). */
function readBinary(octets: Buffer): ProxyHeader {
  const command = octets[12] ?? LOCAL;
  if (command !== LOCAL && command !== PROXY) return MALFORMED;
  if (octets.length < V2_FIXED_BYTES) return { at: 'partial', wanted: octets.length + 1 };
  const blockBytes = u16At(octets, 14);
  if (blockBytes > MOST_BLOCK_BYTES) return MALFORMED;
  const bytes = V2_FIXED_BYTES + blockBytes;
  if (octets.length < bytes) return { at: 'partial', wanted: bytes };
  const named = octets[13] ?? 0;
  const [family, transport] = [named >> 4, named & 15];
  // Then the family is ignored.
  if (command === LOCAL) return { at: 'header', bytes, client: undefined };
  if (family > LAST_FAMILY || transport > LAST_TRANSPORT) return MALFORMED;
  // Paths of AF_UNIX tell nothing about clients: such headers count as unspecified ones.
  if (transport === 0 || (family !== INET && family !== INET6)) return { at: 'header', bytes, client: undefined };
  // Datagrams: the proxy got the query over UDP.
  const addressBytes = family === INET ? 4 : 16;
  const portAt = V2_FIXED_BYTES + 2 * addressBytes;
  if (portAt + 4 > bytes) return MALFORMED;
  const address = octets.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + addressBytes);
  return { at: 'header', bytes, client: { address: unmappedText(address), port: u16At(octets, portAt) } };
}
