// The world around the daemon: which network the machine is on, which resolvers the system has, whether the clock can be right. It
// is looked at when somebody asks; what was learned about networks is kept over restarts.

import type { Clock } from '../base/ports.js';
import { type WallSec, wallSecOf } from '../base/time.js';
import { timesyncHasSetClock } from '../os/clock.js';
import type { Libc } from '../os/libc.js';
import { type NetworkChange, type NetworkSources, NetworkWatch } from '../os/network.js';
import type { StateStore } from '../os/state-store.js';
import { type NetworkMemory, networkMemory } from '../upstream/memory.js';

/** What it works with. */
export interface NetworkParts {
  readonly clock: Clock;
  /** When this version was made: no clock can be right that says less. */
  readonly built: WallSec;
  /** Undefined: system calls cannot be made. */
  readonly libc: Libc | undefined;
  readonly store: StateStore;
  readonly sources: NetworkSources;
  readonly changed: (what: NetworkChange) => void;
}

const STATE_FILE = 'networks.json';
const MOST_STATE_BYTES = 1 << 18;
const LOST = 'what was learned about networks (which servers have proved themselves on which) is lost at the end';

/** The network and the clock. */
export class Network {
  /** What was learned about servers, by network. */
  readonly memory: NetworkMemory;
  private readonly watch: NetworkWatch;

  constructor(private readonly parts: NetworkParts) {
    const { clock, store, sources, changed } = parts;
    this.memory = networkMemory(() => clock.wallMs(), store.read(STATE_FILE, MOST_STATE_BYTES));
    this.watch = new NetworkWatch(clock, sources, what => {
      this.memory.network = this.watch.network;
      changed(what);
    });
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

  /** Watches nothing more. */
  close(): void {
    this.save();
    this.watch.close();
  }
}
