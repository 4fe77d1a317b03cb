// Finding the address of a server that is configured by name alone (RFC 8310 §7.2): the only names that strict mode
// asks for in cleartext are those of the servers themselves, and only at the configured bootstrap resolvers. What
// comes back need not be trusted: the server still has to prove its name.

import { failure, type Failure } from '../base/outcome.js';
import type { Observer } from '../base/observer.js';
import type { DialDatagram, Random } from '../base/ports.js';
import { readAddresses } from '../wire/addresses.js';
import { nameFromText } from '../wire/name.js';
import { CLASS_IN, TYPE } from '../wire/rrtype.js';
import { answersQuery, upstreamQuery } from '../wire/upstream-query.js';

/** What the search found. */
export type Found = { readonly at: 'found'; readonly addresses: readonly string[]; readonly ttlSec: number } | Failure;

/** A resolver to ask: an address and port. */
export interface BootstrapServer {
  readonly address: string;
  readonly port: number;
}

const TIMEOUT_MS = 1000;

/** Asks every bootstrap server in turn, A and AAAA together, until one gives an address. Never rejects. */
export async function bootstrap(
  { random, dialDatagram, observer }: { random: Random; dialDatagram: DialDatagram; observer: Observer },
  authenticationDomainName: string,
  servers: readonly BootstrapServer[],
): Promise<Found> {
  const name = nameFromText(authenticationDomainName);
  if (name === undefined) return failure('bootstrap', `${authenticationDomainName} is not a domain name`);

  const ask = async (server: BootstrapServer, type: typeof TYPE.A | typeof TYPE.AAAA) => {
    observer.cleartext('bootstrap');
    const id = random.uint16();
    const question = Buffer.concat([name, Buffer.from([type >> 8, type & 255, 0, CLASS_IN])]);
    const query = upstreamQuery(
      id,
      { question, dnssecOk: false, checkingDisabled: false },
      { pad: false, keepalive: false, hideSubnet: true },
    );
    const reply = await dialDatagram(server, query, message => answersQuery(message, id, question), TIMEOUT_MS);
    return typeof reply === 'string' ? undefined : readAddresses(reply, type);
  };

  let detail = 'upstream.bootstrap is empty';
  for (const server of servers) {
    // Twice: one lost datagram must not cost the start.
    for (let sends = 0; sends < 2; sends++) {
      const both = await Promise.all([ask(server, TYPE.A), ask(server, TYPE.AAAA)]);
      const answered = both.filter(each => each !== undefined);
      const addresses = answered.flatMap(each => each.addresses);
      if (addresses.length > 0) {
        const ttlSec = Math.min(...answered.filter(each => each.addresses.length > 0).map(each => each.ttlSec));
        return { at: 'found', addresses, ttlSec };
      }
      detail = `${server.address} ${answered.length === 0 ? 'did not answer' : 'knows no address'} for ${authenticationDomainName}`;
      if (answered.length > 0) break;
    }
  }
  return failure('bootstrap', detail);
}
