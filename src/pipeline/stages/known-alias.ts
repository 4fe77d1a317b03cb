// Answers from a kept alias (pipeline/aliases/links) if it leads to a name that is answered here. Such an answer is kept
// nowhere as a whole, because a change of the name counts at once; without this stage, each query would go to the servers.

import type { AgeSec } from '../../base/time.js';
import type { AnswerCache } from '../../cache/answers.js';
import { nameOf } from '../../dnssec/name.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { keyOfType } from '../../wire/query.js';
import { TYPE } from '../../wire/rrtype.js';
import { AT_ALIASES, targetIn } from '../aliases/links.js';
import { recordsOf } from '../aliases/rebuilt.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface KnownAliasParts {
  readonly answers: Pick<AnswerCache, 'hasAliases' | 'known'>;
  /** Whether a query is answered here. */
  readonly isAnsweredHere: (query: Query) => boolean;
  readonly ageNow: () => AgeSec;
}

/** Makes the stage. The target is left to `followed`, which stands above it. */
export const knownAlias =
  (parts: KnownAliasParts): Stage =>
  next =>
  (query, settle) => {
    const alias = aliasLeadingHere(parts, query);
    if (alias === undefined) next(query, settle);
    else settle(alias);
  };

/** The kept alias of a name, if it leads to a name that is answered here, perhaps over other kept ones. */
function aliasLeadingHere(parts: KnownAliasParts, query: Query): Answer | undefined {
  // A refresh is to bring something newer, and who asks for an alias is not led on.
  if (!parts.answers.hasAliases || query.purpose === 'refresh' || AT_ALIASES.has(query.type)) return undefined;
  let first: Answer | undefined;
  let about = query;
  for (let aliases = 0; aliases < MOST_ALIASES; aliases++) {
    const link = keptAlias(parts, about);
    if (link === undefined) return undefined;
    first ??= link.answer;
    about = query.about(link.target);
    if (parts.isAnsweredHere(about)) return first;
  }
  return undefined;
}

function keptAlias(
  { answers, ageNow }: KnownAliasParts,
  { key, question, name }: Query,
): { readonly answer: Answer; readonly target: Buffer } | undefined {
  const found = answers.known(keyOfType(key, TYPE.CNAME), ageNow(), 0);
  // One from before a restart must be validated first.
  if (found === undefined || found.isDoubtful) return undefined;
  const records = recordsOf(found.entry, HEADER_BYTES + question.length, undefined);
  const target = records && targetIn(records, name);
  return target && { answer: new Answer('cache', found.entry, 0, nameOf(target)), target };
}
