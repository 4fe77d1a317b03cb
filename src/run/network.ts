// The world around the daemon: which network the machine is on, which resolvers the system has, whether the clock can be right. It
// is looked at when somebody asks; what was learned about networks is kept over restarts.

import type { Clock, Log } from '../base/ports.js';
import { type WallSec, wallSecOf } from '../base/time.js';
import { timesyncHasSetClock } from '../os/clock.js';
import { type Libc, loadLibc } from '../os/libc.js';
import { type NetworkChange, NetworkWatch } from '../os/network.js';
import type { StateStore } from '../os/state-store.js';
import { type NetworkMemory, networkMemory } from '../upstream/memory.js';
import type { DaemonParts } from './parts.js';
import type { ListenersPlan } from './plan.js';

/** System calls, loaded when a plan first wants them. Where they cannot be made, one log line says what runs slower. */
export class SystemCalls {
  private loaded: ReturnType<typeof loadLibc> | undefined;

  constructor(private readonly log: Log) {}

  /** Undefined: they cannot be made, or this plan and those before it do without. */
  for({ io }: Pick<ListenersPlan, 'io'>): Libc | undefined {
    if (this.loaded === undefined && io === 'dgram') return undefined;
    const libc = this.loaded ?? this.load();
    return 'unavailable' in libc ? undefined : libc;
  }

  private load(): ReturnType<typeof loadLibc> {
    const loaded = loadLibc();
    this.loaded = loaded;
    if ('unavailable' in loaded) {
      const why = `system calls are not available (${loaded.unavailable})`;
      this.log.warn({ reason: loaded.unavailable }, `UDP runs over node:dgram on the main thread, slower: ${why}`);
    }
    return loaded;
  }
}

/** What it works with. */
export interface NetworkParts {
  readonly clock: Clock;
  readonly log: Log;
  /** When this version was made: no clock can be right that says less. */
  readonly built: WallSec;
  /** Undefined: system calls cannot be made. */
  readonly libc: Libc | undefined;
  readonly store: StateStore;
  readonly system: DaemonParts['system'];
  readonly changed: (what: NetworkChange) => void;
}

const STATE_FILE = 'networks.json';
const MOST_STATE_BYTES = 1 << 18;
const LOST = 'what was learned about networks (which servers have proved themselves on which) is lost at the end';

/** Where resolv.conf is written or replaced: a change counts even if nobody asks. */
const RESOLVERS_DIRECTORY = '/etc';
const CHANGE_WORDS: Readonly<Record<NetworkChange, string>> = {
  network: 'the network has changed: connecting anew',
  resume: 'the machine has slept: connecting anew',
  resolvers: "the system's resolvers have changed",
};

/** The network and the clock. */
export class Network {
  /** What was learned about servers, by network. */
  readonly memory: NetworkMemory;
  private readonly watch: NetworkWatch;

  constructor(private readonly parts: NetworkParts) {
    const { clock, store, system } = parts;
    this.memory = networkMemory(() => clock.wallMs(), store.read(STATE_FILE, MOST_STATE_BYTES));
    this.watch = new NetworkWatch(
      clock,
      {
        network: () => system.network(),
        resolvers: () => system.resolvers().join(' '),
        directory: RESOLVERS_DIRECTORY,
      },
      what => this.changed(what),
    );
    this.memory.network = this.watch.network;
  }

  /** Looks whether something has changed, unless that was done just now. */
  look(): void {
    this.watch.look();
    this.save();
  }

  /** False: the system says that nobody keeps its clock right; undefined: it does not say. */
  get clockIsSet(): boolean | undefined {
    // The kernel's word may be denied to a service that is locked up well.
    return this.parts.libc?.clockIsSet() ?? timesyncHasSetClock();
  }

  /** The clock says less than it can, or nobody has set it. */
  get clockIsBehind(): boolean {
    return wallSecOf(this.parts.clock.wallMs()) < this.parts.built || this.clockIsSet === false;
  }

  /** Keeps what was learned. */
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
    }
    changed(what);
  }

  /** Watches nothing more. */
  close(): void {
    this.save();
    this.watch.close();
  }
}
