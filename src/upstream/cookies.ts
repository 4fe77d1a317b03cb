// DNS cookies for one server in cleartext (RFC 7873): our eight octets, which a forger who does not see the query
// cannot know, and the server's part, which the next query returns. Over TLS answers cannot be forged, so no cookies
// are used.

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
  /** The server's part. */
  private theirs: Buffer | undefined;

  constructor(private readonly random: Random) {
    this.own = fresh(random);
  }

  /** The data of the option for the next query. */
  get option(): Buffer {
    return this.theirs === undefined ? this.own : Buffer.concat([this.own, this.theirs]);
  }

  /**
   * Whether a response may come from the server (RFC 7873 §5.3): it has our cookie, or it has none and the server never
   * sent one. Remembers the server's part.
   */
  accept(response: Buffer): boolean {
    const opt = optOf(response);
    const cookie = opt && findOption(opt, OPTION.COOKIE);
    if (cookie === undefined) return this.theirs === undefined;
    if (cookie.length < CLIENT_BYTES || !cookie.subarray(0, CLIENT_BYTES).equals(this.own)) return false;
    const theirs = cookie.subarray(CLIENT_BYTES);
    // A part of another length is not returned to the server.
    if (theirs.length >= LEAST_SERVER_BYTES && theirs.length <= MOST_SERVER_BYTES) this.theirs = Buffer.from(theirs);
    return true;
  }

  /** The server did not answer. Another server without support for cookies may have taken its place. */
  doubt(): void {
    this.theirs = undefined;
  }

  /** Makes a new cookie: on another network, the same one would identify us (RFC 7873 §8.1). */
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
