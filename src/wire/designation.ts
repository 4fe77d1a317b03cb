// Designated resolvers (RFC 9462): the answer about _dns.resolver.arpa says where a resolver offers DNS over TLS (§4,
// with the service parameters of RFC 9460 and RFC 9461).

import { addressText } from '../base/address.js';
import { nameToText, readName } from './name.js';
import { ScannedRecords } from './records.js';
import { CLASS_IN, TYPE } from './rrtype.js';
import { scanResponse } from './scan.js';

/** One designated resolver. */
export interface Designation {
  readonly priority: number;
  /** The name for SNI, without the final dot. */
  readonly name: string;
  readonly port: number;
  /** From the address hints; empty: must be looked up. */
  readonly addresses: readonly string[];
}

/** All designated resolvers with DNS over TLS, best first, and how long the answer may be kept. */
export interface Designations {
  readonly designations: readonly Designation[];
  readonly ttlSec: number;
}

const KEY = { MANDATORY: 0, ALPN: 1, PORT: 3, IPV4HINT: 4, IPV6HINT: 6 } as const;
/** Keys that are supported here; a record with other mandatory keys is ignored (RFC 9460 §8). */
const UNDERSTOOD: ReadonlySet<number> = new Set([...Object.values(KEY), 2]);
const DOT_PORT = 853;
/** The most designations that are used, and the most addresses of each. */
const MOST_TRIED = 4;

/** Reads the response; undefined if it is malformed. Records of other protocols, and in alias form, are left out. */
export function readDesignations(message: Buffer): Designations | undefined {
  const scan = scanResponse(message, TYPE.SVCB);
  if (scan === undefined || scan.truncated) return undefined;
  const designations: Designation[] = [];
  let ttlSec = Infinity;
  const record = new ScannedRecords({ octets: message, ...scan }, scan.questionEnd);
  while (record.next() && record.section === 'answer') {
    if (record.type !== TYPE.SVCB || record.class !== CLASS_IN) continue;
    const one = readOne(message, record.rdata, record.end);
    if (one === undefined) continue;
    designations.push(one);
    ttlSec = Math.min(ttlSec, record.ttlSec);
  }
  return {
    designations: designations.sort((a, b) => a.priority - b.priority).slice(0, MOST_TRIED),
    ttlSec: designations.length === 0 ? scan.ttlSec : ttlSec,
  };
}

function readOne(message: Buffer, start: number, end: number): Designation | undefined {
  if (start + 3 > end) return undefined;
  const priority = message.readUInt16BE(start);
  const target = readName(message, start + 2);
  // Priority 0 is an alias, without information on protocols. The root as target would be _dns.resolver.arpa itself.
  if (priority === 0 || target === undefined || target.end > end || target.name.length === 1) return undefined;
  let speaksDot = false;
  let port = DOT_PORT;
  const addresses: string[] = [];
  for (let at = target.end; at < end;) {
    if (at + 4 > end) return undefined;
    const key = message.readUInt16BE(at);
    const value = at + 4;
    const bytes = message.readUInt16BE(at + 2);
    at = value + bytes;
    if (at > end) return undefined;
    if (key === KEY.ALPN) speaksDot = hasDot(message.subarray(value, at));
    else if (key === KEY.PORT && bytes === 2) port = message.readUInt16BE(value);
    else if (key === KEY.IPV4HINT) for (let i = value; i + 4 <= at; i += 4) addresses.push(addressText(message, i, 4));
    else if (key === KEY.IPV6HINT)
      for (let i = value; i + 16 <= at; i += 16) addresses.push(addressText(message, i, 16));
    else if (key === KEY.MANDATORY)
      for (let i = value; i + 2 <= at; i += 2) if (!UNDERSTOOD.has(message.readUInt16BE(i))) return undefined;
  }
  if (!speaksDot || port === 0) return undefined;
  return {
    priority,
    name: nameToText(target.name).replace(/\.$/, ''),
    port,
    addresses: addresses.slice(0, MOST_TRIED),
  };
}

function hasDot(value: Buffer): boolean {
  for (let at = 0; at < value.length; at += (value[at] ?? 0) + 1) {
    if (value.toString('latin1', at + 1, at + 1 + (value[at] ?? 0)) === 'dot') return true;
  }
  return false;
}
