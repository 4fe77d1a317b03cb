// What the listener for HTTPS does with connections and requests. A reload exchanges it while connections stay open.

import { isLoopback } from '../base/address.js';
import type { Connection, Streams } from '../listen/connection.js';
import type { HttpParts } from '../listen/http-requests.js';
import { type ListenerParts, SESSION_LIMITS, type StreamProtocol } from '../listen/stream.js';
import { type Matcher, networkMatcher } from '../policy/access.js';
import type { Clients } from './clients.js';
import type { ListenersPlan } from './plan.js';

/** The part of a plan that they are. */
export type HttpsRulesPlan = Pick<ListenersPlan['https'], 'path' | 'proxies'>;

/** Who may connect, and which path queries have. */
export class HttpsRules {
  private path = '';
  private proxies: Matcher = () => false;

  constructor(private readonly clients: Pick<Clients, 'mayAsk' | 'areGrouped'>) {}

  /** For the first plan: there may be connections before it is in force. */
  takeFirst(plan: HttpsRulesPlan): void {
    if (this.path === '') this.take(plan);
  }

  /** Brings a plan into force. */
  take({ path, proxies }: HttpsRulesPlan): void {
    this.path = path;
    this.proxies = networkMatcher(proxies);
  }

  /** The rules for connections. */
  get forConnections(): Pick<ListenerParts, 'mayAsk' | 'isProxy'> {
    return {
      // In cleartext, the queries of others could be read on their way.
      mayAsk: (address, overTls) =>
        this.proxies(address) || (this.clients.mayAsk(address) && (overTls || isLoopback(address))),
      isProxy: address => this.proxies(address),
    };
  }

  /** Loads what is needed for HTTP, which daemons without it do without. */
  async protocol<C extends Connection>(
    streams: Streams<C>,
    parts: Pick<HttpParts, 'front' | 'memory' | 'turns' | 'observer' | 'clock'>,
  ): Promise<StreamProtocol<C>> {
    const { httpsProtocol } = await import('../listen/https.js');
    return httpsProtocol(streams, {
      ...parts,
      limits: SESSION_LIMITS,
      path: () => this.path,
      isProxy: address => this.proxies(address),
      isShared: () => !this.clients.areGrouped,
    });
  }
}
