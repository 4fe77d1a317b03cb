// Where replies go: the routes of queries that wait. Their Buffers are used again, because to make one takes as long as to
// read a query.

import { MOST_ROUTE_BYTES } from '../os/datagrams.js';

/** How many Buffers are kept for later, about as many as there are queries that wait. */
const MOST_KEPT = 1024;

/** The Buffers. */
export class Routes {
  private readonly kept: Buffer[] = [];

  /** One for any route. Who does not give it back leaves it to the garbage collector. */
  take(): Buffer {
    return this.kept.pop() ?? Buffer.allocUnsafeSlow(MOST_ROUTE_BYTES);
  }

  /** Takes one back, whose route is not needed any more. */
  give(route: Buffer): void {
    if (this.kept.length < MOST_KEPT) this.kept.push(route);
  }
}
