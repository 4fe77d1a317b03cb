// The sets of the firewall that are filled with addresses of answers.

import type { Observer } from '../base/observer.js';
import type { Clock, Log } from '../base/ports.js';
import { Nft } from '../os/nft.js';
import { SetFiller } from '../pipeline/set-filler.js';
import type { FirewallSet } from '../policy/firewall-sets.js';
import type { Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export interface FirewallParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  /** Called when other zones are chosen: ready replies about their names must be removed. */
  readonly forgotten: () => void;
}

/** The sets. */
export class Firewall implements Live {
  static readonly options = ['firewall_sets'];
  readonly options = Firewall.options;
  readonly filler: SetFiller;
  private readonly nft = new Nft();
  private current: readonly FirewallSet[];

  constructor(
    private readonly parts: FirewallParts,
    plan: Plan,
  ) {
    this.current = plan.firewallSets;
    this.filler = new SetFiller({ ...parts, run: (commands, then) => this.nft.run(commands, then) });
  }

  /** The sets of the plan in force. */
  get sets(): readonly FirewallSet[] {
    return this.current;
  }

  prepare({ firewallSets }: Plan): Prepared {
    return ready(() => {
      this.current = firewallSets;
      this.filler.forget();
      this.parts.forgotten();
    });
  }

  close(): void {
    this.filler.close();
    this.nft.close();
  }
}
