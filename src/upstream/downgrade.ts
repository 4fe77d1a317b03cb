// Whether the names of one server may go in cleartext in opportunistic mode. To a client without memory, an attacker who
// blocks TLS looks like a network that never let it through. So once a server was authenticated on a network, by any of
// its addresses or by a resolver that it designates, its names wait for some time before they go in cleartext
// (RFC 9461 §8.2, RFC 9539 §4.2).

import type { MonoMs } from '../base/time.js';
import type { Memory } from './memory.js';

/** A server that was authenticated counts as blocked after this many failed attempts in a row, */
const LEAST_FAILURES = 4;
/** if they have lasted this long. */
const LEAST_MS = 30_000;

/** The guard of one server. */
export class DowngradeGuard {
  /** Failed attempts over TLS since the last of its addresses stopped working. */
  private failures = 0;
  private sinceMs: MonoMs | undefined = undefined;

  /**
   * @param key the server's name in the memory
   * @param worksElsewhere whether TLS works with any of its addresses
   */
  constructor(
    private readonly memory: Memory,
    private readonly key: string,
    private readonly worksElsewhere: () => boolean,
  ) {}

  /** Whether cleartext is refused. */
  holds(nowMs: MonoMs): boolean {
    const isBlocked = this.failures >= LEAST_FAILURES && this.sinceMs !== undefined && nowMs - this.sinceMs >= LEAST_MS;
    return !isBlocked && this.memory.proved(this.key);
  }

  /** TLS with one of its addresses has failed. */
  failed(nowMs: MonoMs): void {
    if (this.worksElsewhere()) return;
    this.sinceMs ??= nowMs;
    this.failures++;
  }

  /** TLS with one of its addresses works. */
  works(authenticated: boolean): void {
    if (authenticated) this.memory.prove(this.key);
    this.forget();
  }

  /** On another network, earlier failures do not count. */
  forget(): void {
    this.failures = 0;
    this.sinceMs = undefined;
  }
}
