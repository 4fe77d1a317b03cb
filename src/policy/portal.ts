// The captive portal window: for a few minutes a handful of names goes to the network's own resolvers in cleartext, so that
// a hotel's page can be reached. Everything else keeps its mode, and the window closes by itself.

import { type MonoMs, monoAfter } from '../base/time.js';
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
 * @param names the configured ones as they are now, in wire form, lower case
 */
export function portal(monotonicMs: () => MonoMs, names: () => readonly Buffer[]): Portal {
  return new PortalWindow(monotonicMs, names);
}

class PortalWindow implements Portal {
  /** When it closes; undefined: it is closed. */
  private until: MonoMs | undefined;
  /** Names of the portal itself, given when it was opened. */
  private own: readonly Buffer[] = [];

  constructor(
    private readonly monotonicMs: () => MonoMs,
    private readonly names: () => readonly Buffer[],
  ) {}

  start(forMs: number, own: readonly Buffer[]): void {
    this.until = monoAfter(this.monotonicMs(), forMs);
    this.own = own;
  }

  stop(): void {
    this.until = undefined;
    this.own = [];
  }

  get leftMs(): number {
    // Asked for every query that is not in the cache: a window that is closed does not look at the clock.
    return this.until === undefined ? 0 : Math.max(0, this.until - this.monotonicMs());
  }

  covers(name: Buffer): boolean {
    const isCovered = (each: Buffer): boolean => isAtOrBelow(name, each);
    return this.leftMs > 0 && (this.names().some(isCovered) || this.own.some(isCovered));
  }
}
