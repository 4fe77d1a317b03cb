// Whether the names of one server may go in cleartext in opportunistic mode. To a client without memory, an attacker who
// blocks TLS looks like a network that never let it through. So once a server was authenticated on a network, by any of
// its addresses or by a resolver that it designates, its names wait for some time before they go in cleartext
// (RFC 9461 §8.2, RFC 9539 §4.2).

import { monoMs, type MonoMs } from '../base/time.js';
import type { Memory } from './memory.js';

/** A server that was authenticated counts as blocked after this many failed attempts in a row, */
const LEAST_FAILURES = 4;
/** if they have lasted this long. */
const LEAST_MS = 30_000;
/** Failures that follow each other faster count as one: an old failure and a moment without network are no blockade. */
const APART_MS = LEAST_MS / LEAST_FAILURES;
/** While a server works, the memory is told this often that it was authenticated. */
const TELL_MS = 3_600_000;

/** The guard of one server. */
export class DowngradeGuard {
  /** Failed attempts over TLS since the last of its addresses stopped working. */
  private failures = 0;
  private firstAtMs: MonoMs = monoMs(-Infinity);
  private latestAtMs: MonoMs = monoMs(-Infinity);
  private toldAtMs: MonoMs = monoMs(-Infinity);
  /** Whether it has taken the place of a server that could not be asked in cleartext, and did not work since. */
  private isHeir = false;

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
    const isBlocked = this.failures >= LEAST_FAILURES && nowMs - this.firstAtMs >= LEAST_MS;
    return !isBlocked && (this.isHeir || this.memory.proved(this.key));
  }

  /** TLS with one of its addresses has failed. */
  failed(nowMs: MonoMs): void {
    if (this.worksElsewhere() || nowMs - this.latestAtMs < APART_MS) return;
    if (this.failures === 0) this.firstAtMs = nowMs;
    this.latestAtMs = nowMs;
    this.failures++;
  }

  /** TLS with one of its addresses works. */
  works(authenticated: boolean): void {
    if (authenticated) this.memory.prove(this.key);
    this.forgetFailures();
    this.isHeir = false;
  }

  /** It takes the place of a server that could not be asked in cleartext. */
  inherit(): void {
    this.isHeir = true;
  }

  /** It has answered, and was authenticated. Connections can last longer than the memory. */
  proved(nowMs: MonoMs): void {
    if (nowMs - this.toldAtMs < TELL_MS) return;
    this.toldAtMs = nowMs;
    this.memory.prove(this.key);
  }

  /** On another network, or after a sleep, earlier failures do not count. What is known is about one network. */
  reset(what: 'network' | 'resume'): void {
    this.forgetFailures();
    if (what !== 'network') return;
    this.toldAtMs = monoMs(-Infinity);
    this.isHeir = false;
  }

  private forgetFailures(): void {
    this.failures = 0;
    this.firstAtMs = this.latestAtMs = monoMs(-Infinity);
  }
}
