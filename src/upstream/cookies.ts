// DNS cookies towards one server in cleartext (RFC 7873): eight octets of ours that a forger who does not see the query can
// not know, and what the server gave us to show next time. Only in cleartext: over TLS there is nobody to forge.

import type { Random } from '../base/ports.js';
import { findOption, OPTION } from '../wire/edns.js';
import { optOf } from '../wire/scan.js';

/** The cookies of one server address. */
export interface Cookies {
  /** For the option of the next query. */
  readonly option: Buffer;
  /**
   * Whether a response may be the server's (RFC 7873 §5.3): it has our cookie, or it has none and the server has never
   * shown one. Learns the server's.
   */
  accept(response: Buffer): boolean;
  /** The server fell silent: perhaps it is another one now, that knows no cookies. */
  doubt(): void;
  /** We are on another network, and must not be known again there (RFC 7873 §8.1). */
  renew(): void;
}

const CLIENT_BYTES = 8;
const MOST_SERVER_BYTES = 32;

/** Makes them. */
export function cookies(random: Random): Cookies {
  let own = fresh(random);
  let servers: Buffer | undefined;
  return {
    get option() {
      return servers === undefined ? own : Buffer.concat([own, servers]);
    },
    accept(response) {
      const opt = optOf(response);
      const cookie = opt && findOption(opt, OPTION.COOKIE);
      if (cookie === undefined) return servers === undefined;
      if (cookie.length < CLIENT_BYTES || !cookie.subarray(0, CLIENT_BYTES).equals(own)) return false;
      const theirs = cookie.subarray(CLIENT_BYTES);
      // RFC 7873 §4: 8 to 32 octets; what is longer or shorter is nothing to show again.
      if (theirs.length >= CLIENT_BYTES && theirs.length <= MOST_SERVER_BYTES) servers = Buffer.from(theirs);
      return true;
    },
    doubt() {
      servers = undefined;
    },
    renew() {
      own = fresh(random);
      servers = undefined;
    },
  };
}

function fresh(random: Random): Buffer {
  const octets = Buffer.alloc(CLIENT_BYTES);
  for (let at = 0; at < CLIENT_BYTES; at += 2) octets.writeUInt16BE(random.uint16(), at);
  return octets;
}
