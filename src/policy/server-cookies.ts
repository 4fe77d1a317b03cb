// DNS cookies for clients (RFC 7873), made as RFC 9018 §4 says: what a client has received from us at its address and sends back
// proves that it is there. The secrets are in memory that threads share; one thread writes, and readers check for a new version.

import { isMapped } from '../base/address.js';
import { copyOctets, i32At, putU32 } from '../base/octets.js';
import { SIPHASH_KEY_BYTES, SipHash } from '../base/siphash.js';
import { CLIENT_COOKIE_BYTES, COOKIE_BYTES } from '../wire/edns.js';

// The server's part: version, three reserved octets, timestamp, hash.
const VERSION_1 = 0x01000000;
/** RFC 9018 §4.3: a cookie counts for an hour, and five minutes ahead, and is replaced after half an hour. */
const LIVES_SEC = 3600;
const AHEAD_SEC = 300;
const FRESH_SEC = 1800;

/** RFC 7873 §7.1: no secret is used for more than 26 hours. The one before stays valid as long as cookies live. */
export const RENEW_SECRET_SEC = 24 * 3600;

const VERSION = 0;
const CONTROL_BYTES = 8;

/** Server cookies, from any thread. */
export class ServerCookies {
  private readonly version: Int32Array;
  private readonly secrets: Uint8Array;
  private seen = -1;
  private current = new SipHash(new Uint8Array(SIPHASH_KEY_BYTES));
  private previous = this.current;
  /** What is hashed: client cookie, version and reserved octets, timestamp, address. */
  private readonly hashed = Buffer.alloc(CLIENT_COOKIE_BYTES + 8 + 16);

  constructor(readonly memory: SharedArrayBuffer) {
    this.version = new Int32Array(memory, 0, 2);
    this.secrets = new Uint8Array(memory, CONTROL_BYTES, 2 * SIPHASH_KEY_BYTES);
  }

  /** @param secret 16 random octets */
  static memory(secret: Uint8Array): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(CONTROL_BYTES + 2 * SIPHASH_KEY_BYTES);
    const cookies = new ServerCookies(memory);
    cookies.secrets.set(secret.subarray(0, SIPHASH_KEY_BYTES), SIPHASH_KEY_BYTES);
    cookies.renew(secret);
    return memory;
  }

  /** Makes cookies with another secret from now on, in all threads; those of the one before are valid still. */
  renew(secret: Uint8Array): void {
    const { version, secrets } = this;
    const isFirst = Atomics.load(version, VERSION) === 0;
    // The version is odd while they are being written.
    Atomics.add(version, VERSION, 1);
    if (!isFirst) secrets.copyWithin(SIPHASH_KEY_BYTES, 0, SIPHASH_KEY_BYTES);
    secrets.set(secret.subarray(0, SIPHASH_KEY_BYTES));
    Atomics.add(version, VERSION, 1);
  }

  /**
   * Whether an option is one that we have given to this address.
   * @param octets has the option's data, `bytes` octets at `at`
   * @param address 4 or 16 octets
   * @param nowSec the wall clock
   */
  isValid(octets: Uint8Array, at: number, bytes: number, address: Uint8Array, nowSec: number): boolean {
    if (bytes !== COOKIE_BYTES) return false;
    const server = at + CLIENT_COOKIE_BYTES;
    // RFC 9018 §4.3: serial number arithmetic.
    const age = (nowSec - i32At(octets, server + 4)) | 0;
    if (octets[server] !== 1 || age > LIVES_SEC || age < -AHEAD_SEC) return false;
    this.look();
    const length = this.put(octets, at, server, address);
    return (
      this.isHash(this.current, length, octets, server + 8) || this.isHash(this.previous, length, octets, server + 8)
    );
  }

  /**
   * The option for the reply to a client: its own part, and ours.
   * @param option what it has sent, 8 octets at least
   */
  optionFor(option: Uint8Array, address: Uint8Array, nowSec: number): Buffer {
    const reply = Buffer.alloc(COOKIE_BYTES);
    copyOctets(option, 0, CLIENT_COOKIE_BYTES, reply, 0);
    if (this.isValid(option, 0, option.length, address, nowSec) && ((nowSec - i32At(option, 12)) | 0) < FRESH_SEC) {
      copyOctets(option, 0, COOKIE_BYTES, reply, 0);
      return reply;
    }
    this.look();
    putU32(reply, CLIENT_COOKIE_BYTES, VERSION_1);
    putU32(reply, CLIENT_COOKIE_BYTES + 4, nowSec);
    const { low, high } = this.current.read(this.hashed, 0, this.put(reply, 0, CLIENT_COOKIE_BYTES, address));
    reply.writeInt32LE(low, CLIENT_COOKIE_BYTES + 8);
    reply.writeInt32LE(high, CLIENT_COOKIE_BYTES + 12);
    return reply;
  }

  /** Puts together what is hashed, and returns its length. */
  private put(octets: Uint8Array, clientAt: number, serverAt: number, address: Uint8Array): number {
    const { hashed } = this;
    copyOctets(octets, clientAt, CLIENT_COOKIE_BYTES, hashed, 0);
    // The reserved octets as they are: another version of the same software may use them (RFC 9018 §4.2).
    copyOctets(octets, serverAt, 8, hashed, CLIENT_COOKIE_BYTES);
    const from = address.length === 16 && isMapped(address, 0) ? 12 : 0;
    copyOctets(address, from, address.length - from, hashed, 16);
    return 16 + address.length - from;
  }

  private isHash(secret: SipHash, bytes: number, octets: Uint8Array, at: number): boolean {
    const { low, high } = secret.read(this.hashed, 0, bytes);
    // Without a branch per octet: how long it takes says nothing about how much was right.
    let other = 0;
    for (let i = 0; i < 4; i++) {
      other |= ((low >>> (8 * i)) & 0xff) ^ (octets[at + i] ?? 0);
      other |= ((high >>> (8 * i)) & 0xff) ^ (octets[at + 4 + i] ?? 0);
    }
    return other === 0;
  }

  private look(): void {
    let version = Atomics.load(this.version, VERSION);
    if (version === this.seen) return;
    // Another thread writes them, which takes less than a microsecond.
    while ((version & 1) !== 0 || !this.read(version)) version = Atomics.load(this.version, VERSION);
  }

  /** Takes over the secrets of a version. @returns false: they were overwritten in the meantime */
  private read(version: number): boolean {
    const current = new SipHash(this.secrets);
    const previous = new SipHash(this.secrets.subarray(SIPHASH_KEY_BYTES));
    if (Atomics.load(this.version, VERSION) !== version) return false;
    this.seen = version;
    this.current = current;
    this.previous = previous;
    return true;
  }
}
