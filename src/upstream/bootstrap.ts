// Finds the address of a server that is configured by name alone (RFC 8310 §7.2). In strict mode, the names of the
// servers are the only ones that leave in cleartext, and they go to the configured bootstrap resolvers only. The
// addresses need not be trusted: the server still has to prove its name.

import { onLinkOf } from '../base/address.js';
import type { CleartextReason } from '../base/observer.js';
import { failure, type Failure } from '../base/outcome.js';
import { readAddresses } from '../wire/addresses.js';
import { questionOf } from '../wire/compose.js';
import { nameFromText } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { askOwn, type OwnQuestionPorts, type PlainServer, SENDS } from './own-question.js';

/** The result of the search. */
export type BootstrapResult =
  { readonly at: 'found'; readonly addresses: readonly string[]; readonly ttlSec: number } | Failure;

/**
 * Asks the bootstrap servers one after the other, for A and AAAA together, until one gives an address. Never rejects.
 * @param isOver whether the result is not needed any more; then nothing more is sent
 * @param reason what the queries are counted under
 */
export async function bootstrap(
  ports: OwnQuestionPorts,
  authenticationDomainName: string,
  servers: readonly PlainServer[],
  isOver: () => boolean,
  reason: CleartextReason = 'bootstrap',
): Promise<BootstrapResult> {
  const name = nameFromText(authenticationDomainName);
  if (name === undefined) return failure('bootstrap', `${authenticationDomainName} is not a domain name`);

  const ask = async (server: PlainServer, type: typeof TYPE.A | typeof TYPE.AAAA, edns: boolean) => {
    const reply = await askOwn(ports, server, questionOf(name, type), reason, edns, isOver);
    return reply === undefined ? undefined : readAddresses(reply, type);
  };

  let detail = 'upstream.bootstrap is empty';
  for (const server of servers) {
    for (let sends = 0; sends < SENDS; sends++) {
      const both = await Promise.all([ask(server, TYPE.A, sends === 0), ask(server, TYPE.AAAA, sends === 0)]);
      const answered = both.filter(each => each !== undefined);
      const addresses = answered
        .flatMap(each => each.addresses.map(address => onLinkOf(server.address, address)))
        .filter(isSomewhere);
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

/** Not the unspecified address, which resolvers with block lists give in place of an answer. */
const isSomewhere = (address: string): boolean => address !== '0.0.0.0' && address !== '::';
