// Remembers which servers leave DNSSEC signatures out of their answers, as home routers often do.

import type { Log } from '../../base/ports.js';
import { type AgeSec, ageAfter } from '../../base/time.js';
import type { ServerName } from '../../upstream/endpoint.js';

/** For how long a server that left signatures out is avoided before it is tried again. */
const STRIPPED_SEC = 600;
/** If an answer of a server lacks signatures, it is tried again at most this often. */
const PASSED_SEC = 60;
/** Servers come and go with networks; the oldest entries are forgotten first. */
const MOST_SERVERS = 64;

const NONE: readonly number[] = [];

interface Known {
  readonly strips: boolean;
  /** From then on it is tried again. */
  readonly until: AgeSec;
}

/** What is known about servers, by server id. */
export class Strippers {
  private readonly seen = new Map<number, Known>();
  /** Ids of the servers to avoid; rebuilt at each change. */
  private stripping = NONE;
  private forgotten = 0;

  /** @param accepts whether their answers are accepted if there is no other server (dnssec.mode prefer) */
  constructor(
    private readonly log: Log,
    private readonly ageNow: () => AgeSec,
    private readonly accepts: () => boolean,
  ) {}

  /** Ids of servers that leave signatures out, except those that are due to be tried again. */
  get ids(): readonly number[] {
    if (this.stripping.length > 0 && this.stripping.some(id => this.isDue(id))) this.collect();
    return this.stripping;
  }

  /** Whether a server passes signatures on, as far as is known. */
  stateOf(id: number): 'ok' | 'strips' | 'unknown' {
    const known = this.seen.get(id);
    return known === undefined ? 'unknown' : known.strips ? 'strips' : 'ok';
  }

  /** Whether what is known about a server may have changed by now. */
  isDue(id: number): boolean {
    const known = this.seen.get(id);
    return known === undefined || known.until <= this.ageNow();
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
    this.seen.set(id, { strips, until: ageAfter(this.ageNow(), strips ? STRIPPED_SEC : PASSED_SEC) });
    if (strips || was) this.collect();
    if (strips === was) return;
    if (strips) {
      const sole = this.accepts() ? ', and without another one nothing is validated' : '';
      const mend = 'behind a router, ask it to pass DNSSEC on, or list servers that do in upstream.servers';
      this.log.warn(
        { upstream: label },
        `${label} leaves DNSSEC signatures out of its answers: other servers are preferred${sole}; ${mend}`,
      );
    } else this.log.info({ upstream: label }, `${label} passes DNSSEC signatures on again`);
  }

  /** Forgets all servers: on another network they may be reached through another router. */
  forget(): void {
    this.forgotten++;
    this.seen.clear();
    this.stripping = NONE;
  }

  private collect(): void {
    this.stripping = [...this.seen].flatMap(([id, { strips }]) => (strips && !this.isDue(id) ? [id] : []));
  }
}
