// Designated resolvers (RFC 9462): the answer about _dns.resolver.arpa says where a resolver offers DNS over TLS (§4,
// with the service parameters of RFC 9460 and RFC 9461).

import { nameToText, readName } from './name.js';
import { ScannedRecords } from './records.js';
import { CLASS_IN, TYPE } from './rrtype.js';
import { scanResponse } from './scan.js';
import { readServiceParameters } from './service-parameters.js';

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

const DOT_PORT = 853;
/** The most designations that are used. */
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
  const parameters = readServiceParameters(message, target.end, end);
  if (parameters?.alpn.includes('dot') !== true) return undefined;
  return {
    priority,
    name: nameToText(target.name).replace(/\.$/, ''),
    port: parameters.port ?? DOT_PORT,
    addresses: parameters.hints,
  };
}
