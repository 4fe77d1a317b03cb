// Kinds of values that are addresses and networks: what may be written, and how it is read.

import { addressOctets, addressText, isIP, isIPv4, isLinkLocal, isMapped } from '../base/address.js';
import { bad, good, type Kind, same, text } from './kind.js';

/** An address with an optional port; `port` is undefined where none was given. */
export interface AddressPort {
  readonly address: string;
  readonly port: number | undefined;
}

/** Reads `ip`, `ip:port`, `[v6]` and `[v6]:port`. */
export function parseAddressPort(input: string): AddressPort | undefined {
  if (isIP(input) !== 0) return { address: input, port: undefined };
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(input);
  const address = match?.[1] ?? match?.[2];
  if (address === undefined || isIP(address) === 0 || (match?.[1] === undefined && !isIPv4(address))) return undefined;
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  return port === undefined || (port > 0 && port <= 65535) ? { address, port } : undefined;
}

const writeAddressPort = ({ address, port }: AddressPort): string =>
  port === undefined ? address : isIPv4(address) ? `${address}:${port}` : `[${address}]:${port}`;

/** An IP address, with or without a port. */
export const addressPort = text(
  'an IP address with or without port such as 9.9.9.9, 9.9.9.9:853 or "[2620:fe::fe]:853"',
  parseAddressPort,
  writeAddressPort,
);

/** The first octets of an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2). */

const LISTEN_ADDRESS = 'an IP address and port';

/** An address and port to listen on. The address is in canonical form (RFC 5952), so that two texts of one are equal. */
export const listenAddress: Kind<{ readonly address: string; readonly port: number }> = {
  allowed: `${LISTEN_ADDRESS} (1 to 65535) such as 127.0.0.1:53 or "[::1]:53"`,
  read(input) {
    if (typeof input !== 'string') return bad('not text');
    const { bare, zone } = zoneTakenOut(input);
    const parsed = parseAddressPort(bare);
    const octets = addressOctets(parsed?.address ?? '');
    if (parsed?.port === undefined || octets === undefined) return bad(`not ${LISTEN_ADDRESS}`);
    const address = addressText(octets, 0, octets.length === 4 ? 4 : 16);
    const problem = listenProblem(octets, address, zone);
    if (problem !== undefined) return bad(problem);
    return good({ address: zone === undefined ? address : `${address}%${zone}`, port: parsed.port });
  },
  write: writeAddressPort,
  schema: { type: 'string' },
};

/** The longest name of an interface, octets (IFNAMSIZ). */
const MOST_ZONE_BYTES = 15;

/** Takes the zone out of `[fe80::1%eth0]:53`: isIP of Node.js does not know all characters of interface names. */
function zoneTakenOut(input: string): { readonly bare: string; readonly zone: string | undefined } {
  const [, head, zone, tail] = /^(\[[^\]%]+)%([^\s/:%\]]+)(\].*)$/.exec(input) ?? [];
  return head === undefined || tail === undefined ? { bare: input, zone: undefined } : { bare: head + tail, zone };
}

/** Why no socket can be bound to an address, on any machine; undefined: one can. */
function listenProblem(octets: Buffer, address: string, zone: string | undefined): string | undefined {
  const [first = 0] = octets;
  if (octets.length === 4) {
    const isForMany = (first >= 224 && first < 240) || octets.every(octet => octet === 255);
    return isForMany ? 'a multicast or broadcast address, where nobody can listen' : undefined;
  }
  if (first === 0xff) return 'a multicast address, where nobody can listen';
  if (isMapped(octets, 0)) return `an IPv4 address in IPv6 form: write ${addressText(octets, 12, 4)}`;
  if (zone !== undefined && Buffer.byteLength(zone) > MOST_ZONE_BYTES)
    return `no interface has a name of more than ${MOST_ZONE_BYTES} octets`;
  if (isLinkLocal(address) && zone === undefined)
    return 'a link-local address without its link: add the interface, such as %eth0';
  if (!isLinkLocal(address) && zone !== undefined) return `only link-local addresses have a zone: leave %${zone} out`;
  return undefined;
}

/** A network: an address whose bits after the prefix are 0. */
export interface Cidr {
  readonly address: string;
  readonly prefix: number;
}

const CIDR = text<Cidr>(
  'a network such as 192.168.0.0/16 or "fd00::/8"',
  input => {
    const [address = '', bits, rest] = input.split('/');
    const width = isIP(address) === 4 ? 32 : 128;
    // Clients are compared without their zone: a network with one would let in those on other links.
    if (
      isIP(address) === 0 ||
      address.includes('%') ||
      rest !== undefined ||
      (bits !== undefined && !/^\d{1,3}$/.test(bits))
    )
      return undefined;
    const prefix = bits === undefined ? width : Number(bits);
    return prefix <= width ? { address, prefix } : undefined;
  },
  ({ address, prefix }) => `${address}/${prefix}`,
);

/** The length of the IPv4-mapped prefix (RFC 4291 §2.5.5.2): the addresses below it are those of IPv4. */
const MAPPED_PREFIX = 96;

/**
 * The network that an address and a prefix length stand for: without host bits, and of IPv4 where it is written as
 * IPv4-mapped.
 */
function networkOf({ address, prefix }: Cidr): Cidr {
  const octets = addressOctets(address);
  if (octets === undefined) return { address, prefix };
  for (let bit = prefix; bit < 8 * octets.length; bit++) {
    const at = bit >> 3;
    octets[at] = (octets[at] ?? 0) & ~(0x80 >> (bit & 7));
  }
  const mapped = octets.length === 16 && prefix >= MAPPED_PREFIX && isMapped(octets, 0);
  return mapped
    ? { address: addressText(octets, 12, 4), prefix: prefix - MAPPED_PREFIX }
    : { address: addressText(octets, 0, octets.length === 4 ? 4 : 16), prefix };
}

/** A network in CIDR notation. An address without a prefix length is a network of one address. */
export const network: Kind<Cidr> = {
  ...CIDR,
  read(input) {
    const read = CIDR.read(input);
    if (!read.ok) return read;
    const value = networkOf(read.value);
    const meant = CIDR.write(value);
    const isSame = addressOctets(value.address)?.equals(addressOctets(read.value.address) ?? Buffer.alloc(0)) === true;
    if (isSame) return good(value);
    const why = value.prefix === read.value.prefix ? 'has bits set after its prefix' : 'is written as IPv4-mapped';
    return { ok: true, value, warning: `${String(input)} ${why}, and is taken as ${String(meant)}` };
  },
};

/** A network, or `local`: those of the machine's own interfaces. */
export const networkOrLocal: Kind<Cidr | 'local'> = {
  ...network,
  allowed: `${network.allowed}, or local`,
  read: input => (input === 'local' ? good('local') : network.read(input)),
  write: value => (value === 'local' ? value : network.write(value)),
};

/** A network of IPv6. One that is IPv4-mapped stays one. */
export const ipv6Network: Kind<Cidr> = {
  ...CIDR,
  allowed: 'a network of IPv6 such as "2001:db8::/32"',
  read(input) {
    const read = CIDR.read(input);
    return !read.ok || read.value.address.includes(':') ? read : bad('not a network of IPv6');
  },
};

/** A NAT64 prefix, with the lengths that RFC 6052 §2.2 allows. */
export const nat64Prefix = text(
  'a NAT64 prefix such as "64:ff9b::/96" (length 32, 40, 48, 56, 64 or 96)',
  input => {
    const parsed = CIDR.read(input);
    if (!parsed.ok || !parsed.value.address.includes(':')) return undefined;
    const { address, prefix } = parsed.value;
    // Octet 8 is 0 in all of them.
    const isWhole = prefix <= 64 || addressOctets(address)?.[8] === 0;
    return [32, 40, 48, 56, 64, 96].includes(prefix) && isWhole ? input : undefined;
  },
  same,
);
