// A map with a bound in bytes. This is the only importer of lru-cache.

import { LRUCache } from 'lru-cache';

/** A map that evicts the least recently used entries to stay within its bound. */
export interface Bounded<V extends object> {
  get(key: string): V | undefined;
  /**
   * Stores `value`, and evicts the least recently used entries until it fits. A value larger than the bound is not stored.
   * @param bytes what the value counts for
   */
  set(key: string, value: V, bytes: number): void;
  delete(key: string): void;
  /** A list of all keys, which later changes do not affect. */
  keys(): readonly string[];
  clear(): void;
  readonly entries: number;
  /** The sum of the `bytes` of all entries. */
  readonly bytes: number;
}

/**
 * Makes a Bounded map.
 * @param maxBytes the bound on the sum of `bytes` of all entries
 * @param onEvict called for each entry that is evicted to make room
 */
export function bounded<V extends object>(maxBytes: number, onEvict: () => void): Bounded<V> {
  const lru = new LRUCache<string, V>({
    maxSize: maxBytes,
    dispose: (_value, _key, reason) => {
      if (reason === 'evict') onEvict();
    },
  });
  return {
    get: key => lru.get(key),
    set: (key, value, bytes) => void lru.set(key, value, { size: bytes }),
    delete: key => void lru.delete(key),
    keys: () => [...lru.keys()],
    clear: () => lru.clear(),
    get entries() {
      return lru.size;
    },
    get bytes() {
      return lru.calculatedSize;
    },
  };
}
