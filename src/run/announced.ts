// What the network has announced, in the form that the daemon uses: resolvers with DNS over TLS (RFC 9463), and the
// captive portal API (RFC 8910).

import { addressOctets } from '../base/address.js';
import { DNS_PORT, DOT_PORT } from '../base/port-numbers.js';
import type { NetworkAnnouncements } from '../os/announced.js';
import { readDnr4, readDnr6 } from '../wire/dnr.js';
import type { AnnouncedResolver } from './servers.js';

/** What the network has announced. */
export interface Announced {
  readonly resolvers: readonly AnnouncedResolver[];
  /** URLs of captive portal APIs (RFC 8908), as they were announced. */
  readonly portals: readonly string[];
}

const MOST_RESOLVERS = 8;

/**
 * Reads announcements. Addresses that lead to this machine or to many are left out (RFC 9463).
 * @param isOurs whether one of our own listeners has this address and port; forwarding to it would be a loop
 */
export function announcedFrom(
  { resolvers, options4, options6, portals }: NetworkAnnouncements,
  isOurs: (address: string, port: number) => boolean,
): Announced {
  const instances = [...options4.flatMap(readDnr4), ...options6.flatMap(octets => readDnr6(octets) ?? [])];
  const all = [
    ...resolvers.map(({ name, address, port = DOT_PORT }) => ({ name, address, port })),
    ...instances
      .filter(({ parameters }) => parameters.alpn.includes('dot'))
      .flatMap(({ name, addresses, parameters }) =>
        addresses.map(address => ({ name, address, port: parameters.port ?? DOT_PORT })),
      ),
  ];
  const usable = all.filter(
    // systemd-networkd may give the port of cleartext DNS for a resolver that an administrator has set.
    ({ address, port }) => isHostElsewhere(address) && port !== DNS_PORT && !isOurs(address, port),
  );
  return { resolvers: usable.slice(0, MOST_RESOLVERS), portals };
}

/** Not a multicast, loopback or unspecified address, and not a link-local one without the link. */
function isHostElsewhere(text: string): boolean {
  const octets = addressOctets(text);
  if (octets === undefined) return false;
  if (octets.length === 4) return octets.readUInt8(0) !== 127 && octets.readUInt8(0) !== 0 && octets.readUInt8(0) < 224;
  // ::, ::1 and addresses that hold an IPv4 address (RFC 4291 §2.5.5).
  const isSpecial = octets.subarray(0, 10).every(octet => octet === 0);
  const isLinkLocal = octets.readUInt16BE(0) >> 6 === 0xfe80 >> 6;
  return !isSpecial && octets.readUInt8(0) !== 0xff && (!isLinkLocal || text.includes('%'));
}
