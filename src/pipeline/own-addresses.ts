// The addresses of a host that this program itself goes to, asked like any question of a client: cached, over TLS, validated.

import { RCODE } from '../base/outcome.js';
import { nameOf } from '../dnssec/name.js';
import { readAddresses } from '../wire/addresses.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { ownQuery } from './internal-query.js';
import type { Resolve } from './stage.js';

/** Looks a host up. Empty: there is no address. */
export async function ownAddresses(resolve: Resolve, host: string): Promise<readonly string[]> {
  const name = nameFromText(host);
  if (name === undefined) return [];
  const ask = async (type: typeof TYPE.A | typeof TYPE.AAAA): Promise<readonly string[]> =>
    new Promise(take => {
      const query = ownQuery(nameOf(lowerCased(name)), type, { checkingDisabled: false, avoid: [] });
      resolve(query, outcome => {
        const isAnswer = outcome.at === 'answer' && outcome.entry.rcode === RCODE.NOERROR;
        take(isAnswer ? (readAddresses(outcome.entry.octets, type)?.addresses ?? []) : []);
      });
    });
  return (await Promise.all([ask(TYPE.A), ask(TYPE.AAAA)])).flat();
}
