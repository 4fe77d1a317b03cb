// Which network the machine is on, and whether it is still the same. Looked at when somebody asks something, at most once a
// second, instead of by a timer: an idle machine is not woken for it, and whoever asks first after a change finds out.

import { readFileSync, watch } from 'node:fs';
import { networkInterfaces } from 'node:os';

import { addressOctets } from '../base/address.js';
import type { Clock } from '../base/ports.js';

/** Looks at the network. */
export interface NetworkWatch {
  /** Looks, unless that was done just now. */
  look(): void;
  /** What the network looks like: the same text whenever we are there. */
  readonly network: string;
  close(): void;
}

/** What has changed. */
export type NetworkChange = 'network' | 'resume' | 'resolvers';

/** Where the watch looks; the real places but in tests. */
export interface NetworkSources {
  /** Addresses and default routes. */
  network(): string;
  /** The resolvers that the system has. */
  resolvers(): string;
}

const LOOK_MS = 1000;
/** The wall clock this much ahead of the monotonic one: the machine has slept, or somebody set the clock; both are reasons. */
const SLEEP_MS = 5000;
/** Files are written in several steps, and interfaces come up one by one. */
const SETTLE_MS = 500;

/**
 * Makes a NetworkWatch.
 * @param directory where resolv.conf is written or replaced; watched, so that a change counts even if nobody asks
 */
export function watchNetwork(
  clock: Clock,
  sources: NetworkSources,
  onChange: (what: NetworkChange) => void,
  directory: string | undefined,
): NetworkWatch {
  let network = sources.network();
  let resolvers = sources.resolvers();
  let lookedAtMs: number = clock.monotonicMs();
  let aheadMs = clock.wallMs() - lookedAtMs;
  let cancelSettle = (): void => undefined;

  function look(): void {
    const nowMs = clock.monotonicMs();
    const ahead = clock.wallMs() - nowMs;
    const slept = ahead - aheadMs > SLEEP_MS;
    aheadMs = ahead;
    if (nowMs - lookedAtMs < LOOK_MS && !slept) return;
    lookedAtMs = nowMs;
    const before = { network, resolvers };
    network = sources.network();
    resolvers = sources.resolvers();
    if (resolvers !== before.resolvers) onChange('resolvers');
    if (network !== before.network) onChange('network');
    else if (slept) onChange('resume');
  }

  const watcher =
    directory === undefined
      ? undefined
      : watchDirectory(directory, name => {
          if (name !== null && !name.startsWith('resolv.conf')) return;
          cancelSettle();
          cancelSettle = clock.after(SETTLE_MS, () => {
            lookedAtMs = -Infinity;
            look();
          });
        });
  return {
    look,
    get network() {
      return network;
    },
    close() {
      cancelSettle();
      watcher?.close();
    },
  };
}

function watchDirectory(directory: string, changed: (name: string | null) => void): { close(): void } | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, (_event, name) => changed(name));
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    // No inotify left, or no such directory: `look` still sees what has changed.
    return undefined;
  }
}

/**
 * Default routes, and the addresses of their interfaces. Others come and go with every container and virtual machine, and
 * do not lead to the servers; only without any default route do they all count.
 */
export function systemNetwork(): string {
  const routes = defaultRoutes();
  const ways = new Set(routes.map(({ name }) => name));
  const addresses = Object.entries(networkInterfaces()).flatMap(([name, all = []]) =>
    ways.size > 0 && !ways.has(name)
      ? []
      : all
          .filter(({ internal, address }) => !internal && !/^fe[89ab]/.test(address))
          // Addresses from privacy extensions (RFC 8981) come and go on the same network: of IPv6 the prefix counts.
          .map(
            ({ family, address, netmask }) =>
              `${name} ${family === 'IPv4' ? `${address}/${netmask}` : prefixOf(address)}`,
          ),
  );
  return [...new Set([...addresses, ...routes.map(({ name, gateway }) => `${name} by ${gateway}`)])].sort().join('\n');
}

/** The first 64 bits, as text. */
const prefixOf = (address: string): string => (addressOctets(address) ?? Buffer.alloc(8)).toString('hex', 0, 8);

const ROUTE_IS_UP = 1;

function defaultRoutes(): { readonly name: string; readonly gateway: string }[] {
  const lines = (file: string): string[][] => {
    try {
      return readFileSync(file, 'latin1')
        .split('\n')
        .map(line => line.trim().split(/\s+/));
    } catch {
      // Not Linux, or /proc is closed to us: addresses alone have to do.
      return [];
    }
  };
  // proc(5): interface, destination, gateway, flags, …; for IPv6 destination, prefix, source, prefix, gateway, …, interface.
  const four = lines('/proc/net/route').filter(
    ([, to, , flags = '0']) => to === '00000000' && (Number.parseInt(flags, 16) & ROUTE_IS_UP) !== 0,
  );
  const six = lines('/proc/net/ipv6_route').filter(
    ([to = '', prefix, , , gateway = '']) => /^0{32}$/.test(to) && prefix === '00' && !/^0{32}$/.test(gateway),
  );
  return [
    ...four.map(([name = '', , gateway = '']) => ({ name, gateway })),
    ...six.map(fields => ({ name: fields.at(-1) ?? '', gateway: fields[4] ?? '' })),
  ];
}
