// The queries of clients that wait for an answer, counted in all and for each client, so that one client alone cannot
// take all the room that there is for them. A client is what `clientNetwork` (base/address) makes of its address.

import { clientNetwork } from '../base/address.js';
import { failure, type Failure } from '../base/outcome.js';

/** How many may wait. Its fields are read at each query. */
export interface WaitingLimits {
  /** The most queries that may wait. One more gets SERVFAIL at once instead of a place in a queue. */
  readonly maxInflight: number;
  /** The most of one client (access.per_client); 0: no limit. */
  readonly maxPerClient: number;
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

  constructor(private readonly limits: WaitingLimits) {}

  /** Queries that wait. */
  get queries(): number {
    return this.total;
  }

  /** Why one more query from an address may not wait; undefined: it may. */
  refusal(address: string): Failure | undefined {
    const { total, limits } = this;
    const { maxInflight, maxPerClient } = limits;
    if (total >= maxInflight) return failure('overload');
    // None can have more than all have together: mostly nobody needs to be looked up.
    const isOver = maxPerClient > 0 && total >= maxPerClient && this.of(clientNetwork(address)) >= maxPerClient;
    return isOver ? failure('client_overload') : undefined;
  }

  private of(client: string): number {
    return this.clients.get(client)?.queries ?? 0;
  }

  /** One more waits. @returns the client that it is counted for */
  enter(address: string): WaitingClient {
    const network = clientNetwork(address);
    let client = this.clients.get(network);
    if (client === undefined) this.clients.set(network, (client = { network, queries: 0 }));
    client.queries++;
    this.total++;
    return client;
  }

  /** One of them does not wait any more. @param client what `enter` has returned */
  leave(client: WaitingClient): void {
    this.total--;
    if (--client.queries === 0) this.clients.delete(client.network);
  }
}
