// Records that must be proven, asked for and validated past all caches, over a way that the caller gives. What comes
// over it may come from an attacker: nothing of it is kept, neither proofs nor failures.

import { failure, isAnswerRcode } from '../base/outcome.js';
import type { Log } from '../base/ports.js';
import { type Name, nameOf } from '../dnssec/name.js';
import { readSets, type RRset } from '../dnssec/rrset.js';
import { MOST_ALIASES } from '../dnssec/validate.js';
import type { Validator } from '../dnssec/validator.js';
import type { ProvenAnswer, ProvenLookup } from '../upstream/dane-lookup.js';
import { HEADER_BYTES } from '../wire/header.js';
import { readName } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { TYPE } from '../wire/rrtype.js';
import type { Outcome } from './answer.js';
import { ownQuery } from './internal-query.js';
import { forward } from './stages/forward.js';
import { validated } from './stages/validated.js';
import { type ValidationParts, Validations } from './validation/validations.js';

/** The parts that a lookup uses. */
export interface ProvenLookupParts extends Omit<
  ValidationParts,
  'dnssecMode' | 'note' | 'probes' | 'isDoubtful' | 'validator' | 'upstream'
> {
  /** Makes a Validator with an empty table of zones. */
  readonly freshValidator: () => Validator;
}

/** TTLs as they are. */
const TTL_LIMITS = { minSec: 0, maxSec: 86_400, negativeMaxSec: 86_400 };

/** Makes a ProvenLookup. It validates in every mode of `dnssec.mode`. */
export function provenLookup(parts: ProvenLookupParts): ProvenLookup {
  const log = quiet(parts.log);
  return (name, type, upstream, take) => {
    const dnssecMode = () => 'require' as const;
    const validations = new Validations({ ...parts, log, validator: parts.freshValidator(), upstream, dnssecMode });
    const ttlLimits = () => TTL_LIMITS;
    const query = ownQuery(nameOf(name), type, { checkingDisabled: false, avoid: [] });
    const ask = validated(validations)(forward({ ...parts, upstream, dnssecMode, ttlLimits }));
    ask(query, outcome => take(provenBy(outcome, nameOf(name), type, HEADER_BYTES + query.question.length)));
  };
}

const nothing = (): void => undefined;

/** What is found out about a server that is not authenticated is in the result, and says nothing about other servers. */
const quiet = (log: Log): Log => ({
  debug: (fields, words) => log.debug(fields, words),
  info: nothing,
  warn: nothing,
  error: nothing,
});

/** @param questionEnd where the records of the message start */
function provenBy(outcome: Outcome, name: Name, type: number, questionEnd: number): ProvenAnswer {
  if (outcome.at === 'failure') return outcome;
  const { entry } = outcome;
  if (!isAnswerRcode(entry.rcode))
    return failure('dnssec_indeterminate', `${entry.upstream} answers ${rcodeToText(entry.rcode)}`);
  if (entry.verdict === 'insecure') return { at: 'insecure' };
  if (entry.verdict !== 'secure') return failure('dnssec_indeterminate', `${entry.upstream}: not validated`);
  const sets = readSets(entry, questionEnd)?.answer;
  return sets === undefined
    ? failure('parse', entry.upstream)
    : { at: 'secure', rdata: rdataOf(sets, name, type), ttlSec: entry.ttlSec };
}

/** RDATA of the records at the end of a chain of aliases. Validated records of other owners may be there, too. */
function rdataOf(sets: readonly RRset[], name: Name, type: number): readonly Buffer[] {
  let owner = name;
  for (let aliases = 0; aliases <= MOST_ALIASES; aliases++) {
    const at = (wanted: number): RRset | undefined => sets.find(each => each.owner === owner && each.type === wanted);
    const found = at(type);
    if (found !== undefined) return found.rdata.map(each => Buffer.from(each));
    const [alias] = at(TYPE.CNAME)?.rdata ?? [];
    const target = alias && readName(alias, 0)?.name;
    if (target === undefined) break;
    owner = nameOf(target);
  }
  return [];
}
