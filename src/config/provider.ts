// A configuration with one provider as its only server, as in Android's Private DNS setting.

import { DOT_PORT } from '../base/port-numbers.js';
import { hostName } from './kinds.js';
import type { Config } from './schema.js';

/**
 * Puts the configuration into strict mode with `provider` as its only server. Its address is looked up through bootstrap.
 * @param provider a host name
 * @returns the configuration, or a sentence that says why the provider is not allowed
 */
export function withProvider(config: Config, provider: string): Config | string {
  const read = hostName.read(provider);
  if (!read.ok) return `${JSON.stringify(provider)} is not allowed (${read.problem}). Allowed: ${hostName.allowed}`;
  const server = {
    name: read.value,
    addresses: [],
    port: DOT_PORT,
    https: undefined,
    pins: [],
    pin_policy: 'pin_and_pkix',
    dane: false,
  } as const;
  return { ...config, upstream: { ...config.upstream, mode: 'strict', servers: [server] } };
}
