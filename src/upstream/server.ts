// One configured server: its addresses, given or found by bootstrap, each with its endpoint.

import { isIPv6 } from 'node:net';

import type { Failure } from '../base/outcome.js';
import type { CleartextReason, PinPolicy, Security } from '../base/ports.js';
import { bootstrap, type BootstrapServer } from './bootstrap.js';
import { type Endpoint, endpoint, type EndpointEvents, type UpstreamPorts } from './endpoint.js';
import type { Waiter } from './inflight.js';
import type { Mode } from './mode.js';

/** A server as configured. */
export interface ServerSpec {
  /** What people see: the name, or the address where there is none. */
  readonly label: string;
  /** The authentication domain name, if any. */
  readonly name: string | undefined;
  /** Empty: to be found through bootstrap. */
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
  /** Of DNS over TLS, for addresses found by bootstrap. */
  readonly port: number;
  readonly pins: readonly string[];
  readonly pinPolicy: PinPolicy;
}

/** A server, from outside. */
export interface Server<T extends Waiter> {
  readonly label: string;
  readonly endpoints: readonly Endpoint<T>[];
  /** Why there are no endpoints; undefined while they are being looked for, or where there are some. */
  readonly failure: Failure | undefined;
  /** Starts looking for addresses if there are none, or if they have outlived their TTL. */
  refresh(): void;
  /** What was found on another network counts no more: looks for addresses anew. */
  forget(): void;
  close(): void;
  destroy(): void;
}

const PLAIN_PORT = 53;
// After a failed search queries fail at once for this long, and then start the next one. Without queries the search
// is repeated all the same, ever more rarely, so that a daemon that started before its network gets ready by itself.
const BOOTSTRAP_RETRY_MS = 1000;
const BOOTSTRAP_RETRY_MOST_MS = 60_000;
// However short its TTL, an address that works is not looked up again sooner; nor kept longer than a day.
const BOOTSTRAP_MIN_MS = 60_000;
const BOOTSTRAP_MAX_MS = 86_400_000;

/**
 * Makes a Server.
 * @param onAddresses called when a search has ended, with or without success
 */
export function server<T extends Waiter>(
  ports: UpstreamPorts,
  spec: ServerSpec,
  { mode, reason = mode === 'off' ? 'off' : 'opportunistic', bootstrapServers, plainPort = PLAIN_PORT }: {
    readonly mode: Mode;
    readonly reason?: CleartextReason;
    readonly bootstrapServers: () => readonly BootstrapServer[];
    readonly plainPort?: number;
  },
  events: EndpointEvents<T>,
  onAddresses: () => void,
): Server<T> {
  let endpoints = spec.addresses.map(({ address, port }) => makeEndpoint(address, port));
  let failure: Failure | undefined;
  let nextSearchAtMs = endpoints.length > 0 ? Infinity : 0;
  let searching = false;
  let failures = 0;
  let cancelRetry = (): void => undefined;
  let closed = false;

  function makeEndpoint(address: string, port: number): Endpoint<T> {
    return endpoint(ports, { upstream: spec.label, address, port, plainPort, mode, reason, security: securityOf(mode, spec) }, events);
  }

  async function search(name: string): Promise<void> {
    const found = await bootstrap(ports, name, bootstrapServers());
    searching = false;
    if (closed) return;
    const nowMs = ports.clock.monotonicMs();
    if (found.at === 'found') {
      failure = undefined;
      failures = 0;
      nextSearchAtMs = nowMs + Math.min(Math.max(found.ttlSec * 1000, BOOTSTRAP_MIN_MS), BOOTSTRAP_MAX_MS);
      adopt(found.addresses);
    } else {
      // Addresses that worked so far are better than none.
      failure = endpoints.length > 0 ? undefined : found;
      nextSearchAtMs = nowMs + BOOTSTRAP_RETRY_MS;
      cancelRetry = ports.clock.after(Math.min(BOOTSTRAP_RETRY_MS * 2 ** failures++, BOOTSTRAP_RETRY_MOST_MS), refresh);
      ports.observer.upstreamError(spec.label, found.code);
      ports.log.warn({ upstream: spec.label, reason: found.code }, `${spec.label}: no address found: ${found.detail ?? ''}`);
    }
    onAddresses();
  }

  /** Keeps the endpoints whose address still stands, with their connections; the others finish what they have. */
  function adopt(addresses: readonly string[]): void {
    const old = endpoints;
    endpoints = addresses.map(address =>
      old.find(each => each.identity.address === address) ?? makeEndpoint(address, spec.port));
    for (const each of old) if (!endpoints.includes(each)) each.close();
  }

  function refresh(): void {
    if (searching || closed || spec.name === undefined || ports.clock.monotonicMs() < nextSearchAtMs) return;
    searching = true;
    failure = undefined;
    cancelRetry();
    search(spec.name).catch((error: unknown) => {
      // bootstrap() does not reject; if it does, that is a bug, and must not be silent.
      throw error;
    });
  }

  refresh();
  return {
    label: spec.label,
    get endpoints() {
      return endpoints;
    },
    get failure() {
      return failure;
    },
    refresh,
    forget() {
      // The old addresses stay until there are new ones; most of the time they are the same.
      if (nextSearchAtMs !== Infinity) nextSearchAtMs = 0;
      failures = 0;
      failure = undefined;
    },
    close() {
      closed = true;
      cancelRetry();
      for (const each of endpoints) each.close();
    },
    destroy() {
      closed = true;
      cancelRetry();
      for (const each of endpoints) each.destroy();
    },
  };
}

function securityOf(mode: Mode, { name, pins, pinPolicy }: ServerSpec): Security {
  // Opportunistic and encrypted take what they get (RFC 8310 §5: no identity is required); a name or pins that are
  // configured all the same are what strict is for.
  return mode === 'strict' ? { at: 'authenticated', name, pins, pinPolicy } : { at: 'encrypted', name };
}

/** The label for a server without a name. */
export const addressLabel = (address: string, port: number): string =>
  port === 853 ? address : isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
