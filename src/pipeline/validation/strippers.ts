// Remembers which servers leave DNSSEC signatures out of their answers, as home routers often do.

import type { Log } from '../../base/ports.js';
import { type AgeSec, ageAfter } from '../../base/time.js';
import type { ServerName } from '../../upstream/endpoint.js';

/** For how long a server that left signatures out is avoided before it is tried again. */
const STRIPPED_SEC = 600;
/** Servers come and go with networks; the oldest entries are forgotten first. */
const MOST_SERVERS = 64;

const NONE: readonly number[] = [];

/** What is known about servers, by server id. */
export class Strippers {
  private readonly seen = new Map<number, { readonly strips: boolean; readonly until: AgeSec }>();
  /** Ids of the servers that strip; rebuilt at each change. */
  private stripping = NONE;
  private forgotten = 0;

  constructor(
    private readonly log: Log,
    private readonly ageNow: () => AgeSec,
  ) {}

  /** Ids of servers that leave signatures out. */
  get ids(): readonly number[] {
    if (this.stripping.length > 0) this.expire();
    return this.stripping;
  }

  /** Whether a server passes signatures on. */
  stateOf(id: number): 'ok' | 'strips' | 'unknown' {
    this.expire();
    const known = this.seen.get(id);
    return known === undefined ? 'unknown' : known.strips ? 'strips' : 'ok';
  }

  /** Changes with every `forget`: results of earlier questions must not be noted any more. */
  get epoch(): number {
    return this.forgotten;
  }

  /** Notes whether a server stripped signatures. */
  note({ id, label }: ServerName, strips: boolean): void {
    const was = this.seen.get(id)?.strips === true;
    this.seen.delete(id);
    const [oldest] = this.seen.keys();
    if (this.seen.size >= MOST_SERVERS && oldest !== undefined) this.seen.delete(oldest);
    this.seen.set(id, { strips, until: ageAfter(this.ageNow(), strips ? STRIPPED_SEC : Infinity) });
    if (strips === was) return;
    this.collect();
    if (strips)
      this.log.warn(
        { upstream: label },
        `${label} leaves DNSSEC signatures out of its answers: other servers are preferred; behind a router, ask it to pass DNSSEC on, or choose another server`,
      );
    else this.log.info({ upstream: label }, `${label} passes DNSSEC signatures on again`);
  }

  /** Forgets all servers: on another network they may be reached through another router. */
  forget(): void {
    this.forgotten++;
    this.seen.clear();
    this.stripping = NONE;
  }

  private expire(): void {
    const now = this.ageNow();
    let changed = false;
    for (const [id, { until }] of this.seen) if (until <= now) changed = this.seen.delete(id);
    if (changed) this.collect();
  }

  private collect(): void {
    this.stripping = [...this.seen].flatMap(([id, { strips }]) => (strips ? [id] : []));
  }
}
