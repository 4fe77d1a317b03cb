// The devices of groups of clients: their hardware addresses are configured, and the neighbour table of the kernel says which
// IP addresses they have at present.

import type { Cancel, Clock, Log } from '../base/ports.js';
import type { Libc } from '../os/libc.js';
import { type Neighbour, NeighbourWatch } from '../os/neighbours.js';
import type { ClassNetwork } from '../policy/networks.js';
import type { ListsPlan } from './plan.js';

/** The most addresses of a device. A device of IPv6 has several, and makes a new one every day. */
const MOST_OF_DEVICE = 32;
/** The most addresses of all devices, so that there is room for networks beside them (policy/shared-networks). */
export const MOST_OF_DEVICES = 512;
/** The table changes often, and may be long: reading it takes one part in so many of the time, */
const PAUSES = 50;
/** with pauses of at most so many ms. */
const MOST_PAUSE_MS = 1000;

/** The parts that it uses. */
export interface DevicesParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly libc: Libc | undefined;
  /** Called with the addresses of devices, whenever there are others. */
  readonly changed: (networks: readonly ClassNetwork[]) => void;
}

/** Follows them. */
export class Devices {
  /** Undefined: no group has devices. */
  private watch: NeighbourWatch | undefined;
  /** The class of each device, by hardware address. */
  private classes: ReadonlyMap<string, number> = new Map();
  /** The hardware address of each address of a device, those that were seen the longest time ago first. */
  private readonly known = new Map<string, string>();
  private seen = '[]';
  /** Whether the table has changed since it was read, while it is not read again yet. */
  private waits: 'no' | 'pause' | 'changed' = 'no';
  private cancel: Cancel = () => undefined;
  /** Whether it was logged that there are too many addresses. */
  private toldTooMany = false;

  constructor(
    private readonly parts: DevicesParts,
    lists: ListsPlan,
  ) {
    this.follow(lists);
  }

  /** Follows the devices of other groups. */
  follow({ groups }: ListsPlan): void {
    this.classes = new Map(groups.flatMap(({ macs }, i) => macs.map(mac => [mac, i + 1] as const)).reverse());
    if (this.classes.size === 0) {
      this.close();
      this.take([]);
      return;
    }
    this.watch ??= new NeighbourWatch(this.parts.libc, () => this.tableChanged());
    this.look();
  }

  close(): void {
    this.watch?.close();
    this.watch = undefined;
    this.cancel();
    this.waits = 'no';
  }

  private tableChanged(): void {
    if (this.waits === 'no') this.look();
    else this.waits = 'changed';
  }

  /** Reads the table, and not again for a moment. */
  private look(): void {
    const { watch } = this;
    if (watch === undefined) return;
    const { clock } = this.parts;
    const startedAt = clock.monotonicMs();
    this.take(this.networksOf(watch.read()));
    const pauseMs = Math.min(PAUSES * (clock.monotonicMs() - startedAt), MOST_PAUSE_MS);
    this.cancel();
    this.waits = 'pause';
    this.cancel = clock.after(pauseMs, () => {
      const isDue = this.waits === 'changed';
      this.waits = 'no';
      if (isDue) this.look();
    });
  }

  private take(networks: readonly ClassNetwork[]): void {
    const text = JSON.stringify(networks);
    if (text === this.seen) return;
    this.seen = text;
    this.parts.changed(networks);
  }

  /**
   * A device that sleeps is in the table no more, and wakes with the address that it had: that stays its own until the table
   * has it with another hardware address.
   */
  private remember(table: readonly Neighbour[]): void {
    for (const { mac, address } of table) {
      this.known.delete(address);
      if (this.classes.has(mac)) this.known.set(address, mac);
    }
    for (const [address] of this.known)
      if (this.known.size > MOST_OF_DEVICES) this.known.delete(address);
      else break;
  }

  private networksOf(table: readonly Neighbour[]): readonly ClassNetwork[] {
    this.remember(table);
    const counts = new Map<string, number>();
    const networks: ClassNetwork[] = [];
    // The latest first.
    for (const [address, mac] of [...this.known].reverse()) {
      const clientClass = this.classes.get(mac);
      if (clientClass === undefined) continue;
      const count = (counts.get(mac) ?? 0) + 1;
      counts.set(mac, count);
      if (count > MOST_OF_DEVICE || networks.length >= MOST_OF_DEVICES) this.tellTooMany(mac);
      else networks.push({ address, prefix: address.includes(':') ? 128 : 32, clientClass });
    }
    // The order of the table says nothing.
    return networks.sort((a, b) => (a.address < b.address ? -1 : 1));
  }

  private tellTooMany(mac: string): void {
    if (this.toldTooMany) return;
    this.toldTooMany = true;
    this.parts.log.warn(
      { mac },
      `the device ${mac} has more than ${MOST_OF_DEVICE} addresses, or all devices of clients have more than ${MOST_OF_DEVICES}: from some of them it is taken for a client of no group`,
    );
  }
}
