// Sets of nftables that are filled with the addresses of chosen zones: which addresses of an answer go into which set,
// and the commands for it.

import { addressText } from '../base/address.js';
import { isAtOrBelow } from '../wire/name.js';
import { RecordAddresses } from '../wire/record-addresses.js';
import { type ScannedMessage, ScannedRecords } from '../wire/records.js';

/** One entry of the configuration. */
export interface FirewallSet {
  /** In wire form, lower case. */
  readonly zones: readonly Buffer[];
  /** Family, table and set, as nft names them, for IPv4 and IPv6; undefined: there is no set for these. */
  readonly set4: string | undefined;
  readonly set6: string | undefined;
}

/** An address that belongs into a set. */
export interface SetElement {
  /** Family, table and set. */
  readonly set: string;
  readonly address: string;
  /** How long it stays there. */
  readonly seconds: number;
}

/** The shortest time in a set: a client must be able to connect to an address with a TTL of 0. */
const LEAST_SEC = 10;

/** The entries for a name, in lower case. */
export const setsFor = (sets: readonly FirewallSet[], name: Buffer): readonly FirewallSet[] =>
  sets.filter(({ zones }) => zones.some(zone => isAtOrBelow(name, zone)));

/**
 * The addresses of an answer, hints of HTTPS records included, for each of the sets.
 * @param elapsedSec by how many seconds its TTLs are reduced for the client
 */
export function elementsOf(
  sets: readonly FirewallSet[],
  message: ScannedMessage,
  questionEnd: number,
  elapsedSec: number,
): readonly SetElement[] {
  const found: SetElement[] = [];
  const record = new ScannedRecords(message, questionEnd);
  const addresses = new RecordAddresses(message.octets);
  while (record.next() && record.section === 'answer') {
    const seconds = Math.max(record.ttlSec - elapsedSec, LEAST_SEC);
    addresses.of(record);
    while (addresses.next()) {
      const { at, bytes } = addresses;
      const address = addressText(message.octets, at, bytes);
      for (const { set4, set6 } of sets) {
        const set = bytes === 4 ? set4 : set6;
        if (set !== undefined) found.push({ set, address, seconds });
      }
    }
  }
  return found;
}

/**
 * Commands of nft(8) that put addresses into one set, all or none. An element that is there keeps its time when it is
 * added again (until Linux 6.12), so it is taken out and put in at once: no packet sees the set without it.
 */
export function commandsOf(set: string, elements: ReadonlyMap<string, number>): string {
  const lines: string[] = [];
  for (const [address, seconds] of elements) {
    const add = `add element ${set} { ${address} timeout ${seconds}s }`;
    lines.push(add, `delete element ${set} { ${address} }`, add);
  }
  return `${lines.join('\n')}\n`;
}
