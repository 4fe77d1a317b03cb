// The networks of the machine's own interfaces, as they come and go: `local` in access.allow.

import { networkInterfaces } from 'node:os';

import type { Cancel, Clock } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { AddressWatch } from '../os/address-watch.js';
import type { Libc } from '../os/libc.js';
import { network as networkKind } from '../config/network-kinds.js';
import type { Network } from '../policy/networks.js';

/** The most of them: as many as there is room for beside those that are written (policy/shared-networks). */
const MOST = 64;
/** An interface that comes up gets several addresses, ms. */
const COLLECT_MS = 50;

/** The parts that it uses. */
export interface OwnNetworksParts {
  readonly clock: Clock;
  readonly libc: Libc | undefined;
  /** Called with all of them, whenever there are others. */
  readonly changed: (networks: readonly Network[]) => void;
}

/** Follows them. */
export class OwnNetworks {
  /** Undefined: they are not asked for. */
  private watch: AddressWatch | undefined;
  private seen = '[]';
  private cancel: Cancel = () => undefined;

  constructor(
    private readonly parts: OwnNetworksParts,
    isAsked: boolean,
  ) {
    this.follow(isAsked);
  }

  /** @param isAsked whether the networks are asked for now */
  follow(isAsked: boolean): void {
    if (!isAsked) {
      this.close();
      return this.take([]);
    }
    this.watch ??= new AddressWatch(this.parts.libc, () => {
      this.cancel();
      this.cancel = this.parts.clock.after(COLLECT_MS, () => this.look());
    });
    this.look();
  }

  close(): void {
    this.watch?.close();
    this.watch = undefined;
    this.cancel();
  }

  private look(): void {
    const networks = ownNetworks();
    if (networks !== undefined) this.take(networks);
  }

  private take(networks: readonly Network[]): void {
    const text = JSON.stringify(networks);
    if (text === this.seen) return;
    this.seen = text;
    this.parts.changed(networks);
  }
}

/** The networks of our own interfaces now. Undefined: the system does not tell. */
export function ownNetworks(): readonly Network[] | undefined {
  try {
    const all = Object.values(networkInterfaces()).flatMap(each => each ?? []);
    // A network once, whatever addresses the machine has in it.
    const networks = new Map<string, Network>();
    for (const { cidr } of all) {
      const read = networkKind.read(cidr);
      if (read.ok) networks.set(JSON.stringify(read.value), read.value);
    }
    return [...networks.values()].slice(0, MOST);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return undefined;
  }
}
