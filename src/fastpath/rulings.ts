// What becomes of each datagram of a batch by its sender's address, before anything else is done for it.

import { type Messages, NAME_BYTES, QUERY_ROOM_BYTES } from '../os/datagrams.js';
import { LINUX } from '../os/libc.js';
import type { Admission } from '../policy/admission.js';
import type { Ruling } from '../policy/rate-limit.js';
import { BriefQuery } from '../wire/brief-query.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';

/** Longest reply of a batch, rounded up to whole words. */
export const REPLY_ROOM_BYTES = (UDP_PAYLOAD_BYTES + 3) & ~3;

/** Whether the sender of the datagram in slot i has an IPv6 address. */
export const isSix = (queries: Messages, i: number): boolean => queries.names[i * NAME_BYTES] === LINUX.AF_INET6;

/** Where the address of the sender in slot i is, in the names of the batch. */
export const addressAt = (i: number, six: boolean): number => i * NAME_BYTES + (six ? 8 : 4);

/** The rulings on a batch. */
export class Rulings {
  /** The query that was read last. */
  private readonly brief = new BriefQuery();

  /** @param replies slots of REPLY_ROOM_BYTES */
  constructor(
    private readonly admission: Admission,
    private readonly queries: Messages,
    private readonly replies: Messages,
  ) {}

  /** What becomes of the query in slot i. One that is served otherwise only with a cookie is read for it. */
  rule(i: number, nowSec: number): Ruling {
    const { admission, queries, brief } = this;
    const six = isSix(queries, i);
    const address = addressAt(i, six);
    const bytes = six ? 16 : 4;
    const ruling = admission.rule(queries.names, address, bytes, false, nowSec);
    if (ruling === 'serve' || !admission.isAllowed) return ruling;
    if (!brief.read(queries.data, i * QUERY_ROOM_BYTES, queries.bytes(i)))
      return ruling === 'unproven' ? 'serve' : 'drop';
    const sender = queries.names.subarray(address, address + bytes);
    return admission.proves(queries.data, brief.cookieAt, brief.cookieBytes, sender)
      ? admission.rule(queries.names, address, bytes, true, nowSec)
      : ruling;
  }

  /** Puts a reply with TC to the query in slot i, which was ruled on last, into slot `to`. */
  truncate(i: number, to: number): void {
    const { admission, queries, replies, brief } = this;
    const { cookieAt, cookieBytes, hasCookieRoom } = brief;
    const six = isSix(queries, i);
    const address = addressAt(i, six);
    const cookie = hasCookieRoom
      ? admission.cookieFor(
          queries.data.subarray(cookieAt, cookieAt + cookieBytes),
          queries.names.subarray(address, address + (six ? 16 : 4)),
        )
      : undefined;
    replies.replyTo(to, queries, i, brief.writeTruncated(replies.data, to * REPLY_ROOM_BYTES, cookie));
  }
}
