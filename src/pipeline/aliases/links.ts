// Aliases that servers have not followed, kept for the time when nobody answers about their targets. The whole chain is one
// answer in the cache (pipeline/resolver), which there is not if its target could not be asked for. Then an alias is worth
// something if its target is cached under its own name: each is kept as what it is, the answer to a question for CNAME.

import { isAnswerRcode } from '../../base/outcome.js';
import type { AnswerCache } from '../../cache/answers.js';
import { makeEntry } from '../../cache/entry.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { lowerCased } from '../../wire/name.js';
import { keyHasCd } from '../../wire/query.js';
import { TYPE } from '../../wire/rrtype.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Stage } from '../stage.js';
import { AS_IT_IS, chainOf } from './chain.js';
import { type OwnRecords, recordsOf } from './rebuilt.js';

/** The types of what stands beside an alias (RFC 4034 §3, §4). Who asks for them is not led on. */
export const AT_ALIASES: ReadonlySet<number> = new Set([TYPE.CNAME, TYPE.NSEC, TYPE.RRSIG]);

/** The parts that it uses. */
export interface AliasLinkParts {
  readonly answers: Pick<AnswerCache, 'peek' | 'put' | 'epoch'>;
  /** Validates an alias before it is kept; left out: such answers are not validated. */
  readonly validated?: Stage;
  /** The route that a query goes to; undefined: none. */
  readonly routeOf: (query: Query) => unknown;
}

/** Where the alias of this name leads, in wire form and lower case; undefined: it is none. */
export function targetIn(records: OwnRecords, name: Buffer): Buffer | undefined {
  const alias = records.answer.find(each => each.type === TYPE.CNAME && lowerCased(each.owner).equals(name));
  return alias && lowerCased(alias.rdata);
}

/** An answer whose last alias leads on. */
export interface Hop {
  /** What was asked for. */
  readonly query: Query;
  readonly answer: Answer;
  readonly records: OwnRecords;
  /** The question for the name that it leads to. */
  readonly target: Query;
}

/** Keeps aliases. */
export class AliasLinks {
  constructor(private readonly parts: AliasLinkParts) {}

  /** Changes whenever something is forgotten. */
  get epoch(): number {
    return this.parts.answers.epoch;
  }

  /**
   * Keeps the aliases of answers, as far as whoever has answered would be asked about their names: the resolver of a route
   * says nothing that counts about names outside, nor others about its names. Where they are validated first, which takes
   * long, it does so only if something is cached about the last target, be it expired.
   * @param since the value of `epoch` when the first question was asked: if something was forgotten meanwhile, they may be
   * of servers that are not asked any more, and are not kept
   * @returns false: they are not kept
   */
  learnt(hops: readonly Hop[], since: number): boolean {
    const { answers, validated } = this.parts;
    const end = hops.at(-1);
    if (end === undefined || (validated !== undefined && answers.peek(end.target.key) === undefined)) return false;
    for (const hop of hops) this.keepAll(hop, since);
    return true;
  }

  private keepAll({ query, answer, records, target }: Hop, since: number): void {
    const { routeOf } = this.parts;
    const route = routeOf(query);
    let { name } = query;
    for (let aliases = 0; aliases <= MOST_ALIASES && !name.equals(target.name); aliases++) {
      const about = query.about(name);
      if (routeOf(about) !== route) return;
      const next = this.keep(about.asking(TYPE.CNAME), answer, records, since);
      if (next === undefined) return;
      name = next;
    }
  }

  /** Keeps one. Returns where it leads. */
  private keep(asked: Query, answer: Answer, all: OwnRecords, since: number): Buffer | undefined {
    const { answers, validated } = this.parts;
    const said = { rcode: 0, extendedErrors: answer.entry.extendedErrors };
    // With the proof that there is nothing closer than the wildcard that it may be made of.
    const found = chainOf(asked, [all], said);
    if (found === undefined || found === 'circle' || found.scan.negative) return undefined;
    // It is as old as what it was taken from, and proven for as long.
    const { storedAt: ageNow, verdict, verdictSec, upstream, protocol } = answer.entry;
    const made = makeEntry(found.message, found.scan, AS_IT_IS, { ageNow, verdict, upstream, protocol });
    const entry = { ...made, verdictSec };
    const link = new Answer(answer.origin, entry, answer.serverId);
    const told: ReturnType<Stage> = (_query, settle) => settle(link);
    // Below `validated`, queries have CD, whatever the client has.
    const query = asked.derive({ checkingDisabled: keyHasCd(asked.key) });
    (validated?.(told) ?? told)(query, outcome => {
      if (outcome.at === 'failure' || !isAnswerRcode(outcome.entry.rcode) || since !== answers.epoch) return;
      if (outcome.entry.verdict !== 'indeterminate') answers.put(asked.key, outcome.entry);
    });
    const records = recordsOf(entry, HEADER_BYTES + asked.question.length, undefined);
    return records && targetIn(records, asked.name);
  }
}
