// Rebinding protection: leaves private addresses out of answers about public names (policy/rebinding).
//
// If no address is left, the answer is NODATA, as with Unbound (private-address) and dnsmasq (stop-dns-rebind). NXDOMAIN
// would deny the name's other types, which may be public, and all names below it (RFC 8020). The extended error is 15
// (Blocked): the operator of the resolver has decided it, not the client (which would be 17).

import type { Observer } from '../../base/observer.js';
import { EDE, failure } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { Nat64Prefix } from '../../policy/nat64.js';
import { privateRecords, type RebindingSettings } from '../../policy/rebinding.js';
import { compose } from '../../wire/compose.js';
import { isAtOrBelow, readName } from '../../wire/name.js';
import { ScannedRecords } from '../../wire/records.js';
import { soaRecord } from '../../wire/reply.js';
import { recordsOf } from '../aliases/rebuilt.js';
import type { Answer, Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Settle, Stage } from '../stage.js';
import { hasAnswer, leftWithout, questionEndOf, withRecords } from '../without-records.js';
import { isRouted, type RouteTarget } from './routed.js';

/** The parts that the stage uses. */
export interface ScreenedParts {
  readonly rebinding: () => RebindingSettings;
  /** The prefix of the translator of this network, if there is one. */
  readonly nat64: () => Nat64Prefix | undefined;
  readonly routes: () => readonly RouteTarget[];
  readonly observer: Pick<Observer, 'screened'>;
  readonly ageNow: () => AgeSec;
}

/** How long clients may keep a denial that is made here: somebody may allow the name soon. */
const MOST_TTL_SEC = 60;
const WORDS = 'rebinding protection: a private address for a public name (rebinding.allow)';

/** Makes the stage. */
export function screened(parts: ScreenedParts): Stage {
  const { rebinding } = parts;
  return next => (query, settle) => {
    next(query, !rebinding().protect || isExempt(parts, query) ? settle : screening(parts, query, settle));
  };
}

/** Looks at the addresses of an answer before it is given. */
const screening =
  (parts: ScreenedParts, query: Query, settle: Settle): Settle =>
  outcome => {
    const isOurs = outcome.at === 'failure' || outcome.origin === 'local';
    const found = isOurs ? undefined : privateRecords(outcome.entry, questionEndOf(query), parts.nat64());
    settle(isOurs || found === undefined ? outcome : changed(parts, query, outcome, found));
  };

/**
 * Whether a name may have private addresses: it is allowed, or a route of the local network answers for it. The name that
 * the client asks for decides, not where its aliases lead: a browser goes by that name, and a name whose owner may choose
 * private addresses would otherwise lend them to every alias.
 */
function isExempt({ rebinding, routes }: ScreenedParts, query: Query): boolean {
  return rebinding().allow.some(zone => isAtOrBelow(query.name, zone)) || isRouted(routes(), query);
}

function changed(
  { observer, ageNow }: ScreenedParts,
  query: Query,
  answer: Answer,
  removed: ReadonlySet<number>,
): Outcome {
  observer.screened();
  const questionEnd = questionEndOf(query);
  const left = leftWithout(answer.entry, questionEnd, removed);
  const outcome = hasAnswer(answer.entry, questionEnd, query.type, left)
    ? withRecords(answer, query, left)
    : withoutData(query, answer, removed, left, ageNow());
  if (outcome.at === 'failure') return outcome;
  const { entry } = outcome;
  const said = { infoCode: EDE.BLOCKED, text: WORDS };
  return outcome.withEntry({ ...entry, extendedErrors: [...entry.extendedErrors, said] });
}

/** NODATA: the aliases that are left, and a SOA, without which some stub resolvers do not accept it. */
function withoutData(
  { question }: Query,
  answer: Answer,
  removed: ReadonlySet<number>,
  left: readonly boolean[],
  ageNow: AgeSec,
): Outcome {
  const { entry } = answer;
  const questionEnd = questionEndOf({ question });
  let owner: Buffer | undefined;
  let ttlSec = answer.elapsedSec(ageNow) + MOST_TTL_SEC;
  const record = new ScannedRecords(entry, questionEnd);
  while (record.next()) {
    if (!removed.has(record.index)) continue;
    owner ??= readName(entry.octets, record.owner)?.name;
    ttlSec = Math.min(ttlSec, record.ttlSec);
  }
  const records = recordsOf(entry, questionEnd, left);
  if (owner === undefined || records === undefined) return failure('parse', entry.upstream);
  const { answer: aliases } = records;
  const message = compose(question, { answer: aliases, authority: [soaRecord(owner, ttlSec)] }, { compress: true });
  return answer.withEntry({ ...entry, ...message, negative: true, verdict: 'unchecked' });
}
