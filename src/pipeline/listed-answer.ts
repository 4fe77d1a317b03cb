// Answers in place of those that a list keeps from clients.

import { putU32 } from '../base/octets.js';
import { EDE, RCODE } from '../base/outcome.js';
import type { AgeSec } from '../base/time.js';
import { nameOf } from '../dnssec/name.js';
import type { ListChoice } from '../policy/lists/choice.js';
import { type LocalRecord, targetFor } from '../policy/lists/rule.js';
import { compose, type RecordData } from '../wire/compose.js';
import { ROOT } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { Answer } from './answer.js';
import type { Query } from './query.js';

/** How long clients keep such an answer: not long, so that a pause or an exception helps soon. */
const LISTED_TTL_SEC = 60;
/** MNAME and RNAME are the root; SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM. */
const SOA_NUMBERS = [1, 3600, 1200, 604_800, LISTED_TTL_SEC];
const SOA_RDATA = Buffer.alloc(2 + 4 * SOA_NUMBERS.length);
SOA_NUMBERS.forEach((number, i) => putU32(SOA_RDATA, 2 + 4 * i, number));
const NULL_ADDRESS: Readonly<Record<number, Buffer>> = { [TYPE.A]: Buffer.alloc(4), [TYPE.AAAA]: Buffer.alloc(16) };

/**
 * The answer that a rule gives.
 * @param why goes into the extended error
 * @param group whether the list is one of a group of clients: it is filtered for them (RFC 8914 §4.18), else blocked for all
 * (§4.16)
 */
export function listedAnswer(query: Query, choice: ListChoice, why: string, group: boolean, ageNow: AgeSec): Answer {
  const { question } = query;
  const { answer, isTooLong } = recordsFor(query, choice);
  const alias = answer.find(({ type }) => type === TYPE.CNAME && query.type !== TYPE.CNAME);
  // As where a DNAME leads too far (RFC 6672 §2.2).
  const rcode = isTooLong ? RCODE.YXDOMAIN : (RCODES[choice.action] ?? RCODE.NOERROR);
  const isDenial = rcode !== RCODE.REFUSED && !isTooLong && answer.length === 0;
  // With a SOA, so that it may be cached (RFC 2308 §5).
  const authority = isDenial
    ? [{ owner: parentOf(query.name), type: TYPE.SOA, ttlSec: LISTED_TTL_SEC, rdata: SOA_RDATA }]
    : [];
  const infoCode = group ? EDE.FILTERED : EDE.BLOCKED;
  const message = compose(question, { answer, authority }, { rcode, compress: true });
  return Answer.listed(message, ageNow, [{ infoCode, text: why }], alias && nameOf(alias.rdata));
}

const RCODES: Readonly<Partial<Record<ListChoice['action'], number>>> = {
  nxdomain: RCODE.NXDOMAIN,
  refused: RCODE.REFUSED,
};

/** The alias that a rule gives in place of other data; undefined: it gives none to this query. */
export function aliasFor({ type }: Pick<Query, 'type'>, { records }: ListChoice): LocalRecord | undefined {
  // A name with an alias has no other data (RFC 1034 §3.6.2).
  const hasOwn = type !== TYPE.CNAME && records.some(each => each.type === type);
  return hasOwn ? undefined : records.find(each => each.type === TYPE.CNAME);
}

/** The records of the answer, or that the target of its alias would be too long. */
function recordsFor(
  { name: owner, type }: Query,
  choice: ListChoice,
): { readonly answer: readonly RecordData[]; readonly isTooLong: boolean } {
  const answer = (records: readonly RecordData[]) => ({ answer: records, isTooLong: false });
  if (choice.action === 'null') {
    const rdata = NULL_ADDRESS[type];
    return answer(rdata === undefined ? [] : [{ owner, type, ttlSec: LISTED_TTL_SEC, rdata }]);
  }
  const alias = aliasFor({ type }, choice);
  if (alias === undefined)
    return answer(choice.records.filter(each => each.type === type).map(each => ({ owner, ...each })));
  const rdata = targetFor(owner, alias);
  return rdata === undefined ? { answer: [], isTooLong: true } : answer([{ owner, ...alias, rdata }]);
}

/** The name above a name: what is denied is one of its names. */
function parentOf(name: Buffer): Buffer {
  const parent = name.subarray((name[0] ?? 0) + 1);
  return parent.length === 0 ? ROOT : parent;
}
