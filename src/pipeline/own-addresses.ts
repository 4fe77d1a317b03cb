// The addresses of a host that this program itself goes to, asked like any question of a client: cached, over TLS, validated.

import { addressText } from '../base/address.js';
import { RCODE } from '../base/outcome.js';
import { nameOf } from '../dnssec/name.js';
import { HEADER_BYTES } from '../wire/header.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { ScannedRecords } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import type { Outcome } from './answer.js';
import { ownQuery } from './internal-query.js';
import type { Query } from './query.js';
import type { Resolve } from './stage.js';

/** Looks a host up. Empty: there is no address. */
export async function ownAddresses(resolve: Resolve, routesEpoch: number, host: string): Promise<readonly string[]> {
  const name = nameFromText(host);
  if (name === undefined) return [];
  const ask = async (type: typeof TYPE.A | typeof TYPE.AAAA): Promise<readonly string[]> =>
    new Promise(take => {
      const query = ownQuery(nameOf(lowerCased(name)), type, { checkingDisabled: false, avoid: [], routesEpoch });
      resolve(query, outcome => take(addressesIn(outcome, query, type)));
    });
  return (await Promise.all([ask(TYPE.A), ask(TYPE.AAAA)])).flat();
}

function addressesIn(outcome: Outcome, { question }: Query, type: number): readonly string[] {
  if (outcome.at === 'failure' || outcome.entry.rcode !== RCODE.NOERROR) return [];
  const { octets } = outcome.entry;
  const bytes = type === TYPE.A ? 4 : 16;
  const addresses: string[] = [];
  const record = new ScannedRecords(outcome.entry, HEADER_BYTES + question.length);
  while (record.next() && record.section === 'answer')
    if (record.type === type && record.rdataBytes === bytes) addresses.push(addressText(octets, record.rdata, bytes));
  return addresses;
}
