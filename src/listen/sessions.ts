// The table of the sessions over one transport, from the moment when a connection is accepted, TLS handshakes included.
// It is bounded in all and for each client. As it fills, sessions may be idle for less and less time, and when it is
// full, the one that has been idle longest makes room for the newcomer (RFC 7766 §6.2.3): whoever holds connections and
// asks nothing keeps nobody out.

import { clientNetwork } from '../base/address.js';
import type { StreamObserver } from '../base/observer.js';
import type { Cancel, Clock } from '../base/ports.js';
import { type MonoMs } from '../base/time.js';

/** How long a session may be idle, as long as half of the table is free. */
export const IDLE_MS = 10_000;
/** The default of access.sessions_per_client. */
const MAX_SESSIONS_PER_CLIENT = 20;
/** The reply octets that all sessions of one client may leave unread. */
const MAX_OWED_PER_CLIENT_BYTES = 1 << 22;
/** How long a session may be idle when the table is full. */
const LEAST_IDLE_MS = 1000;

/** The transport of a session. */
export type StreamTransport = 'tcp' | 'tls' | 'https';

/** Whoever has a place in the table. */
export interface Occupant {
  /** Reply octets that the client has not read yet. */
  readonly owedBytes: number;
  /** Closes the connection at once, and its descriptor with it. */
  close(): void;
}

/** The parts that a table uses, and its bounds. */
export interface TableParts {
  readonly clock: Clock;
  readonly observer: StreamObserver;
  /** Sessions in all; os/limits computes how many there is room for. */
  readonly max: number;
  /** Sessions of one client. */
  readonly maxPerClient?: number;
  /** In place of IDLE_MS. */
  readonly idleMs?: number;
  /** Called when there are more sessions, or fewer. */
  readonly changed?: (open: number, idleMs: number) => void;
}

/** A place in the table. */
export class Place {
  /** Since when it has been idle. */
  since: MonoMs;
  /** Whether its connection is closed. */
  left = false;
  /** Whether it is in the list of idle places, */
  listed = false;
  /** and its neighbours there. */
  before: Place | undefined = undefined;
  after: Place | undefined = undefined;

  constructor(
    private readonly table: SessionTable,
    readonly client: string,
    public occupant: Occupant,
    now: MonoMs,
  ) {
    this.since = now;
  }

  /** A query has come, or replies were read: its idle time begins anew, unless a query waits. */
  active(): void {
    if (this.listed) this.table.relist(this);
  }

  /** A query waits for an answer: the session is not idle. */
  waits(): void {
    this.table.unlist(this);
  }

  /** No query waits any more. */
  rests(): void {
    this.table.list(this);
  }

  /** The client does not read. If too much is owed to all of its sessions together, the one that is owed most closes. */
  owesMuch(): void {
    this.table.relieve(this.client);
  }

  /** The connection is closed. */
  leave(): void {
    this.table.remove(this);
  }
}

/** The table. */
export class SessionTable {
  /** The places of each client. */
  private readonly clients = new Map<string, Set<Place>>();
  private places = 0;
  /** The idle ones, the idlest first. */
  private first: Place | undefined = undefined;
  private last: Place | undefined = undefined;
  /** Closes those that were idle too long. */
  private timer: { readonly at: number; readonly cancel: Cancel } | undefined = undefined;
  private readonly maxPerClient: number;
  private readonly longestIdleMs: number;

  constructor(private readonly parts: TableParts) {
    this.longestIdleMs = parts.idleMs ?? IDLE_MS;
    // One client must not take all sessions if there are few.
    this.maxPerClient = parts.maxPerClient ?? Math.max(1, Math.min(MAX_SESSIONS_PER_CLIENT, parts.max >> 1));
  }

  /** Open sessions. */
  get open(): number {
    return this.places;
  }

  /** How long a session may be idle now. */
  get idleMs(): number {
    const { longestIdleMs: longest } = this;
    const free = 1 - this.places / this.parts.max;
    return free >= 0.5 ? longest : Math.max(Math.min(LEAST_IDLE_MS, longest), longest * 2 * free);
  }

  /**
   * Gives a connection a place, which it must leave when it closes. If there is none, another session makes room.
   * @param asksForMany whether it comes from a reverse proxy, which may have half of all places
   * @returns undefined: no other has to, and the connection must be closed
   */
  admit(address: string, occupant: Occupant, asksForMany = false): Place | undefined {
    const { observer, clock, max } = this.parts;
    const most = asksForMany ? Math.max(this.maxPerClient, max >> 1) : this.maxPerClient;
    const client = clientNetwork(address);
    const own = this.clients.get(client)?.size ?? 0;
    if (own >= most) this.displace(this.idlestOf(client, true));
    else if (this.places >= max) this.displace(this.first ?? this.idlestOf(this.clientWithMoreThan(own + 1), false));
    const places = this.clients.get(client) ?? new Set();
    if (places.size >= most || this.places >= max) {
      observer.dropped('connections');
      return undefined;
    }
    const place = new Place(this, client, occupant, clock.monotonicMs());
    this.clients.set(client, places.add(place));
    this.places++;
    this.list(place);
    this.tell();
    return place;
  }

  /** For a place: it is idle from now on. */
  list(place: Place): void {
    if (place.left) return;
    this.append(place);
    this.watch();
  }

  /** For a place that is idle: it is idle anew. The idlest one is idle for as long as before, or for less. */
  relist(place: Place): void {
    if (place !== this.last) this.append(place);
    else place.since = this.parts.clock.monotonicMs();
  }

  private append(place: Place): void {
    this.unlist(place);
    place.since = this.parts.clock.monotonicMs();
    place.listed = true;
    place.before = this.last;
    if (this.last === undefined) this.first = place;
    else this.last.after = place;
    this.last = place;
  }

  /** For a place: it is not idle any more. */
  unlist(place: Place): void {
    if (!place.listed) return;
    const { before, after } = place;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.last = before;
    else after.before = before;
    place.listed = false;
    place.before = place.after = undefined;
  }

  /** For a place: its connection is closed. */
  remove(place: Place): void {
    if (place.left) return;
    place.left = true;
    const places = this.clients.get(place.client);
    places?.delete(place);
    if (places?.size === 0) this.clients.delete(place.client);
    this.places--;
    this.unlist(place);
    this.tell();
  }

  private tell(): void {
    this.parts.changed?.(this.places, this.idleMs);
  }

  /** For a place: much is owed to its client. */
  relieve(client: string): void {
    let owed = 0;
    let most: Place | undefined;
    for (const place of this.clients.get(client) ?? []) {
      const { owedBytes } = place.occupant;
      owed += owedBytes;
      if (most === undefined || owedBytes > most.occupant.owedBytes) most = place;
    }
    if (most === undefined || owed <= MAX_OWED_PER_CLIENT_BYTES) return;
    this.parts.observer.dropped('slow_client');
    this.close(most);
  }

  /** The session of a client that has been idle longest. @param idle false: if all of its queries wait, any */
  private idlestOf(client: string | undefined, idle: boolean): Place | undefined {
    let idlest: Place | undefined;
    for (const place of (client === undefined ? undefined : this.clients.get(client)) ?? [])
      if ((place.listed || !idle) && (idlest === undefined || place.since < idlest.since)) idlest = place;
    return idlest;
  }

  /** The client with the most sessions, if these are more than `few`. */
  private clientWithMoreThan(few: number): string | undefined {
    let found: string | undefined;
    let most = few;
    for (const [client, { size }] of this.clients) if (size > most) [found, most] = [client, size];
    return found;
  }

  private displace(place: Place | undefined): void {
    if (place === undefined) return;
    this.parts.observer.dropped('displaced');
    this.close(place);
  }

  private close(place: Place): void {
    this.remove(place);
    place.occupant.close();
  }

  /** Makes sure that the idlest session is closed in time. */
  private watch(): void {
    const { first } = this;
    if (first === undefined) return;
    const { clock } = this.parts;
    const at = first.since + this.idleMs;
    if (this.timer !== undefined) {
      if (this.timer.at <= at + TIMER_SLACK_MS) return;
      this.timer.cancel();
    }
    this.timer = { at, cancel: clock.after(Math.max(0, at - clock.monotonicMs()), this.sweep) };
  }

  private readonly sweep = (): void => {
    this.timer = undefined;
    const now = this.parts.clock.monotonicMs();
    for (let { first } = this; first !== undefined && now - first.since >= this.idleMs; { first } = this) {
      if (first.occupant.owedBytes > 0) this.parts.observer.dropped('slow_client');
      this.close(first);
    }
    this.watch();
  };
}

/** Timers are not made anew for less. */
const TIMER_SLACK_MS = 50;
