// What is known about names as zones: whose keys are proven, who is proven to have none. Kept as long as the records and
// signatures that prove it are good.

import { bounded } from '../base/bounded.js';
import type { Failure } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import type { Dnskey } from './dnskey.js';
import { type Name, parentOf, ROOT_NAME } from './name.js';
import type { Flaw } from './signature.js';

/** What a name is. */
export type ZoneState =
  /** A zone with proven keys. */
  | { readonly at: 'signed'; readonly keys: readonly Dnskey[] }
  /** In, or itself, a zone that is proven to be unsigned, or signed in a way that is not checked here. */
  | { readonly at: 'unsigned'; readonly why: ExtendedError | undefined }
  /** No zone cut: part of the zone above. */
  | { readonly at: 'no_cut' }
  /** Its delegation or its keys are not what was signed. */
  | { readonly at: 'bogus'; readonly flaw: Flaw }
  /** Upstream did not say. Never kept. */
  | { readonly at: 'unknown'; readonly failure: Failure };

interface Kept {
  readonly state: ZoneState;
  readonly untilSec: number;
}

/** The table. */
export interface Zones {
  get(name: Name, nowSec: number): ZoneState | undefined;
  put(name: Name, state: ZoneState, nowSec: number, ttlSec: number): void;
  /** Forgets what is known about names that are meant. */
  forget(isMeant: (name: Name) => boolean): void;
  /** Forgets names whose delegation or keys were not what was signed: another network may give the true ones. */
  forgetFailures(): void;
  clear(): void;
  readonly entries: number;
}

/** About what an entry takes beside its keys, and a key beside its octets. */
const ENTRY_BYTES = 300;
const KEY_BYTES = 900;
/** Longer than that nobody's word is taken; shorter would have zones with a TTL of 0 asked about at every question. */
const MOST_SEC = 86_400;
const LEAST_SEC = 5;

/** Makes a table of at most `bytes`. */
export function zoneTable(bytes: number): Zones {
  const table = bounded<Kept>(bytes, () => undefined);
  return {
    get(name, nowSec) {
      const kept = table.get(name);
      return kept === undefined || nowSec >= kept.untilSec ? undefined : kept.state;
    },
    put(name, state, nowSec, ttlSec) {
      if (state.at === 'unknown') return;
      const size =
        state.at !== 'signed'
          ? ENTRY_BYTES
          : state.keys.reduce((sum, { rdata }) => sum + rdata.length + KEY_BYTES, ENTRY_BYTES);
      table.set(name, { state, untilSec: nowSec + Math.min(Math.max(ttlSec, LEAST_SEC), MOST_SEC) }, size);
    },
    forget(isMeant) {
      for (const each of table.keys()) if (isMeant(each)) table.delete(each);
    },
    forgetFailures() {
      for (const each of table.keys()) if (table.get(each)?.state.at === 'bogus') table.delete(each);
    },
    clear: () => table.clear(),
    get entries() {
      return table.entries;
    },
  };
}

/** The nearest name above `name`, down from `top`, that something is known about, but for names that are no cut. */
export function nearestKnown(
  zones: Zones,
  name: Name,
  top: Name,
  nowSec: number,
): { readonly name: Name; readonly state: ZoneState } | undefined {
  for (let each = name; ; each = parentOf(each)) {
    const state = zones.get(each, nowSec);
    if (state !== undefined && state.at !== 'no_cut') return { name: each, state };
    if (each === top || each === ROOT_NAME) return undefined;
  }
}
