// Discovery of Designated Resolvers (RFC 9462): a resolver that is only known by its address is asked where it speaks DNS
// over TLS. What it says is only followed to a server whose certificate also holds the address that was asked (§4.2), so
// that whoever could forge the answer gains nothing.

import type { Observer } from '../base/observer.js';
import type { DialDatagram, Random } from '../base/ports.js';
import { type Designations, readDesignations } from '../wire/designation.js';
import { nameFromText, ROOT } from '../wire/name.js';
import { CLASS_IN, TYPE } from '../wire/rrtype.js';
import { answersQuery, upstreamQuery } from '../wire/upstream-query.js';
import { bootstrap } from './bootstrap.js';

/** A place to connect to. */
export interface Designated {
  readonly address: string;
  readonly port: number;
  readonly name: string;
}

/** What was found, and for how long. */
export interface Discovered {
  readonly designated: readonly Designated[];
  readonly ttlSec: number;
}

const TIMEOUT_MS = 1000;
const SENDS = 2;
const QUESTION = Buffer.concat([
  nameFromText('_dns.resolver.arpa') ?? ROOT,
  Buffer.from([TYPE.SVCB >> 8, TYPE.SVCB & 255, 0, CLASS_IN]),
]);

/** Asks the resolver at an address; undefined: it did not answer. Never rejects. */
export async function discover(
  ports: { readonly random: Random; readonly dialDatagram: DialDatagram; readonly observer: Observer },
  at: { readonly address: string; readonly port: number },
): Promise<Discovered | undefined> {
  const found = await ask(ports, at);
  if (found === undefined) return undefined;
  const designated: Designated[] = [];
  for (const { name, port, addresses } of found.designations) {
    let known = addresses;
    if (known.length === 0) {
      const looked = await bootstrap(ports, name, [at]);
      known = looked.at === 'found' ? looked.addresses : [];
    }
    designated.push(...known.map(address => ({ address, port, name })));
  }
  return { designated, ttlSec: found.ttlSec };
}

async function ask(
  { random, dialDatagram, observer }: Parameters<typeof discover>[0],
  at: { readonly address: string; readonly port: number },
): Promise<Designations | undefined> {
  for (let sends = 0; sends < SENDS; sends++) {
    const id = random.uint16();
    observer.cleartext('probe');
    const query = upstreamQuery(
      id,
      { question: QUESTION, dnssecOk: false, checkingDisabled: false },
      { pad: false, keepalive: false, hideSubnet: true },
    );
    const reply = await dialDatagram(at, query, message => answersQuery(message, id, QUESTION), TIMEOUT_MS);
    if (typeof reply !== 'string') return readDesignations(reply);
  }
  return undefined;
}
