// DNS cookies towards one server in cleartext (RFC 7873): eight octets of ours, which a forger who does not see the query
// cannot know, and what the server gave us to show next time. Over TLS there is nothing to forge, so there are none.

import type { Random } from '../base/ports.js';
import { findOption, OPTION } from '../wire/edns.js';
import { optOf } from '../wire/scan.js';

const CLIENT_BYTES = 8;
/** RFC 7873 §4: a server cookie has 8 to 32 octets. */
const LEAST_SERVER_BYTES = 8;
const MOST_SERVER_BYTES = 32;

/** The cookies of one server address. */
export class Cookies {
  /** Our part. */
  private own: Buffer;
  /** The server's part, which it gave us. */
  private theirs: Buffer | undefined;

  constructor(private readonly random: Random) {
    this.own = fresh(random);
  }

  /** For the option of the next query. */
  get option(): Buffer {
    return this.theirs === undefined ? this.own : Buffer.concat([this.own, this.theirs]);
  }

  /**
   * Whether a response may be the server's (RFC 7873 §5.3): it has our cookie, or it has none and the server has never
   * shown one. Learns the server's.
   */
  accept(response: Buffer): boolean {
    const opt = optOf(response);
    const cookie = opt && findOption(opt, OPTION.COOKIE);
    if (cookie === undefined) return this.theirs === undefined;
    if (cookie.length < CLIENT_BYTES || !cookie.subarray(0, CLIENT_BYTES).equals(this.own)) return false;
    const theirs = cookie.subarray(CLIENT_BYTES);
    // One of another length is not shown again.
    if (theirs.length >= LEAST_SERVER_BYTES && theirs.length <= MOST_SERVER_BYTES) this.theirs = Buffer.from(theirs);
    return true;
  }

  /** The server did not answer: perhaps another one is there now, which knows no cookies. */
  doubt(): void {
    this.theirs = undefined;
  }

  /** We are on another network, and must not be recognised there (RFC 7873 §8.1). */
  renew(): void {
    this.own = fresh(this.random);
    this.theirs = undefined;
  }
}

function fresh(random: Random): Buffer {
  const octets = Buffer.alloc(CLIENT_BYTES);
  for (let at = 0; at < CLIENT_BYTES; at += 2) octets.writeUInt16BE(random.uint16(), at);
  return octets;
}
