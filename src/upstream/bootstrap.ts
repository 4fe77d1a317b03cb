// Finding the address of a server that is configured by name alone (RFC 8310 §7.2): the only names that strict mode
// asks for in cleartext are those of the servers themselves, and only at the configured bootstrap resolvers. What
// comes back need not be trusted: the server still has to prove its name.

import { failure, type Failure } from '../base/outcome.js';
import { readAddresses } from '../wire/addresses.js';
import { nameFromText } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { askOwn, type OwnQuestionPorts, type PlainServer, questionFor } from './own-question.js';

/** What the search found. */
export type BootstrapResult =
  { readonly at: 'found'; readonly addresses: readonly string[]; readonly ttlSec: number } | Failure;

/** Twice: one lost datagram must not delay the start. */
const SENDS = 2;

/**
 * Asks every bootstrap server in turn, A and AAAA together, until one gives an address. Never rejects.
 * @param isOver whether nobody wants to know any more: then nothing more is sent
 */
export async function bootstrap(
  ports: OwnQuestionPorts,
  authenticationDomainName: string,
  servers: readonly PlainServer[],
  isOver: () => boolean,
): Promise<BootstrapResult> {
  const name = nameFromText(authenticationDomainName);
  if (name === undefined) return failure('bootstrap', `${authenticationDomainName} is not a domain name`);

  const ask = async (server: PlainServer, type: typeof TYPE.A | typeof TYPE.AAAA) => {
    const reply = await askOwn(ports, server, questionFor(name, type), 'bootstrap', isOver);
    return reply === undefined ? undefined : readAddresses(reply, type);
  };

  let detail = 'upstream.bootstrap is empty';
  for (const server of servers) {
    for (let sends = 0; sends < SENDS; sends++) {
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
