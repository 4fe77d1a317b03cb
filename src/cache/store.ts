// The answer cache: entries by question key, as records of a ring.
//
//   payload  stored f64 · TTL u32 · message octets u16 · TTL offsets u16 · rcode, answers, authority, additional u16 ·
//            negative u8 · verdict u8 · upstream u16 · protocol u8 · extended errors u8 · (u16) · offsets u16 each ·
//            message · extended errors (code u16, octets u16, text)

import { putU16, putU32, u16At, u32At } from '../base/octets.js';
import type { Verdict } from '../base/outcome.js';
import type { Observer, UpstreamProtocol } from '../base/observer.js';
import type { ExtendedError } from '../wire/edns.js';
import type { Entry } from './entry.js';
import { Ring } from './ring.js';

/** Answers by question key. */
export interface Store {
  /** A fresh answer, or undefined. Counts the hit or miss. What it returns borrows the store's memory until the next `put`. */
  get(key: string, nowSec: number): Entry | undefined;
  /** Keeps a copy of an entry, if it may be kept at all. */
  put(key: string, entry: Entry): void;
  /**
   * Forgets the answers about names that are meant; returns how many.
   * @param isMeant of a name in wire form, lower case, an octet per character
   */
  forget(isMeant: (name: string) => boolean): number;
  clear(): void;
  readonly entries: number;
  readonly bytes: number;
}

const TTL_AT = 8;
const MESSAGE_BYTES_AT = 12;
const OFFSETS_AT = 14;
const RCODE_AT = 16;
const ANSWERS_AT = 18;
const AUTHORITY_AT = 20;
const ADDITIONAL_AT = 22;
const NEGATIVE_AT = 24;
const VERDICT_AT = 25;
const UPSTREAM_AT = 26;
const PROTOCOL_AT = 28;
const ERRORS_AT = 29;
const FIXED_BYTES = 32;
const KEY_TAIL = 5;

const VERDICTS: readonly Verdict[] = ['unchecked', 'secure', 'insecure', 'bogus', 'indeterminate'];
const PROTOCOLS: readonly UpstreamProtocol[] = ['dot', 'udp', 'tcp'];

/** Makes a Store of at most `maxBytes`. */
export function store(maxBytes: number, observer: Observer): Store {
  const ring = new Ring(maxBytes, () => observer.cache('eviction'));
  const { octets, doubles } = ring;
  // Names of servers, as many as are configured.
  const upstreams: string[] = [];

  function upstreamNumber(name: string): number {
    const at = upstreams.indexOf(name);
    return at === -1 ? upstreams.push(name) - 1 : at;
  }

  function write(at: number, entry: Entry, errors: Buffer | undefined): void {
    doubles[at >> 3] = entry.storedSec;
    putU32(octets, at + TTL_AT, entry.ttlSec);
    putU16(octets, at + MESSAGE_BYTES_AT, entry.octets.length);
    putU16(octets, at + OFFSETS_AT, entry.ttlOffsets.length);
    putU16(octets, at + RCODE_AT, entry.rcode);
    putU16(octets, at + ANSWERS_AT, entry.answers);
    putU16(octets, at + AUTHORITY_AT, entry.authority);
    putU16(octets, at + ADDITIONAL_AT, entry.additional);
    octets[at + NEGATIVE_AT] = entry.negative ? 1 : 0;
    octets[at + VERDICT_AT] = VERDICTS.indexOf(entry.verdict);
    putU16(octets, at + UPSTREAM_AT, upstreamNumber(entry.upstream));
    octets[at + PROTOCOL_AT] = PROTOCOLS.indexOf(entry.protocol);
    octets[at + ERRORS_AT] = entry.extendedErrors.length;
    let to = at + FIXED_BYTES;
    for (let i = 0; i < entry.ttlOffsets.length; i++, to += 2) putU16(octets, to, entry.ttlOffsets[i] ?? 0);
    to += entry.octets.copy(octets, to);
    errors?.copy(octets, to);
  }

  function read(at: number): Entry {
    const offsets = u16At(octets, at + OFFSETS_AT);
    const ttlOffsets: number[] = [];
    let from = at + FIXED_BYTES;
    for (let i = 0; i < offsets; i++, from += 2) ttlOffsets.push(u16At(octets, from));
    const end = from + u16At(octets, at + MESSAGE_BYTES_AT);
    const errors = octets[at + ERRORS_AT] ?? 0;
    return {
      octets: octets.subarray(from, end),
      rcode: u16At(octets, at + RCODE_AT),
      answers: u16At(octets, at + ANSWERS_AT),
      authority: u16At(octets, at + AUTHORITY_AT),
      additional: u16At(octets, at + ADDITIONAL_AT),
      ttlOffsets,
      storedSec: doubles[at >> 3] ?? 0,
      ttlSec: u32At(octets, at + TTL_AT),
      negative: octets[at + NEGATIVE_AT] === 1,
      verdict: VERDICTS[octets[at + VERDICT_AT] ?? 0] ?? 'unchecked',
      extendedErrors: errors === 0 ? NO_ERRORS : unpackErrors(octets, end, errors),
      upstream: upstreams[u16At(octets, at + UPSTREAM_AT)] ?? '',
      protocol: PROTOCOLS[octets[at + PROTOCOL_AT] ?? 0] ?? 'dot',
    };
  }

  return {
    get(key, nowSec) {
      const at = ring.find(key);
      // What has expired is left to be replaced or evicted: a refresh most likely comes right now.
      if (at === -1 || nowSec - (doubles[at >> 3] ?? 0) >= u32At(octets, at + TTL_AT)) {
        observer.cache('miss');
        return undefined;
      }
      ring.touch(at);
      const entry = read(at);
      observer.cache(entry.negative ? 'hit_negative' : 'hit_positive');
      return entry;
    },
    put(key, entry) {
      if (entry.ttlSec === 0) return;
      const errors = entry.extendedErrors.length === 0 ? undefined : packErrors(entry.extendedErrors);
      const bytes = FIXED_BYTES + 2 * entry.ttlOffsets.length + entry.octets.length + (errors?.length ?? 0);
      const at = ring.put(key, bytes);
      if (at !== -1) write(at, entry, errors);
    },
    // Behind the name: type, class and CD (wire/query).
    forget: isMeant => ring.deleteWhere(key => isMeant(key.slice(0, -KEY_TAIL))),
    clear: () => ring.clear(),
    get entries() {
      return ring.entries;
    },
    get bytes() {
      return ring.bytes;
    },
  };
}

const NO_ERRORS: readonly ExtendedError[] = [];

function packErrors(errors: readonly ExtendedError[]): Buffer {
  return Buffer.concat(
    errors.flatMap(({ infoCode, text }) => {
      const words = Buffer.from(text);
      const head = Buffer.alloc(4);
      putU16(head, 0, infoCode);
      putU16(head, 2, words.length);
      return [head, words];
    }),
  );
}

function unpackErrors(octets: Buffer, start: number, count: number): ExtendedError[] {
  let at = start;
  return Array.from({ length: count }, () => {
    const textAt = at + 4;
    const end = textAt + u16At(octets, at + 2);
    const error = { infoCode: u16At(octets, at), text: octets.toString('utf8', textAt, end) };
    at = end;
    return error;
  });
}
