// One configured server: its addresses, given or found by bootstrap, each with its endpoint.

import { isIPv6 } from 'node:net';

import type { Failure } from '../base/outcome.js';
import type { CleartextReason } from '../base/observer.js';
import type { PinPolicy, Security } from '../base/ports.js';
import { bootstrap, type BootstrapServer } from './bootstrap.js';
import { discover } from './discovery.js';
import { type Endpoint, endpoint, type EndpointEvents, type ServerName, type UpstreamPorts } from './endpoint.js';
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
  /** Of cleartext DNS, where it is not the group's. */
  readonly plainPort?: number;
  readonly pins: readonly string[];
  readonly pinPolicy: PinPolicy;
  /** Whether to ask it where it speaks DNS over TLS (RFC 9462): for resolvers that nobody configured. */
  readonly discover: boolean;
}

/** A server, from outside. */
export interface Server<T extends Waiter> extends ServerName {
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
// RFC 9462 §4: for as long as the answer holds; who does not answer, or says no, is asked again now and then.
const DISCOVERY_MIN_MS = 60_000;
const DISCOVERY_MAX_MS = 3_600_000;
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
  {
    mode,
    reason = mode === 'off' ? 'off' : 'opportunistic',
    bootstrapServers,
    plainPort = PLAIN_PORT,
  }: {
    readonly mode: Mode;
    readonly reason?: CleartextReason;
    readonly bootstrapServers: () => readonly BootstrapServer[];
    readonly plainPort?: number;
  },
  events: EndpointEvents<T>,
  onAddresses: () => void,
): Server<T> {
  const self: ServerName = { id: ports.nextServerId(), label: spec.label };
  const counted = ports.observer.server(spec.label);
  let endpoints = spec.addresses.map(({ address, port }) => makeEndpoint(address, port));
  // Those that the resolver itself has named, beside its own.
  let designated: readonly Endpoint<T>[] = [];
  let nextDiscoveryAtMs = spec.discover && mode === 'opportunistic' ? 0 : Infinity;
  let failure: Failure | undefined;
  let nextSearchAtMs = endpoints.length > 0 ? Infinity : 0;
  let searching = false;
  let failures = 0;
  let cancelRetry = (): void => undefined;
  let closed = false;

  function makeEndpoint(address: string, port: number): Endpoint<T> {
    return endpoint(
      ports,
      {
        server: self,
        upstream: spec.label,
        counted,
        address,
        port,
        plainPort: spec.plainPort ?? plainPort,
        mode,
        reason,
        security: securityOf(mode, spec),
      },
      events,
    );
  }

  async function search(name: string): Promise<void> {
    const found = await bootstrap(ports, name, bootstrapServers());
    searching = false;
    if (closed) return;
    const nowMs = ports.clock.monotonicMs();
    if (found.at === 'found') {
      failure = undefined;
      failures = 0;
      ports.memory.remember(name, found.addresses);
      nextSearchAtMs = nowMs + Math.min(Math.max(found.ttlSec * 1000, BOOTSTRAP_MIN_MS), BOOTSTRAP_MAX_MS);
      adopt(found.addresses);
    } else {
      const remembered = endpoints.length > 0 ? [] : ports.memory.recall(name);
      if (remembered.length > 0) {
        ports.log.info(
          { upstream: spec.label },
          `${spec.label}: using the addresses of last time, ${remembered.join(' ')}`,
        );
        adopt(remembered);
      }
      // Addresses that worked so far are better than none.
      failure = endpoints.length > 0 ? undefined : found;
      nextSearchAtMs = nowMs + BOOTSTRAP_RETRY_MS;
      cancelRetry = ports.clock.after(Math.min(BOOTSTRAP_RETRY_MS * 2 ** failures++, BOOTSTRAP_RETRY_MOST_MS), refresh);
      counted.error(found.code);
      ports.log.warn(
        { upstream: spec.label, reason: found.code },
        `${spec.label}: no address found: ${found.detail ?? ''}`,
      );
    }
    onAddresses();
  }

  /** Keeps the endpoints whose address still stands, with their connections; the others finish what they have. */
  function adopt(addresses: readonly string[]): void {
    const old = endpoints;
    endpoints = addresses.map(
      address => old.find(each => each.identity.address === address) ?? makeEndpoint(address, spec.port),
    );
    for (const each of old) if (!endpoints.includes(each)) each.close();
  }

  async function discovery(): Promise<void> {
    const found = await Promise.all(
      spec.addresses.map(async ({ address }) => ({
        address,
        said: await discover(ports, { address, port: plainPort }),
      })),
    );
    if (closed) return;
    const holdsMs = Math.min(...found.map(({ said }) => (said?.ttlSec ?? 0) * 1000));
    nextDiscoveryAtMs = ports.clock.monotonicMs() + Math.min(Math.max(holdsMs, DISCOVERY_MIN_MS), DISCOVERY_MAX_MS);
    const wanted = found
      .flatMap(({ address: by, said }) => (said?.designated ?? []).map(each => ({ ...each, by })))
      // There it is looked for anyway.
      .filter(({ address, port }) => !spec.addresses.some(each => each.address === address && each.port === port));
    const old = designated;
    designated = wanted.map(
      ({ address, port, name, by }) =>
        old.find(({ identity }) => identity.address === address && identity.port === port) ??
        endpoint(
          ports,
          {
            server: self,
            upstream: spec.label,
            counted,
            address,
            port,
            plainPort,
            mode: 'strict',
            reason,
            // Its name is the network's word alone; the address that was asked is what it has to prove.
            security: {
              at: 'authenticated',
              name: undefined,
              pins: [],
              pinPolicy: 'pin_and_pkix',
              designatedBy: { address: by, name },
            },
          },
          events,
        ),
    );
    for (const each of old) if (!designated.includes(each)) each.close();
    const before = old.map(({ identity }) => identity.address).join(' ');
    const after = designated.map(({ identity }) => identity.address).join(' ');
    if (after !== before) {
      ports.log.info(
        { upstream: spec.label, designated: after },
        `${spec.label} designates ${after === '' ? 'nobody' : after} for DNS over TLS`,
      );
    }
    onAddresses();
    for (const each of designated) each.prepare();
  }

  function refresh(): void {
    if (!closed && ports.clock.monotonicMs() >= nextDiscoveryAtMs) {
      nextDiscoveryAtMs = Infinity;
      discovery().catch((error: unknown) => {
        throw error;
      });
    }
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
    ...self,
    get endpoints() {
      return designated.length === 0 ? endpoints : [...designated, ...endpoints];
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
      if (spec.discover && mode === 'opportunistic') nextDiscoveryAtMs = 0;
    },
    close() {
      closed = true;
      counted.end();
      cancelRetry();
      for (const each of [...designated, ...endpoints]) each.close();
    },
    destroy() {
      closed = true;
      counted.end();
      cancelRetry();
      for (const each of [...designated, ...endpoints]) each.destroy();
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
