// Questions of this program itself that are validated or serve validation: its lookups, keys of trust anchors, traces,
// TLSA records. All are made here. Questions for the addresses of servers are those of upstream/own-question.

import { putU16 } from '../base/octets.js';
import { failure, type Failure, RCODE } from '../base/outcome.js';
import { type Name, nameText, octetsOf } from '../dnssec/name.js';
import { readSets } from '../dnssec/rrset.js';
import type { Lookup, LookupResult } from '../dnssec/steps.js';
import type { ServerName } from '../upstream/endpoint.js';
import type { Upstream, UpstreamReply } from '../upstream/pool.js';
import { questionOf } from '../wire/compose.js';
import { FLAG } from '../wire/header.js';
import { cacheKey } from '../wire/query.js';
import type { Scan } from '../wire/scan.js';
import { type Client, Query } from './query.js';

/** Used in place of a client. */
const OURSELVES: Client = { address: '127.0.0.1', port: 0, family: 4, transport: 'udp' };

/** How an internal question is asked. */
export interface OwnQuestion {
  readonly checkingDisabled: boolean;
  /** Ids of servers that are only asked if there is no other. */
  readonly avoid: readonly number[];
  /** The epoch of the routes when the question began that it is for; left out: it begins when it is asked. */
  readonly routesEpoch?: number | undefined;
}

/** Makes a query of an internal question. Signatures are always requested. */
export function ownQuery(name: Name, type: number, { checkingDisabled, avoid, routesEpoch }: OwnQuestion): Query {
  const question = questionOf(octetsOf(name), type);
  const flags = checkingDisabled ? FLAG.RD | FLAG.CD : FLAG.RD;
  const key = cacheKey(question, checkingDisabled);
  const [opt, place] = [undefined, undefined];
  return new Query(
    0,
    flags,
    question,
    type,
    opt,
    true,
    true,
    checkingDisabled,
    key,
    OURSELVES,
    'own',
    0,
    avoid,
    place,
    routesEpoch,
  );
}

/**
 * Asks upstream for RRsets that validation needs. They are not validated on the way (CD): the caller does that.
 * @param take called once with the result, which it may keep, and with the server that sent it, if there was one
 */
export function askForSets(
  upstream: Upstream,
  lookup: Lookup,
  { avoid, routesEpoch }: Pick<OwnQuestion, 'avoid' | 'routesEpoch'>,
  take: (found: LookupResult, server: ServerName | undefined) => void,
): void {
  const query = ownQuery(lookup.name, lookup.type, { checkingDisabled: true, avoid, routesEpoch });
  const took = (reply: UpstreamReply | Failure): void =>
    take(setsOf(reply, lookup.name), reply.at === 'reply' ? reply.server : undefined);
  upstream.exchange(
    query,
    query.type,
    reply => {
      // One SERVFAIL of the only server that answers must not make a whole zone fail: often it has only just begun to
      // look for the answer itself.
      const again = reply.at === 'reply' && reply.scan.rcode === RCODE.SERVFAIL && reply.isShared !== true;
      if (again) upstream.exchange(query, query.type, took, avoid);
      else took(reply);
    },
    avoid,
  );
}

const notFetched = (detail: string | undefined): LookupResult => ({
  at: 'failure',
  failure: failure('dnssec_indeterminate', detail),
});

function setsOf(reply: UpstreamReply | Failure, name: Name): LookupResult {
  if (reply.at === 'failure') return notFetched(reply.detail);
  const { scan, message, server } = reply;
  if (scan.rcode !== RCODE.NOERROR && scan.rcode !== RCODE.NXDOMAIN)
    return notFetched(`${server.label} answers RCODE ${scan.rcode} about ${nameText(name)}`);
  // The sets are used after the read buffer was overwritten.
  const copy = Buffer.from(message.subarray(0, scan.end));
  // Without its OPT record it is a whole message again.
  putU16(copy, 10, scan.additional);
  return setsIn(copy, scan, server.label) ?? notFetched(`${server.label}: malformed records about ${nameText(name)}`);
}

/** A response as the result of a lookup, which shares its octets; undefined: it is malformed. */
export function setsIn(message: Buffer, scan: Scan, upstream: string): LookupResult | undefined {
  const { answers, authority, ttlOffsets, rcode } = scan;
  const sets = readSets({ octets: message, answers, authority, ttlOffsets }, scan.questionEnd);
  return sets && { at: 'answer', sets, rcode, upstream, message };
}
