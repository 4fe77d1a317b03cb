// The table of zone states: proven keys, or the proof that there are none. A state is stored as long as the records and
// signatures that prove it are valid.

import { type Bounded, bounded } from '../base/bounded.js';
import type { Failure } from '../base/outcome.js';
import { ageAfter, type AgeSec } from '../base/time.js';
import type { ExtendedError } from '../wire/edns.js';
import type { Dnskey } from './dnskey.js';
import { type Name, parentOf, ROOT_NAME } from './name.js';
import type { Flaw } from './signature.js';

/** The state of a name. */
export type ZoneState =
  /** A zone with proven keys. */
  | { readonly at: 'signed'; readonly keys: readonly Dnskey[] }
  /** A zone, or a name in one, that is proven to be unsigned, or that is signed only with unsupported algorithms. */
  | { readonly at: 'unsigned'; readonly why: ExtendedError | undefined }
  /** No zone cut: the name is part of the zone above. */
  | { readonly at: 'no_cut' }
  /** Its delegation or its keys are bogus. `isZone`: it is proven to be a zone. */
  | { readonly at: 'bogus'; readonly flaw: Flaw; readonly isZone: boolean }
  /** The records that would show the state could not be fetched. Never stored. */
  | { readonly at: 'unknown'; readonly failure: Failure };

/** A state in the table. */
interface KnownState {
  readonly state: ZoneState;
  readonly until: AgeSec;
}

/** The table. */
export interface Zones {
  get(name: Name, ageNow: AgeSec): ZoneState | undefined;
  put(name: Name, state: ZoneState, ageNow: AgeSec, ttlSec: number): void;
  /** Forgets the states of some names. */
  forget(isMeant: (name: Name) => boolean): void;
  /** Forgets failures (bogus states): another network or server may give valid answers. */
  forgetFailures(): void;
  /** Forgets all states, for example because other anchors or settings are in force. */
  clear(): void;
  /** Grows whenever something was forgotten. A question that began before must not store states. */
  readonly epoch: number;
  readonly entries: number;
}

/** The approximate octets of an entry without its keys, and of a key without its RDATA. */
const ENTRY_BYTES = 300;
const KEY_BYTES = 900;
/**
 * Bounds on how long a state is stored. Without the lower bound, a zone with a TTL of 0 would be looked up for every
 * question.
 */
const STORED_SEC = { least: 5, most: 86_400 } as const;

class ZoneTable implements Zones {
  epoch = 0;
  private readonly table: Bounded<KnownState>;

  constructor(bytes: number) {
    this.table = bounded<KnownState>(bytes, () => undefined);
  }

  get(name: Name, ageNow: AgeSec): ZoneState | undefined {
    const known = this.table.get(name);
    return known === undefined || ageNow >= known.until ? undefined : known.state;
  }

  put(name: Name, state: ZoneState, ageNow: AgeSec, ttlSec: number): void {
    if (state.at === 'unknown') return;
    const size =
      state.at !== 'signed'
        ? ENTRY_BYTES
        : state.keys.reduce((sum, { rdata }) => sum + rdata.length + KEY_BYTES, ENTRY_BYTES);
    this.table.set(
      name,
      { state, until: ageAfter(ageNow, Math.min(Math.max(ttlSec, STORED_SEC.least), STORED_SEC.most)) },
      size,
    );
  }

  forget(isMeant: (name: Name) => boolean): void {
    this.epoch++;
    for (const each of this.table.keys()) if (isMeant(each)) this.table.delete(each);
  }

  forgetFailures(): void {
    this.epoch++;
    // Start with the least recently used keys: reading an entry makes it the most recently used, so this order keeps
    // the order of use.
    for (const each of this.table.keys().toReversed())
      if (this.table.get(each)?.state.at === 'bogus') this.table.delete(each);
  }

  clear(): void {
    this.epoch++;
    this.table.clear();
  }

  get entries(): number {
    return this.table.entries;
  }
}

/** Makes a table of at most `bytes`. */
export const zoneTable = (bytes: number): Zones => new ZoneTable(bytes);

/** The nearest name above `name`, or at it, but not above `top`, with a known state other than `no_cut`. */
export function nearestKnown(
  zones: Zones,
  name: Name,
  top: Name,
  ageNow: AgeSec,
): { readonly name: Name; readonly state: ZoneState } | undefined {
  for (let each = name; ; each = parentOf(each)) {
    const state = zones.get(each, ageNow);
    if (state !== undefined && state.at !== 'no_cut') return { name: each, state };
    if (each === top || each === ROOT_NAME) return undefined;
  }
}
