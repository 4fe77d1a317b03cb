// A configuration with one provider as its only server, as Android's Private DNS setting takes it.

import { hostName } from './kinds.js';
import type { Config } from './schema.js';

/**
 * The configuration in strict mode with `provider` as its only server, whose address is looked up through bootstrap.
 * @returns a text: the provider is not allowed, and why
 */
export function withProvider(config: Config, provider: string): Config | string {
  const read = hostName.read(provider);
  if (!read.ok) return `${JSON.stringify(provider)} is not allowed (${read.problem}). Allowed: ${hostName.allowed}`;
  const server = { name: read.value, addresses: [], port: 853, pins: [], pin_policy: 'pin_and_pkix' } as const;
  return { ...config, upstream: { ...config.upstream, mode: 'strict', servers: [server] } };
}
