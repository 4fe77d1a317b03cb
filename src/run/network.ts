// The environment of the daemon: the network of the machine, the system's resolvers, and the clock. They are checked on
// request. Facts about networks are stored over restarts.

import type { Clock, Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import type { Surroundings } from '../base/overview.js';
import { type MonoMs, type WallMs, type WallSec, wallSecOf } from '../base/time.js';
import { RESOLVER_DIRECTORIES } from '../config/system.js';
import { timesyncHasSetClock } from '../os/clock.js';
import type { Libc } from '../os/libc.js';
import { ANNOUNCED_DIRECTORIES } from '../os/announced.js';
import { type NetworkChange, NetworkWatch, type WatchedDirectory } from '../os/network.js';
import type { StateStore } from '../os/state-store.js';
import { type NetworkMemory, networkMemory } from '../upstream/memory.js';
import type { DaemonParts } from './parts.js';

/** The parts that it uses. */
export interface NetworkParts {
  readonly clock: Clock;
  readonly log: Log;
  /** When this version was built: a clock that is earlier is wrong. */
  readonly built: WallSec;
  /** Undefined: system calls cannot be made. */
  readonly libc: Libc | undefined;
  readonly store: StateStore;
  readonly system: DaemonParts['system'];
  readonly changed: (what: NetworkChange) => void;
}

const STATE_FILE = 'networks.json';
const MOST_STATE_BYTES = 1 << 18;
/** A page asks for an overview each second. */
const SURROUNDINGS_MS = 5000;
const LOST = 'what was learned about networks (which servers have proved themselves on which) is lost at the end';

/** Where the system's resolvers and the announcements of the network are. */
const DIRECTORIES: readonly WatchedDirectory[] = [
  ...RESOLVER_DIRECTORIES,
  { path: ANNOUNCED_DIRECTORIES.networkd, prefix: '' },
  { path: ANNOUNCED_DIRECTORIES.networkManager, prefix: '' },
];
const CHANGE_WORDS: Readonly<Record<NetworkChange, string>> = {
  network: 'the network has changed: connecting anew',
  resume: 'the machine has slept: connecting anew',
  resolvers: "the system's resolvers have changed",
};

/** The network and the clock. */
export class Network {
  /** Facts about servers, by network. */
  readonly memory: NetworkMemory;
  private readonly watch: NetworkWatch;
  private around: { readonly at: MonoMs; readonly read: Surroundings | undefined } | undefined = undefined;

  constructor(private readonly parts: NetworkParts) {
    const { clock, store, system } = parts;
    this.memory = networkMemory(() => clock.wallMs(), store.read(STATE_FILE, MOST_STATE_BYTES));
    this.watch = new NetworkWatch(
      clock,
      {
        network: () => system.network(),
        resolvers: () => JSON.stringify([system.resolvers(), system.searchDomains(), system.announced().resolvers]),
        directories: DIRECTORIES,
      },
      what => this.changed(what),
    );
    this.memory.network = this.watch.network;
  }

  /** Checks for changes, unless that was done just now. */
  look(): void {
    this.watch.look();
    this.save();
  }

  /** False: the system says that its clock is not synchronised; undefined: it does not say. */
  get clockIsSet(): boolean | undefined {
    // A sandboxed service may not be allowed to ask the kernel.
    return this.parts.libc?.clockIsSet() ?? timesyncHasSetClock();
  }

  /** What the clock shows, if that is before this version was built, and so cannot be. */
  get clockIsBefore(): WallMs | undefined {
    const now = this.parts.clock.wallMs();
    return wallSecOf(now) < this.parts.built ? now : undefined;
  }

  /** Whether the clock is known to be wrong, or was never set. */
  get clockIsBehind(): boolean {
    return this.clockIsBefore !== undefined || this.clockIsSet === false;
  }

  /** The system around the daemon, read at most once in some seconds. */
  get surroundings(): Surroundings | undefined {
    const { clock, system } = this.parts;
    const now = clock.monotonicMs();
    if (this.around !== undefined && now - this.around.at < SURROUNDINGS_MS) return this.around.read;
    let read = this.around?.read;
    try {
      read = system.surroundings?.();
    } catch (error) {
      // If the system cannot tell, for example without descriptors, what was read last counts.
      if (!isSystemError(error)) throw error;
    }
    this.around = { at: now, read };
    return read;
  }

  /** Saves the facts about networks. */
  save(): void {
    if (this.memory.changed) this.parts.store.write(STATE_FILE, this.memory.save(), LOST);
  }

  private changed(what: NetworkChange): void {
    const { log, system, changed } = this.parts;
    this.memory.network = this.watch.network;
    log.info({ reason: what }, CHANGE_WORDS[what]);
    if (what === 'resolvers') {
      const resolvers = system.resolvers().join(', ');
      log.info({ resolvers }, `the system's resolvers are: ${resolvers === '' ? 'none' : resolvers}`);
      this.tellAnnounced();
    }
    changed(what);
  }

  /** Logs the resolvers that the network has announced, if there are any. */
  tellAnnounced(): void {
    const { resolvers } = this.parts.system.announced();
    const announced = resolvers.map(({ name, address, port }) => `${name} (${address} port ${port})`).join(', ');
    if (resolvers.length > 0)
      this.parts.log.info({ announced }, `the network announces resolvers with DNS over TLS: ${announced}`);
  }

  /** Stops watching. */
  close(): void {
    this.save();
    this.watch.close();
  }
}
