// Answers, and what the stages answer a query with.

import { putU32 } from '../base/octets.js';
import type { Source } from '../base/observer.js';
import { EDE, type Failure, failure, isAnswerRcode, RCODE, type Verdict } from '../base/outcome.js';
import { ageAfter, type AgeSec } from '../base/time.js';
import { type Entry, localEntry, makeEntry, type TtlLimits } from '../cache/entry.js';
import type { Name } from '../dnssec/name.js';
import type { UpstreamReply } from '../upstream/pool.js';
import { FLAG, HEADER_BYTES, writeHeader } from '../wire/header.js';
import { rcodeToText } from '../wire/rcode.js';
import type { StoredMessage } from '../wire/reply.js';
import { type Scan, scanResponse } from '../wire/scan.js';
import { select } from '../wire/selection.js';
import { rebuilt, recordsOf, type Rebuilt } from './aliases/rebuilt.js';
import { type Shape, shapeOf } from './aliases/shape.js';

/** Which part of this program an answer comes from. */
export type Origin = 'cache' | 'stale' | 'denials' | 'upstream' | 'route' | 'portal' | 'local' | 'list';

/** The label values that origins are counted under. A route and the portal are upstream servers, too. */
const SOURCES: Readonly<Record<Origin, Source>> = {
  cache: 'cache',
  stale: 'cache',
  denials: 'cache',
  upstream: 'upstream',
  route: 'upstream',
  portal: 'upstream',
  local: 'local',
  list: 'local',
};

/**
 * An answer. It wraps the entry instead of copying its fields: an answer from the cache is an entry already, and only
 * the entry is stored.
 */
export class Answer {
  readonly at = 'answer';

  constructor(
    readonly origin: Origin,
    /** Message, verdict, extended errors, dates, and the server that sent it. Its octets are borrowed. */
    readonly entry: Entry,
    /** The server that has just sent it; 0: no server was asked for this query. */
    readonly serverId: number,
    /** The target of its last alias, if the server has not followed that. */
    readonly unfollowed?: Name | undefined,
  ) {}

  /** An answer from the cache. */
  static cached(entry: Entry): Answer {
    return new Answer('cache', entry, 0);
  }

  /**
   * An answer that is given because no server answers, with other TTLs and an extended error that says why it is no better
   * (RFC 8767 §4, RFC 8914 §4.1, §4.4 and §4.20): it has expired, or was not validated again after a restart. AD is left
   * out once a signature has expired.
   * @param mostTtlSec the TTL, if it has expired; else the most that it may be
   */
  static stale(entry: Entry, mostTtlSec: number, ageNow: AgeSec): Answer {
    const leftSec = Math.ceil(ageAfter(entry.storedAt, entry.ttlSec) - ageNow);
    const ttlSec = leftSec > 0 ? Math.min(leftSec, mostTtlSec) : mostTtlSec;
    const octets = Buffer.from(entry.octets);
    for (let i = 0; i < entry.ttlOffsets.length; i++) putU32(octets, entry.ttlOffsets[i] ?? 0, ttlSec);
    return new Answer(
      'stale',
      {
        ...entry,
        octets,
        // The same for each of its replies, so that the form for clients without DO is made once.
        storedAt: ageAfter(entry.storedAt, entry.ttlSec),
        ttlSec: 0,
        verdict: isProven(entry, ageNow) || entry.verdict !== 'secure' ? entry.verdict : 'unchecked',
        extendedErrors: [...entry.extendedErrors, fallbackError(entry.rcode, leftSec <= 0)],
      },
      0,
    );
  }

  /** An answer that was put together from validated denials. It is made anew for each query, so it is not stored. */
  static denied(made: {
    readonly message: StoredMessage;
    readonly ttlSec: number;
    readonly negative: boolean;
    readonly verdictSec: number;
    readonly ageNow: AgeSec;
  }): Answer {
    const { message, ttlSec, negative, verdictSec, ageNow } = made;
    const entry: Entry = { ...localEntry(message, ageNow), ttlSec, negative, verdict: 'secure', verdictSec };
    return new Answer('denials', entry, 0);
  }

  /** An answer made by this program. */
  static local(message: StoredMessage, ageNow: AgeSec): Answer {
    return new Answer('local', localEntry(message, ageNow), 0);
  }

  /** An answer in place of one that a list keeps from the client. @param unfollowed the target of its alias */
  static listed(
    message: StoredMessage,
    ageNow: AgeSec,
    extendedErrors: Entry['extendedErrors'],
    unfollowed: Name | undefined,
  ): Answer {
    return new Answer('list', { ...localEntry(message, ageNow), extendedErrors }, 0, unfollowed);
  }

  /**
   * An answer made by this program of names that it knows. It may be given to all clients until its TTL is over, or what
   * it was made of changes.
   * @param ttlSec 0: to this client only
   */
  static known(made: {
    readonly message: StoredMessage;
    readonly ttlSec: number;
    readonly negative: boolean;
    readonly ageNow: AgeSec;
    readonly unfollowed?: Name | undefined;
  }): Answer {
    const { message, ttlSec, negative, ageNow, unfollowed } = made;
    return new Answer('local', { ...localEntry(message, ageNow), ttlSec, negative }, 0, unfollowed);
  }

  /**
   * The reply that a server has just sent, as far as it answers the question. Its TTLs are changed, and the answer borrows
   * its octets. An error of the server is no error of the client's query, so it becomes SERVFAIL.
   * @param type the QTYPE
   */
  static replied(
    origin: 'upstream' | 'route' | 'portal',
    reply: UpstreamReply,
    type: number,
    limits: TtlLimits,
    ageNow: AgeSec,
    verdict: Verdict = 'unchecked',
  ): Answer | Failure {
    const { server, protocol, scan } = reply;
    const from = { ageNow, verdict, upstream: server.label, protocol };
    if (!isAnswerRcode(scan.rcode)) {
      const { message, scan: refusal } = refused(reply);
      // Nobody has validated that there is no answer.
      return new Answer(origin, makeEntry(message, refusal, limits, { ...from, verdict: 'unchecked' }), server.id);
    }
    const { rcode, questionEnd, answers, authority, ttlOffsets } = scan;
    const shape = shapeOf({ octets: reply.message, rcode, questionEnd, answers, authority, ttlOffsets }, type);
    if (shape?.end.at === 'circle') return failure('alias_loop', server.label);
    const sound = shape && relevant(reply, shape, type);
    if (shape === undefined || sound === undefined) return failure('parse', server.label);
    const unfollowed = shape.end.at === 'alias' ? shape.end.target : undefined;
    return new Answer(origin, makeEntry(sound.message, sound.scan, limits, from), server.id, unfollowed);
  }

  /** The same answer with another entry. */
  withEntry(entry: Entry): Answer {
    return new Answer(this.origin, entry, this.serverId, this.unfollowed);
  }

  /** The label value that it is counted under. */
  get source(): Source {
    return SOURCES[this.origin];
  }

  /** Whether all of it was made by this program. */
  get isOwn(): boolean {
    return this.origin === 'local' || (this.origin === 'list' && this.entry.upstream === '');
  }

  /**
   * By how many seconds its TTLs have gone down: it was in the cache, or it had to wait, for another answer or for its
   * verdict. Those of a stale answer were set for the moment.
   */
  elapsedSec(ageNow: AgeSec): number {
    return this.origin === 'stale' ? 0 : Math.max(0, Math.floor(ageNow - this.entry.storedAt));
  }

  /**
   * Whether the reply may be sent to all clients that ask the same, until its TTL is over. Extended errors are counted
   * with every reply, and a ready reply is sent without being read.
   */
  get mayBeKeptReady(): boolean {
    return this.entry.ttlSec > 0 && this.entry.extendedErrors.length === 0;
  }
}

/** RFC 8914 has no code for it: it has not expired, and nobody has found it indeterminate. */
const NOT_VALIDATED = { infoCode: EDE.OTHER, text: 'known from before a restart, and not validated again yet' };

/** Why an answer that is given because no server answers is no better. */
export function fallbackError(rcode: number, hasExpired: boolean): Entry['extendedErrors'][number] {
  if (!hasExpired) return NOT_VALIDATED;
  return { infoCode: rcode === RCODE.NXDOMAIN ? EDE.STALE_NXDOMAIN_ANSWER : EDE.STALE_ANSWER, text: '' };
}

/** Whether an entry was validated, and its signatures have not expired since. */
export const isProven = (
  { verdict, verdictSec, storedAt }: Pick<Entry, 'verdict' | 'verdictSec' | 'storedAt'>,
  ageNow: AgeSec,
): boolean => verdict === 'secure' && ageNow - storedAt < verdictSec;

/** The reply without the records that do not belong to the answer, and with those that a DNAME makes. */
export function relevant(
  { message, scan }: Rebuilt,
  { kept, made, retimed }: Shape,
  type: number,
): Rebuilt | undefined {
  if (kept === undefined && made.length === 0) {
    const anew = retimed ? scanResponse(message, type) : scan;
    return anew && { message, scan: anew };
  }
  if (made.length > 0) {
    const records = recordsOf({ octets: message, ...scan }, scan.questionEnd, kept, made);
    const question = message.subarray(HEADER_BYTES, scan.questionEnd);
    return records && rebuilt(question, records, scan, type);
  }
  const whole = { ...scan, octets: message.subarray(0, scan.end) };
  const selected = select(whole, scan.questionEnd, record => kept?.[record] === true);
  return selected && scannedAgain(selected.octets, selected, scan, type);
}

/** The error of a server, as SERVFAIL without records. */
function refused({ message, scan, server }: UpstreamReply): Rebuilt {
  const isFormal = scan.rcode !== RCODE.SERVFAIL && scan.rcode !== RCODE.REFUSED && scan.rcode !== RCODE.NOTAUTH;
  const said = {
    infoCode: isFormal ? EDE.NETWORK_ERROR : EDE.NO_REACHABLE_AUTHORITY,
    text: `${server.label} answered ${rcodeToText(scan.rcode)}`,
  };
  return {
    message: message.subarray(0, scan.questionEnd),
    scan: {
      ...scan,
      ...{ rcode: RCODE.SERVFAIL, end: scan.questionEnd, answers: 0, authority: 0, additional: 0, ttlOffsets: [] },
      ...{ ttlSec: 0, negative: false, soaTtlOffset: undefined },
      extendedErrors: [...scan.extendedErrors, said],
    },
  };
}

/** Scans a message whose records were selected: its TTL, and whether it is a denial, follow from those that are left. */
function scannedAgain(
  octets: Buffer,
  { answers, authority, additional }: StoredMessage,
  { rcode, extendedErrors }: Scan,
  type: number,
): Rebuilt | undefined {
  writeHeader(octets, 0, FLAG.QR | (rcode & 15), { questions: 1, answers, authority, additional });
  const scan = scanResponse(octets, type);
  return scan && { message: octets, scan: { ...scan, rcode, extendedErrors } };
}

/** The outcome of a query. */
export type Outcome = Answer | Failure;

/** Whether servers were taken away while they were asked: it says nothing about the question. */
export const isHandedBack = (outcome: Outcome): outcome is Failure =>
  outcome.at === 'failure' && outcome.code === 'handed_back';

/** The octets that an outcome takes in a table, about, beside its objects. */
export const bytesOf = (outcome: Outcome): number =>
  outcome.at === 'failure'
    ? (outcome.detail?.length ?? 0)
    : outcome.entry.extendedErrors.reduce((sum, { text }) => sum + text.length, outcome.entry.octets.length);
