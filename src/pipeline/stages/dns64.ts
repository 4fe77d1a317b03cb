// DNS64 (RFC 6147): names without IPv6 addresses get those that the translator of the network leads to their IPv4
// addresses (policy/dns64), and these have names, too.

import { EDE, failureRow, type Failure, isAnswerRcode, isDnssecFailure, RCODE } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { Entry } from '../../cache/entry.js';
import { nameOf } from '../../dnssec/name.js';
import { LOCAL_TTL_SEC } from '../../policy/local/table.js';
import {
  aaaaContents,
  type Dns64Settings,
  ipv4onlyMessage,
  mostTtlSec,
  translated,
  WITHOUT_SOA_SEC,
} from '../../policy/dns64.js';
import {
  addressOfReverse,
  embeddedAddress,
  isInPrefix,
  type Nat64Prefix,
  reverseOf,
  reverseZone,
} from '../../policy/nat64.js';
import { compose, type ComposedMessage, type RecordData } from '../../wire/compose.js';
import { MAX_MESSAGE_BYTES } from '../../wire/header.js';
import { soaRecord } from '../../wire/reply.js';
import { TYPE } from '../../wire/rrtype.js';
import { recordsOf } from '../aliases/rebuilt.js';
import { Answer, isHandedBack, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle, Stage } from '../stage.js';
import { leftWithout, questionEndOf, withRecords } from '../without-records.js';
import { isRouted } from './routed.js';
import { type SpecialParts, specialZoneFor } from './special-names.js';

/** The parts that the stage uses. */
export interface Dns64Parts extends SpecialParts {
  readonly dns64: () => Dns64Settings;
  readonly ageNow: () => AgeSec;
}

/** Makes the stage. */
export function dns64(parts: Dns64Parts): Stage {
  const { nat64, ageNow } = parts;
  return next => {
    const stage: Resolve = (query, settle) => {
      const prefix = nat64();
      if (prefix === undefined) return next(query, settle);
      const { question, name, type } = query;
      const hasRoute = (): boolean => isRouted(parts.routes(), query);
      const known = ipv4onlyMessage(question, name, type, prefix);
      if (known !== undefined && !hasRoute()) return settle(Answer.local(known, ageNow()));
      // RFC 6147 §5.5: a client that validates itself (CD) gets what was signed, and can make addresses itself.
      if (query.checkingDisabled && query.dnssecOk) return next(query, settle);
      if (type === TYPE.AAAA) return new Synthesis(parts, next, query, settle).begin();
      const address = type === TYPE.PTR ? addressOfReverse(name) : undefined;
      if (address === undefined || !isInPrefix(prefix, address, 0) || hasRoute()) return next(query, settle);
      const about = query.about(reverseOf(embeddedAddress(address, 0, prefix.bits)));
      if (specialZoneFor(parts, about) !== undefined) return settle(ownPointer(query, about.name, ageNow()));
      stage(about, outcome => settle(pointed(query, about, outcome, prefix, ageNow())));
    };
    return stage;
  };
}

/** One question for AAAA, and that for A whose addresses are translated if there is none. */
class Synthesis {
  private readonly asked: Query;
  private hasAsked = false;
  private isOver = false;
  /** The outcome of AAAA, if addresses must be made. */
  private first: Outcome | undefined = undefined;
  /** The outcome of A. */
  private second: Outcome | undefined = undefined;

  constructor(
    private readonly parts: Dns64Parts,
    private readonly next: Resolve,
    private readonly query: Query,
    private readonly settle: Settle,
  ) {
    this.asked = query.asking(TYPE.A);
  }

  begin(): void {
    this.next(this.query, outcome => this.tookFirst(outcome));
    // Servers are asked for both at the same time (RFC 6147 §5.1.8): one after the other, a client would wait two times
    // for servers that are slow or do not answer.
    if (!this.isOver) this.ask();
  }

  private ask(): void {
    if (this.hasAsked) return;
    this.hasAsked = true;
    this.next(this.asked, outcome => this.tookSecond(outcome));
  }

  private tookFirst(outcome: Outcome): void {
    const found = withoutSynthesis(this.parts, this.query, outcome);
    if (found !== undefined) return this.end(found);
    this.first = owned(outcome);
    if (this.second === undefined) this.ask();
    else this.synthesise(this.first, this.second);
  }

  private tookSecond(outcome: Outcome): void {
    if (this.isOver) return;
    if (this.first === undefined) this.second = owned(outcome);
    else this.synthesise(this.first, outcome);
  }

  private synthesise(first: Outcome, second: Outcome): void {
    if (isHandedBack(second)) return this.end(second);
    const { nat64, ageNow } = this.parts;
    const prefix = nat64();
    this.end(
      (prefix && made64(this.query, this.asked, first, second, prefix, ageNow())) ?? withoutAddresses(first, second),
    );
  }

  private end(outcome: Outcome): void {
    this.isOver = true;
    this.settle(outcome);
  }
}

/** The same outcome with octets of its own: those that it borrows are valid only until `Settle` returns. */
const owned = (outcome: Outcome): Outcome =>
  outcome.at === 'failure' ? outcome : outcome.withEntry(ownEntry(outcome.entry));
const ownEntry = (entry: Entry): Entry => ({ ...entry, octets: Buffer.from(entry.octets) });

/** What a client gets if its answer needs no address that is made; undefined: one is needed. */
function withoutSynthesis({ dns64: settings }: Dns64Parts, query: Query, first: Outcome): Outcome | undefined {
  if (first.at === 'failure') return mayHide(first) && !isHandedBack(first) ? undefined : first;
  const { rcode } = first.entry;
  // RFC 6147 §5.1.2: NXDOMAIN holds for all types; other errors count as an empty answer.
  if (rcode !== RCODE.NOERROR) return isAnswerRcode(rcode) ? first : undefined;
  const contents = aaaaContents(first.entry, questionEndOf(query), settings().excludes);
  switch (contents.at) {
    case 'none':
      return undefined;
    case 'addresses':
      return first;
    case 'mixed':
      return withRecords(first, query, leftWithout(first.entry, questionEndOf(query), contents.excluded));
  }
}

/**
 * Whether a question for A may succeed after this failure of the one for AAAA: some servers answer AAAA with an error, or
 * not at all (RFC 6147 §5.1.2, §5.1.3). What validation has found holds (§5.5).
 */
function mayHide({ code }: Failure): boolean {
  const { rcode, retry } = failureRow(code);
  return rcode === RCODE.SERVFAIL && retry === 'next' && !isDnssecFailure(code) && code !== 'dnssec_indeterminate';
}

/** The answer with addresses made of those of A; undefined: there are none. It was validated, but never gets AD. */
function made64(
  query: Query,
  asked: Query,
  first: Outcome,
  second: Outcome,
  prefix: Nat64Prefix,
  ageNow: AgeSec,
): Answer | undefined {
  if (second.at === 'failure' || second.entry.rcode !== RCODE.NOERROR || second.entry.negative) return undefined;
  const mostSec = mostSecOf(query, first, ageNow);
  const records = recordsOf(second.entry, questionEndOf(asked), undefined)?.answer;
  const answer = records && translated(aged(records, second, ageNow), prefix, mostSec);
  if (answer === undefined) return undefined;
  const made = remade(second, compose(query.question, { answer }, { compress: true }), answer, ageNow);
  // That there is no AAAA is a part of the answer: if that has expired, the client is told.
  if (made === undefined || first.at === 'failure' || first.origin !== 'stale' || second.origin === 'stale')
    return made;
  return made.withEntry({
    ...made.entry,
    extendedErrors: [...made.entry.extendedErrors, ...first.entry.extendedErrors],
  });
}

/** The outcome of AAAA where that of A has no address either. If its addresses were taken out of it, the client is told. */
function withoutAddresses(first: Outcome, second: Outcome): Outcome {
  if (first.at === 'failure' || second.at === 'failure') return first;
  const told = first.entry.extendedErrors;
  const blocked = second.entry.extendedErrors.filter(
    ({ infoCode, text }) =>
      infoCode === EDE.BLOCKED && !told.some(each => each.infoCode === infoCode && each.text === text),
  );
  if (blocked.length === 0) return first;
  return first.withEntry({ ...first.entry, extendedErrors: [...told, ...blocked] });
}

/** The name of a made address: an alias to the name of the IPv4 address, if that has one (RFC 6147 §5.3.1). */
function pointed(query: Query, about: Query, outcome: Outcome, prefix: Nat64Prefix, ageNow: AgeSec): Outcome {
  if (outcome.at === 'failure') return outcome;
  const { rcode } = outcome.entry;
  const records = recordsOf(outcome.entry, questionEndOf(about), undefined)?.answer ?? [];
  if (rcode === RCODE.NOERROR && records.length > 0 && !outcome.entry.negative) {
    const found = aged(records, outcome, ageNow);
    const ttlSec = Math.min(...found.map(each => each.ttlSec));
    const alias = { owner: query.name, type: TYPE.CNAME, ttlSec, rdata: about.name };
    const answer = [alias, ...found];
    return remade(outcome, compose(query.question, { answer }, { compress: true }), answer, ageNow) ?? outcome;
  }
  const soa = soaRecord(reverseZone(prefix), mostSecOf(about, outcome, ageNow));
  const authority = isAnswerRcode(rcode) ? [soa] : [];
  const message = compose(query.question, { authority }, { rcode });
  return outcome.withEntry({ ...outcome.entry, ...message, storedAt: ageNow, ttlSec: 0, verdict: 'unchecked' });
}

/** The alias to the name of an IPv4 address of this network, which stages above this one answer. */
function ownPointer({ question, name: owner }: Query, target: Buffer, ageNow: AgeSec): Answer {
  const ttlSec = LOCAL_TTL_SEC;
  const message = compose(
    question,
    { answer: [{ owner, type: TYPE.CNAME, ttlSec, rdata: target }] },
    { compress: true },
  );
  return Answer.known({ message, ttlSec, negative: false, ageNow, unfollowed: nameOf(target) });
}

/** The most that the TTL of records may be that are made after this outcome. */
const mostSecOf = (query: Query, outcome: Outcome, ageNow: AgeSec): number =>
  outcome.at === 'failure'
    ? WITHOUT_SOA_SEC
    : mostTtlSec(outcome.entry, questionEndOf(query), outcome.elapsedSec(ageNow));

/** Records with the TTLs that they have now. */
function aged(records: readonly RecordData[], answer: Answer, ageNow: AgeSec): readonly RecordData[] {
  const elapsedSec = answer.elapsedSec(ageNow);
  return elapsedSec === 0 ? records : records.map(each => ({ ...each, ttlSec: Math.max(0, each.ttlSec - elapsedSec) }));
}

/** An answer with another message, as if it had come now; undefined: it would be too long. */
function remade(
  answer: Answer,
  message: ComposedMessage,
  records: readonly RecordData[],
  ageNow: AgeSec,
): Answer | undefined {
  if (message.octets.length > MAX_MESSAGE_BYTES) return undefined;
  const { entry } = answer;
  const leftSec = entry.ttlSec - answer.elapsedSec(ageNow);
  const ttlSec = Math.max(0, Math.min(leftSec, ...records.map(each => each.ttlSec)));
  const made = { storedAt: ageNow, ttlSec, negative: false, verdict: 'unchecked', verdictSec: Infinity } as const;
  return answer.withEntry({ ...entry, ...message, ...made });
}
