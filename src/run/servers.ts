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
