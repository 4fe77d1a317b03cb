// Whether a server answers, in cleartext or over connections that it accepts. A query that is not answered says little:
// its zone may be dead. So after one, the server is asked for something that every resolver can answer, and only silence
// to that counts. Pure.

import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/** A silent server is asked again after the first time, then less and less often. */
const RETRY_MS = { first: 1000, most: 60_000 } as const;

type State =
  | { readonly at: 'answers' }
  /** It was asked, and there is no answer yet. `failures`: how often it was silent before. */
  | { readonly at: 'asked'; readonly failures: number }
  | { readonly at: 'down'; readonly failures: number; readonly retryAtMs: MonoMs };

/** Whether one address answers. */
export class Answering {
  private state: State = { at: 'answers' };
  private heardAtMs: MonoMs = monoMs(-Infinity);
  /** A query was not answered, and nothing was heard since it was sent. */
  private hasLost = false;

  /** Whether it has stopped answering. */
  get isDown(): boolean {
    return this.state.at === 'down' || (this.state.at === 'asked' && this.state.failures > 0);
  }

  /** Whether a server that is down should be asked again. */
  isDue(nowMs: MonoMs): boolean {
    return this.state.at === 'down' && nowMs >= this.state.retryAtMs;
  }

  /** A query was not answered. @returns whether to ask the server, because nothing was heard since it was sent */
  lost(startedAtMs: MonoMs): boolean {
    if (this.heardAtMs >= startedAtMs) return false;
    this.hasLost = true;
    return true;
  }

  /** The server is about to be asked; false: it was asked just now. */
  asks(nowMs: MonoMs): boolean {
    const { state } = this;
    if (state.at === 'asked' || (state.at === 'down' && nowMs < state.retryAtMs)) return false;
    this.state = { at: 'asked', failures: state.at === 'down' ? state.failures : 0 };
    return true;
  }

  /** It did not answer. */
  silent(nowMs: MonoMs): void {
    if (this.state.at !== 'asked') return;
    const failures = this.state.failures + 1;
    const waitMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(failures - 1, 16));
    this.state = { at: 'down', failures, retryAtMs: monoAfter(nowMs, waitMs) };
  }

  /** It has answered something. @returns whether that ends an outage */
  heard(nowMs: MonoMs): boolean {
    this.heardAtMs = nowMs;
    this.state = { at: 'answers' };
    const { hasLost } = this;
    this.hasLost = false;
    return hasLost;
  }

  /** The route to the server has changed. */
  forget(): void {
    this.state = { at: 'answers' };
    this.hasLost = false;
  }
}
