// The addresses of a server that is configured by name alone. They are looked up when they are needed, looked up again
// when their TTL is over, and forgotten when they belong to another network.

import type { Failure } from '../base/outcome.js';
import type { Cancel } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';
import { bootstrap, type BootstrapResult } from './bootstrap.js';
import { Doubt } from './doubt.js';
import { keptForMs, type OwnQuestionPorts, type PlainServer, whenDone } from './own-question.js';

// After a failed search, questions fail at once for this long. The next question after that starts another search.
// Without questions, the search is repeated less and less often, so that a daemon that started before its network
// becomes ready by itself.
const RETRY_MS = 1000;
const RETRY_MOST_MS = 60_000;
/** The longest time for which addresses are kept, whatever their TTL. */
const KEPT_MOST_MS = 86_400_000;

/** The state of the search. */
type SearchState =
  /** There was no search yet, or its result belongs to another network. */
  | { readonly at: 'none' }
  /** `isOver`: the result is not needed any more. */
  | { readonly at: 'searching'; isOver: boolean }
  | { readonly at: 'found'; readonly againAtMs: MonoMs }
  | { readonly at: 'failed'; readonly failure: Failure; readonly againAtMs: MonoMs };

/** The search for the addresses of one name. */
export class AddressSearch {
  private state: SearchState = { at: 'none' };
  /** Failed searches in a row. */
  private failures = 0;
  private readonly doubts = new Doubt();
  /** How often nobody was reached at the addresses: each time another resolver is asked first. */
  private doubted = 0;
  private cancelRetry: Cancel = () => undefined;
  private isClosed = false;

  /**
   * @param done called with every result, except those that belong to another network
   */
  constructor(
    private readonly ports: OwnQuestionPorts,
    private readonly name: string,
    private readonly servers: () => readonly PlainServer[],
    private readonly done: (result: BootstrapResult) => void,
  ) {}

  get isUnderWay(): boolean {
    return this.state.at === 'searching';
  }

  /** Why the last search failed. */
  get failure(): Failure | undefined {
    return this.state.at === 'failed' ? this.state.failure : undefined;
  }

  /** Starts a search if there was none yet, or if its result is too old. */
  refresh(nowMs: MonoMs): void {
    const { state } = this;
    if (this.isClosed || state.at === 'searching' || (state.at !== 'none' && nowMs < state.againAtMs)) return;
    this.cancelRetry();
    const search: Extract<SearchState, { at: 'searching' }> = { at: 'searching', isOver: false };
    this.state = search;
    const isOver = (): boolean => search.isOver;
    whenDone(bootstrap(this.ports, this.name, rotated(this.servers(), this.doubted), isOver), result => {
      if (!search.isOver) this.found(result);
    });
  }

  /** Nobody is reached at the addresses: a captive portal may have invented them, or the server has moved. */
  doubt(nowMs: MonoMs): void {
    if (this.state.at !== 'found' || !this.doubts.arises(nowMs)) return;
    this.doubted++;
    this.state = { at: 'none' };
    this.refresh(nowMs);
  }

  /** The server was reached at one of the addresses. */
  confirm(): void {
    this.doubts.ends();
  }

  /**
   * Forgets the result: it belongs to another network, or comes from other resolvers. The next `refresh` searches
   * again.
   */
  forget(): void {
    this.stop();
    this.failures = 0;
    this.doubts.ends();
    this.state = { at: 'none' };
  }

  close(): void {
    this.isClosed = true;
    this.stop();
  }

  private stop(): void {
    this.cancelRetry();
    if (this.state.at === 'searching') this.state.isOver = true;
  }

  private found(result: BootstrapResult): void {
    const nowMs = this.ports.clock.monotonicMs();
    if (result.at === 'found') {
      this.failures = 0;
      this.state = { at: 'found', againAtMs: monoAfter(nowMs, keptForMs(result.ttlSec, KEPT_MOST_MS)) };
    } else {
      this.state = { at: 'failed', failure: result, againAtMs: monoAfter(nowMs, RETRY_MS) };
      const inMs = Math.min(RETRY_MS * 2 ** Math.min(this.failures++, 16), RETRY_MOST_MS);
      this.cancelRetry = this.ports.clock.after(inMs, () => this.refresh(this.ports.clock.monotonicMs()));
    }
    this.done(result);
  }
}

/** The same list, begun at another place. */
const rotated = <V>(list: readonly V[], by: number): readonly V[] => {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
};
