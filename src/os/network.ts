// Which network the machine is on, and whether it is still the same. Looked at when somebody asks something, at most once a
// second, instead of by a timer: an idle machine is not woken for it, and the first query after a change finds out.

import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { networkInterfaces } from 'node:os';

import { addressOctets } from '../base/address.js';
import type { Cancel, Clock } from '../base/ports.js';
import { type MonoMs, monoMs } from '../base/time.js';
import { isSystemError } from './system-error.js';

/** What has changed. */
export type NetworkChange = 'network' | 'resume' | 'resolvers';

/** Where the watch looks; the real places but in tests. Both may throw the system's error, e.g. where no descriptors are left. */
export interface NetworkSources {
  /** Addresses and default routes. */
  network(): string;
  /** The resolvers that the system has; always the same text where they do not matter. */
  resolvers(): string;
  /** Where resolv.conf is written or replaced: watched, so that a change counts even if nobody asks. Undefined: not needed. */
  readonly directory: string | undefined;
}

const LOOK_MS = 1000;
/** The wall clock this much ahead of the monotonic one: the machine has slept, or somebody set the clock; both are reasons. */
const SLEEP_MS = 5000;
/** Files are written in several steps, and interfaces come up one by one. */
const SETTLE_MS = 500;
/** A directory that could not be watched is tried again after so long. */
const WATCH_AGAIN_MS = 60_000;

/** Looks at the network. */
export class NetworkWatch {
  private sources: NetworkSources;
  /** As last seen. */
  private seenNetwork = '';
  private seenResolvers = '';
  private lookedAt: MonoMs;
  /** How far the wall clock is ahead of the monotonic one. */
  private aheadMs: number;
  private cancelSettle: Cancel = () => undefined;
  private watcher: FSWatcher | undefined;
  private watchedDirectory: string | undefined;
  /** When watching failed last. */
  private watchFailedAt = monoMs(-Infinity);
  private closed = false;

  constructor(
    private readonly clock: Clock,
    sources: NetworkSources,
    private readonly onChange: (what: NetworkChange) => void,
  ) {
    this.sources = sources;
    this.lookedAt = clock.monotonicMs();
    this.aheadMs = clock.wallMs() - this.lookedAt;
    this.seenNetwork = this.read('network', '');
    this.seenResolvers = this.read('resolvers', '');
    this.watchDirectory();
  }

  /** What the network looks like: the same text whenever we are there. */
  get network(): string {
    return this.seenNetwork;
  }

  /** Looks at other sources from now on. Their resolvers count as known: the caller asks for them by itself. */
  follow(sources: NetworkSources): void {
    this.sources = sources;
    this.seenResolvers = this.read('resolvers', this.seenResolvers);
    this.watchFailedAt = monoMs(-Infinity);
    this.watchDirectory();
  }

  /** Looks, unless that was done just now. */
  look(): void {
    const now = this.clock.monotonicMs();
    const ahead = this.clock.wallMs() - now;
    const slept = ahead - this.aheadMs > SLEEP_MS;
    this.aheadMs = ahead;
    if (now - this.lookedAt < LOOK_MS && !slept) return;
    this.lookedAt = now;
    const before = { network: this.seenNetwork, resolvers: this.seenResolvers };
    this.seenNetwork = this.read('network', before.network);
    this.seenResolvers = this.read('resolvers', before.resolvers);
    if (this.watcher === undefined) this.watchDirectory();
    if (this.seenResolvers !== before.resolvers) this.onChange('resolvers');
    if (this.seenNetwork !== before.network) this.onChange('network');
    else if (slept) this.onChange('resume');
  }

  close(): void {
    this.closed = true;
    this.cancelSettle();
    this.watcher?.close();
  }

  /** What the system does not tell now is taken for what it was, and asked for again with the next look. */
  private read(what: 'network' | 'resolvers', before: string): string {
    try {
      return this.sources[what]();
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return before;
    }
  }

  /** Watches the directory of the sources, and no other. */
  private watchDirectory(): void {
    const { directory } = this.sources;
    if (this.watcher !== undefined && directory !== this.watchedDirectory) {
      this.watcher.close();
      this.watcher = undefined;
    }
    const now = this.clock.monotonicMs();
    if (this.closed || directory === undefined || this.watcher !== undefined) return;
    if (now - this.watchFailedAt < WATCH_AGAIN_MS) return;
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => this.settle(name));
      watcher.on('error', () => {
        watcher.close();
        if (this.watcher !== watcher) return;
        this.watcher = undefined;
        this.watchFailedAt = this.clock.monotonicMs();
      });
      this.watcher = watcher;
      this.watchedDirectory = directory;
    } catch {
      // No inotify left, or no such directory: `look` still sees what has changed.
      this.watchFailedAt = now;
    }
  }

  /** A file of the directory was written: looks when it has been quiet for a while. */
  private settle(name: string | null): void {
    if (name !== null && !name.startsWith('resolv.conf')) return;
    this.cancelSettle();
    this.cancelSettle = this.clock.after(SETTLE_MS, () => {
      this.lookedAt = monoMs(-Infinity);
      this.look();
    });
  }
}

/**
 * Default routes, and the addresses of their interfaces. Others come and go with every container and virtual machine, and
 * do not lead to the servers; only without any default route do they all count.
 * @throws the system's error, where it does not tell
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
const OUT_OF_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

function defaultRoutes(): { readonly name: string; readonly gateway: string }[] {
  const lines = (file: string): string[][] => {
    try {
      return readFileSync(file, 'latin1')
        .split('\n')
        .map(line => line.trim().split(/\s+/));
    } catch (error) {
      // With no descriptors left it looks as if there were no route, which would be another network.
      if (OUT_OF_FILES.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
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
