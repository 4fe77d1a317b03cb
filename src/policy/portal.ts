// The captive portal window: for a few minutes a handful of names goes to the network's own resolvers in cleartext, so that
// a hotel's page can be reached. Everything else keeps its mode, and the window closes by itself.

import { isAtOrBelow } from '../wire/name.js';

/** The window. */
export interface Portal {
  /**
   * Opens it, or opens it anew.
   * @param own names of the portal itself, beside those that are configured
   */
  start(forMs: number, own: readonly Buffer[]): void;
  stop(): void;
  /** Milliseconds that it stays open; 0: it is closed. */
  readonly leftMs: number;
  /** Whether this name, lower case, goes to the network's resolvers now: one of the names, or below one. */
  covers(name: Buffer): boolean;
}

/**
 * Makes a Portal, closed.
 * @param names in wire form, lower case
 */
export function portal(monotonicMs: () => number, names: readonly Buffer[]): Portal {
  let untilMs = -Infinity;
  let all = names;
  // Asked for every query that is not in the cache: a window that was never opened does not look at the clock.
  const left = (): number => (untilMs === -Infinity ? 0 : Math.max(0, untilMs - monotonicMs()));
  return {
    start(forMs, own) {
      untilMs = monotonicMs() + forMs;
      all = [...names, ...own];
    },
    stop() {
      untilMs = -Infinity;
      all = names;
    },
    get leftMs() {
      return left();
    },
    covers: name => left() > 0 && all.some(each => isAtOrBelow(name, each)),
  };
}
