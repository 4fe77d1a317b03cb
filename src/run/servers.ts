// Servers in the form that the upstream room uses, from the configuration and from the system.

import type { Origin } from '../base/overview.js';
import { DNS_PORT, DOT_PORT } from '../base/port-numbers.js';
import type { PlainServer } from '../upstream/own-question.js';
import { addressLabel, type ServerSpec } from '../upstream/server.js';

/** A resolver that the network has announced (RFC 9463), with DNS over TLS. */
export interface AnnouncedResolver {
  /** The authentication domain name. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/**
 * A resolver with a known address and no name, so it has nothing to prove.
 * @param plainPort the port of cleartext DNS
 * @param origin one of the system is asked for designated resolvers, too (RFC 9462)
 */
export const resolverSpec = (address: string, plainPort: number, origin: 'configured' | 'system'): ServerSpec => ({
  label: addressLabel(address, origin === 'system' ? DOT_PORT : plainPort),
  name: undefined,
  addresses: [{ address, port: DOT_PORT }],
  port: DOT_PORT,
  plainPort,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  discover: origin === 'system',
  origin,
});

/** The system's resolvers. The mode decides whether they are asked over TLS. */
export const systemSpecs = (resolvers: readonly string[]): readonly ServerSpec[] =>
  resolvers.map(address => resolverSpec(address, DNS_PORT, 'system'));

/** Where the system's resolvers are asked in cleartext for what this program itself needs. */
export const plainServers = (resolvers: readonly string[]): readonly PlainServer[] =>
  resolvers.map(address => ({ address, port: DNS_PORT }));

/**
 * The servers where the configuration lists none, for opportunistic mode: those that the network has announced, by
 * their names, and the other resolvers of the system. An announced server must prove its name (RFC 9463). Only the
 * network told the name, so a server that has proved it is as trustworthy as the network, and is used where the
 * network's own resolvers would be, and nowhere else. An announced address that is also a resolver of the system is one
 * server, not two: if it does not prove its name, it is asked like any resolver of the system.
 */
export function systemServers(
  resolvers: readonly string[],
  announced: readonly AnnouncedResolver[],
): readonly ServerSpec[] {
  const groups = new Map<string, readonly AnnouncedResolver[]>();
  for (const each of announced) {
    const key = JSON.stringify([each.name, each.port, resolvers.includes(each.address)]);
    const before = groups.get(key) ?? [];
    if (!before.some(({ address }) => address === each.address)) groups.set(key, [...before, each]);
  }
  const rest = resolvers.filter(address => !announced.some(each => each.address === address));
  return [...[...groups.values()].flatMap(group => announcedSpec(group, resolvers) ?? []), ...systemSpecs(rest)];
}

/** The server of a name, with its addresses. */
function announcedSpec(group: readonly AnnouncedResolver[], resolvers: readonly string[]): ServerSpec | undefined {
  const [first] = group;
  if (first === undefined) return undefined;
  const { name, port } = first;
  const origin: Origin = 'announced';
  const spec = {
    ...{ label: name, name, port, origin, discover: false },
    addresses: group.map(({ address }) => ({ address, port })),
    pins: [],
    pinPolicy: 'pin_and_pkix',
  } as const;
  return resolvers.includes(first.address) ? spec : { ...spec, mode: 'strict' };
}
