// What clients without DO get of large answers. Leaving the DNSSEC records out of one takes longer than all else about a
// reply, and anybody can ask for it again and again. So it is done once, and not at all where the result would not fit.

import { type Bounded, bounded } from '../base/bounded.js';
import type { AgeSec } from '../base/time.js';
import type { Entry } from '../cache/entry.js';
import { HEADER_BYTES } from '../wire/header.js';
import type { ClientQuery } from '../wire/query.js';
import type { StoredMessage } from '../wire/reply.js';
import { exceeds, plainRecords, withoutDnssec } from '../wire/selection.js';

/** Smaller answers take a few microseconds. */
const LARGE_BYTES = 4096;
/** The memory for remembered forms, in octets. */
const REMEMBERED_BYTES = 1 << 20;

interface Form {
  readonly message: StoredMessage;
  /** Of the entry that it was made of. */
  readonly storedAt: AgeSec;
  readonly bytes: number;
}

/** The forms without DNSSEC records. */
export class PlainForms {
  private readonly remembered: Bounded<Form> = bounded<Form>(REMEMBERED_BYTES, () => undefined);

  /** The form of an answer to this query; the entry itself if no form fits into `limitBytes`. */
  of(query: ClientQuery, entry: Entry, limitBytes: number): StoredMessage {
    const { octets, storedAt } = entry;
    const { key, type } = query;
    const questionEnd = HEADER_BYTES + query.question.length;
    if (octets.length < LARGE_BYTES) return withoutDnssec<StoredMessage>(entry, questionEnd, type);
    const known = this.remembered.get(key);
    if (known?.storedAt === storedAt && known.bytes === octets.length) return known.message;
    if (exceeds(entry, questionEnd, plainRecords(type), limitBytes)) return entry;
    const made = withoutDnssec<StoredMessage>(entry, questionEnd, type);
    // The octets of an entry are borrowed.
    const message = { ...made, octets: Buffer.from(made.octets) };
    this.remembered.set(key, { message, storedAt, bytes: octets.length }, message.octets.length);
    return message;
  }
}
