// What validation has found since the network or the servers last changed: whether it works at all. One bogus answer
// proves nothing, since its zone may be broken.

import type { FailureCode } from '../../base/outcome.js';
import type { ValidationOverview } from '../../base/overview.js';
import type { Name } from '../../dnssec/name.js';

/** How many different names must be bogus in a row. `atFirst`: while no answer was ever secure. */
const LEAST_NAMES = { atFirst: 3, later: 8 } as const;

interface BogusRun {
  count: number;
  /** At most LEAST_NAMES.later of them. */
  readonly names: Set<Name>;
  /** Of the latest. */
  code: FailureCode;
  upstream: string;
}

/** The verdicts. */
export class Verdicts {
  private hadSecure = false;
  /** Bogus answers since the last secure one. */
  private run: BogusRun | undefined = undefined;

  /** An answer was secure. */
  secure(): void {
    this.hadSecure = true;
    this.run = undefined;
  }

  /** An answer was bogus. @param upstream the label of the server that sent it */
  bogus(name: Name, code: FailureCode, upstream: string): void {
    const run = (this.run ??= { count: 0, names: new Set(), code, upstream });
    run.count++;
    run.code = code;
    run.upstream = upstream;
    if (run.names.size < LEAST_NAMES.later) run.names.add(name);
  }

  /** The network or the servers have changed. */
  forget(): void {
    this.hadSecure = false;
    this.run = undefined;
  }

  /** For the overview. */
  get state(): ValidationOverview {
    const { run, hadSecure } = this;
    const least = hadSecure ? LEAST_NAMES.later : LEAST_NAMES.atFirst;
    const bogus =
      run === undefined || run.names.size < least
        ? undefined
        : { count: run.count, upstream: run.upstream, code: run.code };
    return { works: hadSecure, bogus };
  }
}
