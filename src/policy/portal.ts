// The captive portal window. For some minutes, a few names are sent to the network's own resolvers in cleartext, so
// that the sign-in page of a hotel can be reached. All other names keep their mode. The window closes by itself.

import { monoAfter, type MonoMs } from '../base/time.js';
import { isAtOrBelow } from '../wire/name.js';

/** The window. */
export interface Portal {
  /**
   * Opens the window, or extends it.
   * @param own names of the portal itself, besides the configured ones
   */
  start(forMs: number, own: readonly Buffer[]): void;
  stop(): void;
  /** Replaces the configured names; an open window stays open and keeps its own names. */
  configure(names: readonly Buffer[]): void;
  /** For how many milliseconds it stays open; 0: it is closed. */
  readonly leftMs: number;
  /** Whether this name (lower case) is sent to the network's resolvers now: one of the names, or below one. */
  covers(name: Buffer): boolean;
}

class PortalWindow implements Portal {
  /** When it closes; undefined: it is closed, and a query need not look at the clock. */
  private until: MonoMs | undefined = undefined;
  /** Names of the portal itself, for this window only. */
  private own: readonly Buffer[] = [];

  constructor(
    private readonly monotonicMs: () => MonoMs,
    /** The configured names. */
    private names: readonly Buffer[],
  ) {}

  start(forMs: number, own: readonly Buffer[]): void {
    this.until = monoAfter(this.monotonicMs(), forMs);
    this.own = own;
  }

  stop(): void {
    this.until = undefined;
    this.own = [];
  }

  configure(names: readonly Buffer[]): void {
    this.names = names;
  }

  get leftMs(): number {
    return this.until === undefined ? 0 : Math.max(0, this.until - this.monotonicMs());
  }

  covers(name: Buffer): boolean {
    const isThere = (each: Buffer): boolean => isAtOrBelow(name, each);
    return this.leftMs > 0 && (this.names.some(isThere) || this.own.some(isThere));
  }
}

/**
 * Makes a Portal, closed.
 * @param names in wire form, lower case
 */
export const portal = (monotonicMs: () => MonoMs, names: readonly Buffer[]): Portal =>
  new PortalWindow(monotonicMs, names);
