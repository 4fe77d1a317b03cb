// Which network the machine is on, and whether it has changed. This is checked at queries, at most once a second, not
// by a timer: an idle machine is not woken for it, and the first query after a change notices it.

import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { networkInterfaces } from 'node:os';

import { addressOctets } from '../base/address.js';
import type { Cancel, Clock } from '../base/ports.js';
import { type MonoMs, monoMs } from '../base/time.js';
import { isSystemError } from '../base/system-error.js';

/** The kinds of change. */
export type NetworkChange = 'network' | 'resume' | 'resolvers';

/**
 * The sources that are read; other ones only in tests. Both functions may throw the system's error, for example if no
 * descriptors are left.
 */
export interface NetworkSources {
  /** Addresses and default routes. */
  network(): string;
  /** The system's resolvers; a constant text if they are not used. */
  resolvers(): string;
  /** The directories of their files. They are watched, so that a change is noticed without queries, too. */
  readonly directories: readonly WatchedDirectory[];
}

/** A directory that is watched. */
export interface WatchedDirectory {
  readonly path: string;
  /** How the names of the files that count begin. */
  readonly prefix: string;
}

const LOOK_MS = 1000;
/**
 * If the wall clock gets ahead of the monotonic one by more than this, the machine has slept, or the clock was set.
 * Both count.
 */
const SLEEP_MS = 5000;
/**
 * After a change, the sources are read only after this time: files are written in several steps, and interfaces come up
 * one by one.
 */
const QUIET_MS = 500;
/** Watching a directory is tried again this long after it has failed. */
const WATCH_AGAIN_MS = 60_000;

/** Watches the network. */
export class NetworkWatch {
  private sources: NetworkSources;
  /** The texts as last read. */
  private seenNetwork = '';
  private seenResolvers = '';
  private lookedAt: MonoMs;
  /** How far the wall clock is ahead of the monotonic one. */
  private aheadMs: number;
  private cancelLook: Cancel = () => undefined;
  /** By the path of the directory. */
  private readonly watchers = new Map<string, FSWatcher>();
  /** When watching a directory failed last, by its path. */
  private readonly watchFailedAt = new Map<string, MonoMs>();
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
    this.watchDirectories();
  }

  /** The network as a text, which is the same whenever the machine is there. */
  get network(): string {
    return this.seenNetwork;
  }

  /** Reads other sources from now on. Their resolvers count as known, because the caller asks for them itself. */
  follow(sources: NetworkSources): void {
    this.sources = sources;
    this.seenResolvers = this.read('resolvers', this.seenResolvers);
    this.watchFailedAt.clear();
    this.watchDirectories();
  }

  /** Checks for changes, unless that was done just now. */
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
    this.watchDirectories();
    if (this.seenResolvers !== before.resolvers) this.onChange('resolvers');
    if (this.seenNetwork !== before.network) this.onChange('network');
    else if (slept) this.onChange('resume');
  }

  close(): void {
    this.closed = true;
    this.cancelLook();
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
  }

  /** Reads a source. If the system cannot tell, the old text counts, and the source is read again at the next check. */
  private read(what: 'network' | 'resolvers', before: string): string {
    try {
      return this.sources[what]();
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return before;
    }
  }

  /** Watches the directories of the sources, and no others. */
  private watchDirectories(): void {
    const { directories } = this.sources;
    for (const [path, watcher] of this.watchers) {
      if (directories.some(each => each.path === path)) continue;
      watcher.close();
      this.watchers.delete(path);
    }
    if (this.closed) return;
    for (const each of directories) if (!this.watchers.has(each.path)) this.watchDirectory(each);
  }

  private watchDirectory({ path, prefix }: WatchedDirectory): void {
    const now = this.clock.monotonicMs();
    if (now - (this.watchFailedAt.get(path) ?? -Infinity) < WATCH_AGAIN_MS) return;
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => {
        if (name === null || name.startsWith(prefix)) this.lookSoon();
      });
      watcher.on('error', () => {
        watcher.close();
        if (this.watchers.get(path) !== watcher) return;
        this.watchers.delete(path);
        this.watchFailedAt.set(path, this.clock.monotonicMs());
      });
      this.watchers.set(path, watcher);
    } catch {
      // No inotify left, or no such directory: `look` still notices changes.
      this.watchFailedAt.set(path, now);
    }
  }

  /** A file was written: checks after a while without further changes. */
  private lookSoon(): void {
    this.cancelLook();
    this.cancelLook = this.clock.after(QUIET_MS, () => {
      this.lookedAt = monoMs(-Infinity);
      this.look();
    });
  }
}

/**
 * Default routes, and the addresses of their interfaces. Addresses of other interfaces come and go with containers and
 * virtual machines, and do not lead to the servers. They count only if there is no default route.
 *
 * First what IPv4 shows, then, after an empty line, what IPv6 shows: each must say by itself which network this is, since
 * any machine on it can add to the latter with a router advertisement. @throws the system's error if it does not tell
 */
export function systemNetwork(): string {
  const routes = defaultRoutes();
  const { IPv4, IPv6 } = addressesOf(new Set(routes.map(({ name }) => name)));
  const routesOf = (wanted: Family): string[] =>
    routes.flatMap(({ family, name, gateway }) => (family === wanted ? [`${name} by ${gateway}`] : []));
  return [
    [...IPv4, ...routesOf('IPv4')],
    [...IPv6, ...routesOf('IPv6')],
  ]
    .map(lines => [...new Set(lines)].sort().join('\n'))
    .filter(part => part !== '')
    .join('\n\n');
}

type Family = 'IPv4' | 'IPv6';

/** The addresses of these interfaces, or of all if there are none. */
function addressesOf(ways: ReadonlySet<string>): Readonly<Record<Family, readonly string[]>> {
  const found: Record<Family, string[]> = { IPv4: [], IPv6: [] };
  for (const [name, all = []] of Object.entries(networkInterfaces())) {
    if (ways.size > 0 && !ways.has(name)) continue;
    for (const { internal, address, family, netmask } of all) {
      if (internal || /^fe[89ab]/.test(address)) continue;
      // Temporary IPv6 addresses (RFC 8981) change on the same network, so only the prefix counts.
      found[family].push(`${name} ${family === 'IPv4' ? `${address}/${netmask}` : prefixOf(address)}`);
    }
  }
  return found;
}

/** The first 64 bits, as text. */
const prefixOf = (address: string): string => (addressOctets(address) ?? Buffer.alloc(8)).toString('hex', 0, 8);

const ROUTE_IS_UP = 1;
const OUT_OF_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

function defaultRoutes(): { readonly family: Family; readonly name: string; readonly gateway: string }[] {
  const lines = (file: string): string[][] => {
    try {
      return readFileSync(file, 'latin1')
        .split('\n')
        .map(line => line.trim().split(/\s+/));
    } catch (error) {
      // Without descriptors, it would look as if there were no route, which would be another network.
      if (OUT_OF_FILES.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      // Not Linux, or /proc cannot be read: only addresses count.
      return [];
    }
  };
  // Not /proc/net: a service with ProcSubset=pid sees nothing of /proc but processes.
  // proc(5): interface, destination, gateway, flags, …; for IPv6 destination, prefix, source, prefix, gateway, …, interface.
  const four = lines('/proc/self/net/route').filter(
    ([, to, , flags = '0']) => to === '00000000' && (Number.parseInt(flags, 16) & ROUTE_IS_UP) !== 0,
  );
  const six = lines('/proc/self/net/ipv6_route').filter(
    ([to = '', prefix, , , gateway = '']) => /^0{32}$/.test(to) && prefix === '00' && !/^0{32}$/.test(gateway),
  );
  return [
    ...four.map(([name = '', , gateway = '']) => ({ family: 'IPv4' as const, name, gateway })),
    ...six.map(fields => ({ family: 'IPv6' as const, name: fields.at(-1) ?? '', gateway: fields[4] ?? '' })),
  ];
}
