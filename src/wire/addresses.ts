// The addresses in a response to an A or AAAA query.

import { addressText } from '../base/address.js';
import { ScannedRecords } from './records.js';
import { CLASS_IN, TYPE } from './rrtype.js';
import { scanResponse } from './scan.js';

/** What was found, in the order of the message. */
export interface Addresses {
  readonly addresses: readonly string[];
  /** The shortest TTL among them; 0 without addresses. */
  readonly ttlSec: number;
}

/** Reads all A or AAAA records of the answer section; undefined if the message is malformed or says failure. */
export function readAddresses(message: Buffer, type: typeof TYPE.A | typeof TYPE.AAAA): Addresses | undefined {
  const scan = scanResponse(message, type);
  if (scan === undefined || scan.truncated || (scan.rcode !== 0 && scan.rcode !== 3)) return undefined;
  const size = type === TYPE.A ? 4 : 16;
  const addresses: string[] = [];
  let ttlSec = Infinity;
  const record = new ScannedRecords({ octets: message, ...scan }, scan.questionEnd);
  while (record.next() && record.section === 'answer') {
    if (record.type !== type || record.class !== CLASS_IN || record.rdataBytes !== size) continue;
    addresses.push(addressText(message, record.rdata, size));
    ttlSec = Math.min(ttlSec, record.ttlSec);
  }
  return { addresses, ttlSec: addresses.length === 0 ? 0 : ttlSec };
}
