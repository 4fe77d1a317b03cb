// An empty reply with TC set, written from the octets of a query: whoever sent it asks again over TCP, which proves the address. It is
// not longer than the query, so that nobody can have more octets sent to a forged address than he has sent.

import { putU16, u16At } from '../base/octets.js';
import { UDP_PAYLOAD_BYTES } from './edns.js';
import { FLAG, HEADER_BYTES } from './header.js';
import { TYPE } from './rrtype.js';

/** Octets of an OPT without options (RFC 6891 §6.1.2). */
const OPT_BYTES = 11;

/**
 * Writes the reply, and returns how many octets it has.
 * @param query the query: a header, one question, perhaps an OPT behind it
 * @param questionBytes the octets of its QNAME, QTYPE and QCLASS
 */
export function writeTruncated(
  to: { readonly octets: Buffer; readonly at: number },
  query: { readonly octets: Buffer; readonly at: number; readonly bytes: number },
  questionBytes: number,
): number {
  const { octets, at } = to;
  const optAt = HEADER_BYTES + questionBytes;
  const from = query.at + optAt;
  const hasOpt =
    optAt + OPT_BYTES <= query.bytes && query.octets[from] === 0 && u16At(query.octets, from + 1) === TYPE.OPT;
  query.octets.copy(octets, at, query.at, from + (hasOpt ? OPT_BYTES : 0));
  const flags = u16At(query.octets, query.at + 2);
  putU16(octets, at + 2, FLAG.QR | FLAG.TC | FLAG.RA | (flags & (FLAG.RD | FLAG.CD)));
  putU16(octets, at + 4, 1);
  putU16(octets, at + 6, 0);
  putU16(octets, at + 8, 0);
  putU16(octets, at + 10, hasOpt ? 1 : 0);
  if (!hasOpt) return optAt;
  putU16(octets, at + optAt + 3, UDP_PAYLOAD_BYTES);
  // No extended RCODE, version 0, no options; of the flags only DO (RFC 3225 §3).
  putU16(octets, at + optAt + 5, 0);
  putU16(octets, at + optAt + 7, u16At(query.octets, from + 7) & 0x8000);
  putU16(octets, at + optAt + 9, 0);
  return optAt + OPT_BYTES;
}

/** The reply, in memory of its own. */
export function truncatedReply(query: Buffer, questionBytes: number): Buffer {
  const octets = Buffer.allocUnsafe(query.length);
  return octets.subarray(
    0,
    writeTruncated({ octets, at: 0 }, { octets: query, at: 0, bytes: query.length }, questionBytes),
  );
}
