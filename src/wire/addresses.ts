// The addresses in a response to an A or AAAA query.

import { u16At } from '../base/octets.js';
import { addressText } from '../base/address.js';
import { countsOf } from './header.js';
import { skipName } from './name.js';
import { scanResponse, ttlAt } from './scan.js';
import { CLASS_IN, TYPE } from './rrtype.js';

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
  let at = scan.questionEnd;
  for (let i = 0; i < countsOf(message).answers; i++) {
    const fixed = skipName(message, at);
    const rdata = fixed + 10;
    const length = u16At(message, fixed + 8);
    if (u16At(message, fixed) === type && u16At(message, fixed + 2) === CLASS_IN && length === size) {
      addresses.push(addressText(message, rdata, size));
      ttlSec = Math.min(ttlSec, ttlAt(message, fixed + 4));
    }
    at = rdata + length;
  }
  return { addresses, ttlSec: addresses.length === 0 ? 0 : ttlSec };
}
