// The queries of clients that wait for an answer, counted in all and for each client, so that one client alone cannot
// take all the room that there is for them. A client is what `clientNetwork` (base/address) makes of its address.

/** Counts them. */
export class Waiting {
  private total = 0;
  /** Clients with a query that waits. */
  private readonly clients = new Map<string, number>();

  /** Queries that wait. */
  get queries(): number {
    return this.total;
  }

  /** Those of one client. */
  of(client: string): number {
    return this.clients.get(client) ?? 0;
  }

  /** One more waits. */
  enter(client: string): void {
    this.total++;
    this.clients.set(client, this.of(client) + 1);
  }

  /** One of them does not wait any more. */
  leave(client: string): void {
    this.total--;
    const left = this.of(client) - 1;
    if (left > 0) this.clients.set(client, left);
    else this.clients.delete(client);
  }
}
