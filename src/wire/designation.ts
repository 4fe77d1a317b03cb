// Designated resolvers (RFC 9462): the answer about _dns.resolver.arpa says where a resolver offers DNS over TLS and DNS
// over HTTPS (§4, with the service parameters of RFC 9460 and RFC 9461).

import { DOT_PORT, HTTPS_PORT } from '../base/port-numbers.js';
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
  /** The port for DNS over TLS; undefined: it offers none. */
  readonly port: number | undefined;
  /** Where it offers DNS over HTTPS with HTTP/2; undefined: nowhere. */
  readonly https: { readonly port: number; readonly path: string } | undefined;
  /** From the address hints; empty: must be looked up. */
  readonly addresses: readonly string[];
}

/** All designated resolvers, those with DNS over TLS and the best first, and how long the answer may be kept. */
export interface Designations {
  readonly designations: readonly Designation[];
  readonly ttlSec: number;
}

/** The most designations of a protocol that are used. */
const MOST_TRIED = 4;
const MOST_PATH_BYTES = 255;

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
  designations.sort((a, b) => a.priority - b.priority);
  return {
    designations: [true, false].flatMap(dot =>
      designations.filter(({ port }) => (port !== undefined) === dot).slice(0, MOST_TRIED),
    ),
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
  if (parameters === undefined) return undefined;
  const { alpn, port, hints, dohpath } = parameters;
  const path = dohpath === undefined ? undefined : postPath(dohpath);
  const dotPort = alpn.includes('dot') ? (port ?? DOT_PORT) : undefined;
  const https = alpn.includes('h2') && path !== undefined ? { port: port ?? HTTPS_PORT, path } : undefined;
  if (dotPort === undefined && https === undefined) return undefined;
  return { priority, name: nameToText(target.name).replace(/\.$/, ''), port: dotPort, https, addresses: hints };
}

/**
 * The path for POST requests from a URI template (RFC 9461 §5): its variables are not used (RFC 8484 §4.1), so its
 * expressions are empty (RFC 6570 §3.2.1). Undefined: it is not a path with the variable `dns`.
 */
function postPath(template: string): string | undefined {
  if (template.length > MOST_PATH_BYTES || !/\{[^{}]*\bdns\b[^{}]*\}/.test(template)) return undefined;
  const path = template.replace(/\{[^{}]*\}/g, '');
  return /^\/(?!\/)[!-~]*$/.test(path) && !/[{}"<>\\^`|#]/.test(path) ? path : undefined;
}
