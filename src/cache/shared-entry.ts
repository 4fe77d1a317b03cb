// Entries as octets for a store that replicas share. Whoever can write the store must not be able to forge an answer, and
// whoever can read it must not learn names.
//
//   place    HMAC-SHA-512 (key of the file; what the answer depends on, class of the client, question)
//            its first half is the key in the store, its second half the key that the entry is encrypted with
//   sealed   VERSION · nonce (12) · AES-256-GCM of the entry · tag (16)
//   entry    stored at f64 · octets of the entry u32 · octets of the label u16 · (u16) · entry · label · padding
//
// Each question has an encryption key of its own, so an entry cannot be moved to another one, and the random nonces of all
// replicas together stay far below what GCM allows for one key (NIST SP 800-38D §8.3). The associated data say the same
// once more. Times are those of the wall clock. They are inside, so that an entry that is put back later has still expired.

import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';

import { putU16, putU32, u16At, u32At } from '../base/octets.js';
import type { Random } from '../base/ports.js';
import { ageAfter } from '../base/time.js';
import { EntryCodec, type EntryMemory, ServerLabels } from './codec.js';
import type { Entry } from './entry.js';
import type { Moment } from './snapshot.js';

/** The octets of the key in the file. */
export const SHARED_KEY_BYTES = 32;
/** The longest sealed entry. A message of 65,535 octets that consists of small records has less. */
export const MOST_SEALED_BYTES = 1 << 17;
/** How far the clock of the replica that stored an entry may be ahead of ours, in seconds. */
const MOST_AHEAD_SEC = 1;

/** The first octet. It is also in the associated data and in the place: no version reads what another one has written. */
const VERSION = 1;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NONCE_AT = 1;
const BODY_AT = NONCE_AT + NONCE_BYTES;
const HEAD_BYTES = 16;
/** The length of an answer can tell its name. RFC 8467 §4.1 recommends this block for responses. */
const PADDING_BYTES = 468;
/** HMAC-SHA-512 makes twice as many. */
const HALF_BYTES = 32;

/** Where an answer is in the store, and what it is encrypted with. */
export interface SharedPlace {
  /** The key in the store, which tells nothing. */
  readonly storeKey: Buffer;
  readonly secret: Buffer;
  readonly associated: Buffer;
}

/** What the answer to a question depends on, beside the question. */
export interface SharedFacts {
  /** Settings, as text. */
  readonly settings: string;
  /** The group of clients. */
  readonly clientClass: number;
}

/**
 * Reads the file with the key: 32 octets in base64, as "openssl rand -base64 32" prints them. Undefined: it is none.
 */
export function sharedKeyFrom(file: Buffer): Buffer | undefined {
  const text = file.toString('latin1').trim();
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) return undefined;
  const key = Buffer.from(text, 'base64');
  // Another last character may stand for the same octets. One key has one text.
  return key.length === SHARED_KEY_BYTES && key.toString('base64') === text ? key : undefined;
}

/**
 * For how long the store keeps an entry, in seconds: the next power of two, because the exact TTL could tell its name.
 * What has expired is not used, however long it is kept.
 */
export const storeSec = (ttlSec: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, ttlSec)));

/** Seals entries, and opens them. */
export class SharedEntries {
  /** The numbers of labels mean nothing elsewhere: a sealed entry has the text. */
  private readonly codec = new EntryCodec(new ServerLabels());

  /** @param key SHARED_KEY_BYTES octets */
  constructor(
    private readonly key: Buffer,
    private readonly random: Random,
  ) {}

  /** The place of the answer to a question. @param question a key of the answer cache (wire/query) */
  place(question: string, { settings, clientClass }: SharedFacts): SharedPlace {
    const facts = Buffer.from(settings);
    const head = Buffer.alloc(7);
    head[0] = VERSION;
    putU16(head, 1, clientClass);
    putU32(head, 3, facts.length);
    const associated = Buffer.concat([head, facts, Buffer.from(question, 'latin1')]);
    const derived = createHmac('sha512', this.key).update(associated).digest();
    return { storeKey: derived.subarray(0, HALF_BYTES), secret: derived.subarray(HALF_BYTES), associated };
  }

  /** Seals a copy of an entry. Undefined: it is too long. */
  seal({ secret, associated }: SharedPlace, entry: Entry, now: Moment): Buffer | undefined {
    const bytes = this.codec.bytesOf(entry);
    const label = Buffer.from(entry.upstream);
    const length = Math.ceil((HEAD_BYTES + bytes + label.length) / PADDING_BYTES) * PADDING_BYTES;
    if (label.length > 0xffff || BODY_AT + length + TAG_BYTES > MOST_SEALED_BYTES) return undefined;
    const memory = memoryOf(length);
    const { octets } = memory;
    octets.writeDoubleBE(entry.storedAt + offsetOf(now), 0);
    putU32(octets, 8, bytes);
    putU16(octets, 12, label.length);
    this.codec.write(memory, HEAD_BYTES, entry);
    label.copy(octets, HEAD_BYTES + bytes);
    const nonce = this.nonce();
    const cipher = createCipheriv(CIPHER, secret, nonce, { authTagLength: TAG_BYTES }).setAAD(associated);
    const body = cipher.update(octets);
    cipher.final();
    return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()]);
  }

  /**
   * Opens what the store has under the key of a place. Undefined: it was not sealed for this place with this key, or it
   * has expired, or it was stored before `since` or after now.
   * @param since seconds since 1970
   */
  open(place: SharedPlace, sealed: Buffer, now: Moment, since = -Infinity): Entry | undefined {
    const opened = decrypted(place, sealed);
    if (opened === undefined) return undefined;
    const { octets } = opened;
    const bytes = u32At(octets, 8);
    const labelAt = HEAD_BYTES + bytes;
    const labelEnd = labelAt + u16At(octets, 12);
    if (labelEnd > octets.length || !this.codec.isEntry(octets, HEAD_BYTES, labelAt)) return undefined;
    const wallSec = octets.readDoubleBE(0);
    const elapsedSec = now.wallNow / 1000 - wallSec;
    const ttlSec = this.codec.ttlSec(opened, HEAD_BYTES);
    // Written so that NaN is refused, too.
    if (!(elapsedSec >= -MOST_AHEAD_SEC && elapsedSec < ttlSec && wallSec > since)) return undefined;
    const storedAt = ageAfter(now.ageNow, -Math.max(0, elapsedSec));
    const server = this.codec.labels.numberOf(octets.toString('utf8', labelAt, labelEnd));
    this.codec.adopt(opened, HEAD_BYTES, storedAt, server);
    return this.codec.read(opened, HEAD_BYTES);
  }

  private nonce(): Buffer {
    const nonce = Buffer.alloc(NONCE_BYTES);
    for (let at = 0; at < NONCE_BYTES; at += 2) putU16(nonce, at, this.random.uint16());
    return nonce;
  }
}

/** The difference between the clocks, in seconds. */
const offsetOf = ({ ageNow, wallNow }: Moment): number => wallNow / 1000 - ageNow;

/** Memory that begins at a multiple of 8, as the codec needs it. */
function memoryOf(bytes: number): EntryMemory {
  const memory = new ArrayBuffer(Math.ceil(bytes / 8) * 8);
  return { octets: Buffer.from(memory, 0, bytes), doubles: new Float64Array(memory) };
}

/** The authenticated octets; undefined: they are not what was sealed. It does not throw, whatever the octets are. */
function decrypted({ secret, associated }: SharedPlace, sealed: Buffer): EntryMemory | undefined {
  const length = sealed.length - BODY_AT - TAG_BYTES;
  if (sealed.length > MOST_SEALED_BYTES || length < HEAD_BYTES || sealed[0] !== VERSION) return undefined;
  const nonce = sealed.subarray(NONCE_AT, BODY_AT);
  const decipher = createDecipheriv(CIPHER, secret, nonce, { authTagLength: TAG_BYTES })
    .setAAD(associated)
    .setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const body = decipher.update(sealed.subarray(BODY_AT, sealed.length - TAG_BYTES));
  try {
    decipher.final();
  } catch {
    // The only reason that there is: the tag does not belong to these octets.
    return undefined;
  }
  const memory = memoryOf(length);
  body.copy(memory.octets);
  return memory;
}
