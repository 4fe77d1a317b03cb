// Denials of zones as records of a snapshot: a message for each RRset, with its signatures. With them, names that a zone has
// denied need no server after a restart. What is read is validated again when it is first used, like all that is stored
// (dnssec/synthesis).

import type { AgeSec } from '../../base/time.js';
import type { SnapshotRecord } from '../../cache/snapshot.js';
import type { Denials, StoredSet } from '../../dnssec/denials.js';
import { octetsOf } from '../../dnssec/name.js';
import { readSets } from '../../dnssec/rrset.js';
import { recordsOf } from '../../dnssec/synthesis.js';
import { compose, questionOf } from '../../wire/compose.js';
import { TYPE } from '../../wire/rrtype.js';
import { scanResponse } from '../../wire/scan.js';

/** Which record has no place of its own when it is read: a wildcard's NSEC would be taken for a denial. */
const isMisread = ({ type, place }: StoredSet): boolean =>
  (type === TYPE.NSEC || type === TYPE.NSEC3) && place.next === undefined;

/** All denials that hold for a second at least, those first that were used the longest time ago. */
export function* denialRecords(denials: Denials, ageNow: AgeSec): Iterable<SnapshotRecord> {
  const sets = denials.sets.filter(each => each.place.until >= ageNow + 1 && !isMisread(each));
  // SOA records come last: what is taken after one lives no longer than that.
  for (const isSoa of [false, true])
    for (const each of sets) if ((each.type === TYPE.SOA) === isSoa) yield recordOf(each, ageNow);
}

function recordOf(stored: StoredSet, ageNow: AgeSec): SnapshotRecord {
  const set = stored.at(ageNow, 'answer');
  const question = questionOf(octetsOf(set.owner), set.type);
  const { octets } = compose(question, { answer: recordsOf(set, set.ttlSec) }, { compress: true });
  return { kind: 'denial', key: stored.zone.name, label: '', storedAt: ageNow, payload: octets };
}

/** Takes such a record. */
export function restoreDenial(denials: Denials, { key, storedAt, payload }: SnapshotRecord, ageNow: AgeSec): void {
  const scan = scanResponse(payload, TYPE.NSEC);
  const sets = scan && readSets({ octets: payload, ...scan }, scan.questionEnd);
  const [set, ...others] = sets?.answer ?? [];
  if (set === undefined || others.length > 0) return;
  const ttlSec = Math.floor(set.ttlSec - (ageNow - storedAt));
  if (ttlSec >= 1) denials.restore(key, set, ttlSec, ageNow);
}
