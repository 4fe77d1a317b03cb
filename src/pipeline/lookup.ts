// A question of validation's own: asked upstream with DO and CD, and what comes of it as RRsets.

import { failure, type Failure, RCODE } from '../base/outcome.js';
import { nameText, octetsOf } from '../dnssec/name.js';
import { readSets } from '../dnssec/rrset.js';
import type { Lookup, LookupResult } from '../dnssec/steps.js';
import type { Pool, UpstreamReply } from '../upstream/pool.js';
import { questionOf } from '../wire/compose.js';

/**
 * Asks.
 * @param avoid servers that are only asked if there is no other
 * @param take called once; what it is given is its own
 */
export function askUpstream(
  pool: Pool,
  what: Lookup,
  avoid: readonly string[],
  take: (found: LookupResult) => void,
): void {
  const question = questionOf(octetsOf(what.name), what.type);
  pool.exchange(
    { question, dnssecOk: true, checkingDisabled: true },
    what.type,
    reply => take(foundIn(reply, what)),
    avoid,
  );
}

function foundIn(reply: UpstreamReply | Failure, { name }: Lookup): LookupResult {
  if (reply.at === 'failure') return { at: 'failure', failure: failure('dnssec_indeterminate', reply.detail) };
  const { scan, upstream } = reply;
  if (scan.rcode !== RCODE.NOERROR && scan.rcode !== RCODE.NXDOMAIN) {
    return {
      at: 'failure',
      failure: failure('dnssec_indeterminate', `${upstream} answers RCODE ${scan.rcode} about ${nameText(name)}`),
    };
  }
  // The sets outlive the read buffer.
  const sets = readSets(
    {
      octets: Buffer.from(reply.message.subarray(0, scan.end)),
      answers: scan.answers,
      authority: scan.authority,
      ttlOffsets: scan.ttlOffsets,
    },
    scan.questionEnd,
  );
  return sets === undefined
    ? {
        at: 'failure',
        failure: failure('dnssec_indeterminate', `${upstream}: malformed records about ${nameText(name)}`),
      }
    : { at: 'answer', sets, rcode: scan.rcode, upstream };
}
