// An answer of what is cached about several names: aliases (pipeline/aliases/links), and what stands at their end. It is made
// when servers do not answer, and its parts may have expired.

import type { ExtendedError } from '../../wire/edns.js';
import type { Verdict } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { AnswerCache, Peeked } from '../../cache/answers.js';
import { makeEntry } from '../../cache/entry.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { keyOfType } from '../../wire/query.js';
import { TYPE } from '../../wire/rrtype.js';
import { Answer, fallbackError, isProven } from '../answer.js';
import type { Query } from '../query.js';
import { AS_IT_IS, chainOf, retimed } from './chain.js';
import { AT_ALIASES, targetIn } from './links.js';
import { type OwnRecords, recordsOf } from './rebuilt.js';

/** What decides which parts may be used, and what becomes of them. */
export interface ChainLimits {
  readonly ageNow: AgeSec;
  /** How long after its end a part may be used; 0: never. */
  readonly mostSec: number;
  /** The TTL of parts that have expired, and the most that those have that must be validated again. */
  readonly ttlSec: number;
}

/** Such an answer. */
export interface CachedChain {
  readonly answer: Answer;
  /** Whether a part of it has expired. */
  readonly hasExpired: boolean;
}

/** One answer of the cache. */
interface Part {
  readonly found: Omit<Peeked, 'entry'> & { readonly entry: Omit<Peeked['entry'], 'octets'> };
  readonly records: OwnRecords;
  readonly leftSec: number;
}

/** The answer to a query whose name is an alias; undefined: it is not known to be one, or not where it leads. */
export function cachedChain(answers: AnswerCache, query: Query, limits: ChainLimits): CachedChain | undefined {
  // Who asks for the alias gets it, and is not led on.
  if (!answers.hasAliases || AT_ALIASES.has(query.type)) return undefined;
  const parts: Part[] = [];
  for (let about = query; parts.length <= MOST_ALIASES;) {
    const end = parts.length > 0 ? partFor(answers, about, limits) : undefined;
    if (end !== undefined) return joined(query, [...parts, end], limits);
    // The key is enough: most names that are looked up here are no aliases.
    const link = partFor(answers, { key: keyOfType(about.key, TYPE.CNAME), question: about.question }, limits);
    const target = link && targetIn(link.records, about.name);
    if (link === undefined || target === undefined) return undefined;
    parts.push(link);
    about = query.about(target);
  }
  return undefined;
}

function partFor(
  answers: AnswerCache,
  { key, question }: Pick<Query, 'key' | 'question'>,
  limits: ChainLimits,
): Part | undefined {
  const { ageNow, mostSec, ttlSec } = limits;
  const found = answers.known(key, ageNow, mostSec);
  // They are copied: the memory is borrowed.
  const records = found && recordsOf(found.entry, HEADER_BYTES + question.length, undefined);
  if (found === undefined || records === undefined) return undefined;
  const elapsedSec = Math.floor(ageNow - found.entry.storedAt);
  const leftSec = found.entry.ttlSec - (ageNow - found.entry.storedAt);
  const ttlOf = (sec: number): number => {
    if (leftSec <= 0) return ttlSec;
    return Math.min(Math.max(0, sec - elapsedSec), found.isDoubtful ? ttlSec : Infinity);
  };
  return { found, records: retimed(records, ttlOf), leftSec };
}

function joined(query: Query, parts: readonly Part[], { ageNow }: ChainLimits): CachedChain | undefined {
  const end = parts.at(-1)?.found.entry;
  if (end === undefined) return undefined;
  const { rcode, upstream, protocol } = end;
  const hasExpired = parts.some(({ leftSec }) => leftSec <= 0);
  const isFallback = hasExpired || parts.some(({ found }) => found.isDoubtful);
  const extendedErrors: ExtendedError[] = parts.flatMap(({ found }) => found.entry.extendedErrors);
  if (isFallback) extendedErrors.push(fallbackError(rcode, hasExpired));
  const records = parts.map(each => each.records);
  const sound = chainOf(query, records, { rcode, extendedErrors });
  if (sound === undefined || sound === 'circle') return undefined;
  const verdict = verdictOf(parts, ageNow);
  const entry = makeEntry(sound.message, sound.scan, AS_IT_IS, { ageNow, verdict, upstream, protocol });
  // It is made anew for each query.
  return { answer: new Answer(isFallback ? 'stale' : 'cache', { ...entry, ttlSec: 0 }, 0), hasExpired };
}

/** All are as good as the worst. */
function verdictOf(parts: readonly Part[], ageNow: AgeSec): Verdict {
  const verdicts = new Set(
    parts.map(({ found: { entry } }) =>
      entry.verdict === 'secure' && !isProven(entry, ageNow) ? 'unchecked' : entry.verdict,
    ),
  );
  const [first = 'unchecked'] = verdicts;
  return verdicts.size === 1 ? first : 'unchecked';
}
