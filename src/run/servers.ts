// Servers in the form that the upstream room uses, from the configuration and from the system.

import { addressLabel, type ServerSpec } from '../upstream/server.js';

const DOT_PORT = 853;

/**
 * A resolver with a known address and no name, so it has nothing to prove.
 * @param plainPort the port of cleartext DNS
 * @param discover whether to ask it for designated resolvers (RFC 9462)
 */
export const resolverSpec = (address: string, plainPort: number, discover: boolean): ServerSpec => ({
  label: addressLabel(address, discover ? DOT_PORT : plainPort),
  name: undefined,
  addresses: [{ address, port: DOT_PORT }],
  port: DOT_PORT,
  plainPort,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  discover,
});

/** The servers, with labels that tell them apart: two entries may have one name. */
export function labelled(servers: readonly ServerSpec[]): readonly ServerSpec[] {
  const given = new Map<string, number>();
  return servers.map(server => {
    const { label, addresses } = server;
    if (!given.has(label)) {
      given.set(label, 1);
      return server;
    }
    const [first] = addresses;
    const withAddress = first === undefined ? label : `${label} (${addressLabel(first.address, first.port)})`;
    const count = (given.get(withAddress) ?? 0) + 1;
    given.set(withAddress, count);
    return { ...server, label: count === 1 && withAddress !== label ? withAddress : `${withAddress} #${count}` };
  });
}
