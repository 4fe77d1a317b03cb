// The answer cache: bounded by bytes, least recently used leaves first.

import { bounded } from '../base/bounded.js';
import type { Observer } from '../base/ports.js';
import { type Entry, entryBytes } from './entry.js';

/** Answers by question key. */
export interface Store {
  /** A fresh answer, or undefined. Counts the hit or miss. */
  get(key: string, nowSec: number): Entry | undefined;
  /** Keeps an entry if it may be kept at all. */
  put(key: string, entry: Entry): void;
  clear(): void;
  readonly entries: number;
  readonly bytes: number;
}

/** Makes a Store of at most `maxBytes`. */
export function store(maxBytes: number, observer: Observer): Store {
  const kept = bounded<Entry>(maxBytes, () => observer.cache('eviction'));
  return {
    get(key, nowSec) {
      const entry = kept.get(key);
      if (entry === undefined || nowSec - entry.storedSec >= entry.ttlSec) {
        // What has expired is left to be replaced or evicted: a refresh most likely comes right now.
        observer.cache('miss');
        return undefined;
      }
      observer.cache(entry.negative ? 'hit_negative' : 'hit_positive');
      return entry;
    },
    put(key, entry) {
      if (entry.ttlSec > 0) kept.set(key, entry, entryBytes(key, entry));
    },
    clear: () => kept.clear(),
    get entries() {
      return kept.entries;
    },
    get bytes() {
      return kept.bytes;
    },
  };
}
