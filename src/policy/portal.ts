// The captive portal window. For some minutes, a few names are sent to the network's own resolvers in cleartext, so
// that the sign-in page of a hotel can be reached. All other names keep their mode. The window closes by itself.

import { ageAfter, type AgeSec } from '../base/time.js';
import { isAtOrBelow, nameToText } from '../wire/name.js';

/** Why it is open: by command, or because a portal was detected; `url`: its page, if it is known. */
export type PortalCause = { readonly by: 'command' } | { readonly by: 'detected'; readonly url: string | undefined };

/** An open window. */
export interface OpenPortal {
  readonly cause: PortalCause;
  /** For how many milliseconds it has been open, */
  readonly openMs: number;
  /** and for how many more it stays open. */
  readonly leftMs: number;
  /**
   * The page to open in a browser: that of the portal where it is known, else one over HTTP in whose place the network
   * shows its own. Undefined: no name is in the window.
   */
  readonly visit: string | undefined;
}

/** The window. */
export interface Portal {
  /**
   * Opens the window, or extends it.
   * @param own names of the portal itself, besides the configured ones. Those of a detected portal come from the
   * network, which could give any name: names below them do not count
   */
  start(forMs: number, own: readonly Buffer[], cause: PortalCause): void;
  stop(): void;
  /** Replaces the configured names; an open window stays open and keeps its own names. */
  configure(names: readonly Buffer[]): void;
  /** For how many milliseconds it stays open; 0: it is closed. */
  readonly leftMs: number;
  /** Undefined: it is closed. */
  readonly open: OpenPortal | undefined;
  /** Whether this name (lower case) is sent to the network's resolvers now: one of the names, or below one of them. */
  covers(name: Buffer): boolean;
}

/** The times of an open window. */
interface Opened {
  readonly since: AgeSec;
  readonly until: AgeSec;
  readonly cause: PortalCause;
}

/** neverssl.com, a page that never leads to one over TLS, which no portal can answer for. */
const WITHOUT_TLS = Buffer.from('\x08neverssl\x03com\0', 'latin1');

class PortalWindow implements Portal {
  /** Undefined: it is closed, and a query need not look at the clock. */
  private opened: Opened | undefined = undefined;
  /** Names of the portal itself, for this window only. */
  private own: readonly Buffer[] = [];

  constructor(
    /** The window closes at its time even if the machine has slept meanwhile. */
    private readonly ageNow: () => AgeSec,
    /** The configured names. */
    private names: readonly Buffer[],
  ) {}

  start(forMs: number, own: readonly Buffer[], cause: PortalCause): void {
    const now = this.ageNow();
    const since = this.leftMs > 0 ? (this.opened?.since ?? now) : now;
    this.opened = { since, until: ageAfter(now, forMs / 1000), cause };
    this.own = own;
  }

  stop(): void {
    this.opened = undefined;
    this.own = [];
  }

  configure(names: readonly Buffer[]): void {
    this.names = names;
  }

  get leftMs(): number {
    return this.opened === undefined ? 0 : Math.max(0, Math.round(1000 * (this.opened.until - this.ageNow())));
  }

  get open(): OpenPortal | undefined {
    const { opened, leftMs } = this;
    if (opened === undefined || leftMs === 0) return undefined;
    const openMs = Math.round(1000 * (this.ageNow() - opened.since));
    return { cause: opened.cause, openMs, leftMs, visit: this.visit(opened) };
  }

  private visit({ cause }: Opened): string | undefined {
    if (cause.by === 'detected' && cause.url !== undefined) return cause.url;
    const plain = this.names.find(each => each.equals(WITHOUT_TLS));
    const name = this.own[0] ?? plain ?? this.names[0];
    return name && `http://${nameToText(name).replace(/\.$/, '')}/`;
  }

  covers(name: Buffer): boolean {
    if (this.leftMs === 0) return false;
    const isThere = (each: Buffer): boolean => isAtOrBelow(name, each);
    const isOwn = this.opened?.cause.by === 'detected' ? (each: Buffer): boolean => name.equals(each) : isThere;
    return this.names.some(isThere) || this.own.some(isOwn);
  }
}

/**
 * Makes a Portal, closed.
 * @param names in wire form, lower case
 */
export const portal = (ageNow: () => AgeSec, names: readonly Buffer[]): Portal => new PortalWindow(ageNow, names);
