// Answers special-use names here (RFC 6761, RFC 6303): they mean nothing in the public DNS, and asking for them tells others what
// is in this network. Where this daemon offers DNS over TLS and over HTTPS is answered here, too (RFC 9462).

import type { AgeSec, WallSec } from '../../base/time.js';
import { addressOfReverse, isInPrefix, type Nat64Prefix } from '../../policy/nat64.js';
import type { LocalTable } from '../../policy/local/table.js';
import {
  DESIGNATION_TTL_SEC,
  designatedNames,
  designationRecords,
  isAboutResolver,
  type OwnDesignation,
} from '../../policy/own-designation.js';
import {
  isOfParent,
  type SpecialAnswer,
  specialAnswer,
  type SpecialZone,
  specialZoneOf,
} from '../../policy/special-names.js';
import { compose, questionName } from '../../wire/compose.js';
import { isTextAtOrBelow, nameFromText } from '../../wire/name.js';
import { nameInKey } from '../../wire/query.js';
import { DENIAL_TTL_SEC, denialMessage, soaRecord, type StoredMessage } from '../../wire/reply.js';
import { TYPE } from '../../wire/rrtype.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Stage } from '../stage.js';
import { isRouted, type RouteTarget } from './routed.js';

/** The parts that decide which special-use names are answered here. */
export interface SpecialParts {
  /** Names that are forwarded although they are special, in wire form, lower case. */
  readonly forwarded: () => readonly Buffer[];
  readonly routes: () => readonly RouteTarget[];
  /** The prefix of the translator of this network: the stage `dns64` answers for the names of its addresses. */
  readonly nat64: () => Nat64Prefix | undefined;
}

/** The parts that the stage uses. */
export interface SpecialNamesParts extends SpecialParts {
  readonly localNames: () => LocalTable;
  /** What clients are told about us; undefined: nothing. */
  readonly designation: () => OwnDesignation | undefined;
  readonly wallNow: () => WallSec;
  readonly ageNow: () => AgeSec;
}

/** The zone of special-use names that a query is about, if it is answered here. What was configured for its name counts more. */
export function specialZoneFor({ forwarded, routes, nat64 }: SpecialParts, query: Query): SpecialZone | undefined {
  const name = nameInKey(query.key);
  const zone = specialZoneOf(name);
  if (zone === undefined || zone.kind === 'resolver') return zone;
  if (isOfParent(zone, name, query.type)) return undefined;
  if (isRouted(routes(), query)) return undefined;
  if (isTranslated(query, nat64())) return undefined;
  return forwarded().some(each => isTextAtOrBelow(name, each)) ? undefined : zone;
}

/** Whether a question is for the name of an address that is made (RFC 6147 §5.3.1). Its prefix may be a private one. */
function isTranslated(query: Query, prefix: Nat64Prefix | undefined): boolean {
  // Who validates itself gets nothing that is made (stages/dns64).
  if (query.checkingDisabled && query.dnssecOk) return false;
  const address = prefix === undefined || query.type !== TYPE.PTR ? undefined : addressOfReverse(query.name);
  return prefix !== undefined && address !== undefined && isInPrefix(prefix, address, 0);
}

/** Makes the stage. */
export function specialNames(parts: SpecialNamesParts): Stage {
  const { localNames, wallNow, ageNow } = parts;
  return next => (query, settle) => {
    const designation = designationFor(parts, query);
    if (designation !== undefined) return settle(designated(query, designation, ageNow()));
    const zone = specialZoneFor(parts, query);
    if (zone === undefined) return next(query, settle);
    const name = nameInKey(query.key);
    // Names of hosts files and leases may be below test, local or home.arpa, and their addresses are in reverse zones. But
    // what means this machine to programs must not mean another one because a file says so.
    const isFixed = zone.kind === 'localhost' || zone.kind === 'resolver';
    const table = localNames();
    if (!isFixed && !table.isEmpty && table.has(name, wallNow())) return next(query, settle);
    settle(answerOf(query, zone, specialAnswer(zone, name, query.type), ageNow()));
  };
}

/** What this daemon tells about itself, if that is what a query is about. */
function designationFor(
  { designation }: Pick<SpecialNamesParts, 'designation'>,
  query: Query,
): OwnDesignation | undefined {
  // The key begins with the name.
  if (!isAboutResolver(query.key, query.type)) return undefined;
  const name = nameInKey(query.key);
  const own = designation();
  const isMeant = (text: string): boolean => nameFromText(text)?.toString('latin1') === name;
  return own !== undefined && designatedNames(own).some(isMeant) ? own : undefined;
}

function designated({ question }: Query, designation: OwnDesignation, ageNow: AgeSec): Answer {
  const message = compose(question, designationRecords(designation, questionName(question)), { compress: true });
  return Answer.known({ message, ttlSec: DESIGNATION_TTL_SEC, negative: false, ageNow });
}

function answerOf(query: Query, zone: SpecialZone, answer: SpecialAnswer, ageNow: AgeSec): Answer {
  const negative = answer.at === 'denial';
  return Answer.known({ message: messageOf(query, zone, answer), ttlSec: DENIAL_TTL_SEC, negative, ageNow });
}

function messageOf({ question, type }: Query, { name }: SpecialZone, answer: SpecialAnswer): StoredMessage {
  const zone = Buffer.from(name, 'latin1');
  if (answer.at === 'denial') return denialMessage(question, zone, answer.rcode);
  const owner = questionName(question);
  const records =
    answer.at === 'soa'
      ? [{ ...soaRecord(zone, DENIAL_TTL_SEC), owner }]
      : answer.rdata.map(rdata => ({ owner, type, ttlSec: DENIAL_TTL_SEC, rdata }));
  return compose(question, { answer: records }, { compress: true });
}
