// The queries of clients that wait for an answer, counted in all and for each client, so that one client alone cannot
// take all the room that there is for them. A client is what `clientNetwork` (base/address) makes of its address.

import { clientNetwork } from '../base/address.js';
import { failure, type Failure } from '../base/outcome.js';
import type { MonoMs } from '../base/time.js';

/** How many may wait. Its fields are read at each query. */
export interface WaitingLimits {
  /** The most queries that may wait. One more gets SERVFAIL at once instead of a place in a queue. */
  readonly maxInflight: number;
  /** The most of one client (access.per_client); 0: no limit. */
  readonly maxPerClient: number;
  /** Those over these limits that may wait nevertheless; left out: none. */
  readonly late?: Late | undefined;
}

/** Queries that have waited for the daemon to start. Nothing tells them from others but when they are read. */
export interface Late {
  /** So many in all, however many of them wait at a time: one client cannot go on with more than its share. */
  readonly most: number;
  /** They are read before this time. */
  readonly untilMs: MonoMs;
}

/** A client with queries that wait. */
export interface WaitingClient {
  /** See `clientNetwork` in base/address. */
  readonly network: string;
  queries: number;
}

/** Counts them. */
export class Waiting {
  private total = 0;
  /** Clients with a query that waits. */
  private readonly clients = new Map<string, WaitingClient>();
  /** The late queries among them are counted for no client, and leave all others as much room as ever. */
  private readonly late: WaitingClient = { network: '', queries: 0 };
  /** How many queries were late since the start. */
  private lateTaken = 0;

  constructor(private readonly limits: WaitingLimits) {}

  /** Queries that wait. */
  get queries(): number {
    return this.total;
  }

  /**
   * One more wants to wait.
   * @returns the client that it is counted for, or why it may not
   */
  take(address: string, startedAt: MonoMs): WaitingClient | Failure {
    const refusal = this.refusal(address);
    if (refusal === undefined) return this.enter(address);
    const { late } = this.limits;
    if (late === undefined || this.lateTaken >= late.most || startedAt >= late.untilMs) return refusal;
    this.lateTaken++;
    this.late.queries++;
    this.total++;
    return this.late;
  }

  private refusal(address: string): Failure | undefined {
    const { maxInflight, maxPerClient } = this.limits;
    const total = this.total - this.late.queries;
    if (total >= maxInflight) return failure('overload');
    // None can have more than all have together: mostly nobody needs to be looked up.
    const isOver = maxPerClient > 0 && total >= maxPerClient && this.of(clientNetwork(address)) >= maxPerClient;
    return isOver ? failure('client_overload') : undefined;
  }

  private of(client: string): number {
    return this.clients.get(client)?.queries ?? 0;
  }

  /** One more waits, whatever the limits are. @returns the client that it is counted for */
  enter(address: string): WaitingClient {
    const network = clientNetwork(address);
    let client = this.clients.get(network);
    if (client === undefined) this.clients.set(network, (client = { network, queries: 0 }));
    client.queries++;
    this.total++;
    return client;
  }

  /** One of them does not wait any more. @param client what `take` or `enter` has returned */
  leave(client: WaitingClient): void {
    this.total--;
    if (--client.queries === 0) this.clients.delete(client.network);
  }
}
