// DS and DNSKEY responses that have proven something, kept for the next start: with them, the chain of trust of a known
// zone is checked again without a question to a server.

import { ownCopy } from '../../base/octets.js';
import { type Bounded, bounded } from '../../base/bounded.js';
import type { AgeSec } from '../../base/time.js';
import type { SnapshotRecord } from '../../cache/snapshot.js';
import type { Name } from '../../dnssec/name.js';
import { type Lookup, lookupKey, type LookupResult, nameInLookupKey } from '../../dnssec/steps.js';
import { scanResponse } from '../../wire/scan.js';
import { setsIn } from '../internal-query.js';

interface RememberedLookup {
  readonly message: Buffer;
  readonly label: string;
  readonly storedAt: AgeSec;
  /** Whether it comes from a snapshot. Only those are used: what was learnt since is in the table of zones. */
  readonly restored: boolean;
}

/** The octets of a response beside its message and its key, about: objects, and its place in the table. */
const FIXED_BYTES = 500;

/** The responses, by key of the lookup. */
export class RememberedLookups {
  private readonly table: Bounded<RememberedLookup>;
  /** How many came from a snapshot. */
  private restored = 0;

  /** @param maxBytes for all responses */
  constructor(maxBytes: number) {
    this.table = bounded<RememberedLookup>(maxBytes, () => undefined);
  }

  /**
   * Remembers the results that a verdict was made with.
   * @param isKnown whether they have proven something about a name: others were asked for on suspicion
   */
  put(results: ReadonlyMap<string, LookupResult>, isKnown: (name: Name) => boolean, ageNow: AgeSec): void {
    for (const [key, found] of results) {
      if (found.at !== 'answer' || found.message === undefined || !isKnown(nameInLookupKey(key))) continue;
      // One of the last start is as old as it was.
      if (this.table.get(key)?.message === found.message) continue;
      this.set(key, { message: ownCopy(found.message), label: found.upstream, storedAt: ageNow, restored: false });
    }
  }

  private set(key: string, lookup: RememberedLookup): void {
    this.table.set(key, lookup, FIXED_BYTES + key.length + lookup.message.length);
  }

  /** The response of the last start to a lookup, if its TTL is not over. */
  get(lookup: Lookup, ageNow: AgeSec): LookupResult | undefined {
    if (this.restored === 0) return undefined;
    const key = lookupKey(lookup);
    const found = this.table.get(key);
    if (found?.restored !== true) return undefined;
    const scan = scanResponse(found.message, lookup.type);
    return scan === undefined || ageNow - found.storedAt >= scan.ttlSec
      ? undefined
      : setsIn(found.message, scan, found.label);
  }

  /** Forgets the responses to some lookups. */
  delete(keys: readonly string[]): void {
    for (const key of keys) this.table.delete(key);
  }

  /** Forgets what was learnt about some names. */
  forget(isMeant: (name: Name) => boolean): void {
    this.delete(this.table.keys().filter(key => isMeant(nameInLookupKey(key))));
  }

  /** All responses, for a snapshot, those first that were used the longest time ago: to read them keeps this order. */
  *records(): Iterable<SnapshotRecord> {
    for (const key of this.table.keys().toReversed()) {
      const found = this.table.get(key);
      if (found !== undefined)
        yield { kind: 'lookup', key, label: found.label, storedAt: found.storedAt, payload: found.message };
    }
  }

  /** Takes a response of a snapshot. */
  restore({ key, label, storedAt, payload }: SnapshotRecord): void {
    if (this.table.get(key) !== undefined) return;
    this.set(key, { message: ownCopy(payload), label, storedAt, restored: true });
    if (this.table.get(key) !== undefined) this.restored++;
  }
}
