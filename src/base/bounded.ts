// A map that can not grow past its bound: the only place that knows lru-cache.

import { LRUCache } from 'lru-cache';

/** A least-recently-used map bounded by the bytes its values claim. */
export interface Bounded<V extends object> {
  get(key: string): V | undefined;
  /** Stores `value`; evicts the least recently used until it fits. A value larger than the bound is not stored. */
  set(key: string, value: V, bytes: number): void;
  delete(key: string): void;
  /** All keys, as a list of its own. */
  keys(): readonly string[];
  clear(): void;
  readonly entries: number;
  readonly bytes: number;
}

/**
 * Makes a Bounded map.
 * @param maxBytes upper bound of the sum of all `bytes` given to `set`
 * @param onEvict called for each entry that had to leave to make room
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
