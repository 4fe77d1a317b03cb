// Networks in memory that threads share. One thread writes, and readers check regularly for a new version.

import { addressOctets, addressText } from '../base/address.js';
import { type Network, octetMatcher, type OctetMatcher } from './networks.js';

/** The most networks that fit into the memory. The check of the configuration allows no more. */
const MOST_NETWORKS = 1024;
const VERSION = 0;
const COUNT = 1;
const CONTROL_BYTES = 8;
/** An entry: length of the address, prefix, address. */
const ENTRY_BYTES = 18;

/** A list of networks in shared memory. */
export class SharedNetworks {
  private readonly control: Int32Array;
  private readonly entries: Buffer;
  private seen = -1;
  private matches: OctetMatcher = () => false;

  constructor(readonly memory: SharedArrayBuffer) {
    this.control = new Int32Array(memory, 0, 2);
    this.entries = Buffer.from(memory, CONTROL_BYTES);
  }

  static memory(networks: readonly Network[]): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(CONTROL_BYTES + MOST_NETWORKS * ENTRY_BYTES);
    new SharedNetworks(memory).write(networks);
    return memory;
  }

  /** Replaces them, for all readers. */
  write(networks: readonly Network[]): void {
    // The version is odd while networks are being written.
    Atomics.add(this.control, VERSION, 1);
    networks.slice(0, MOST_NETWORKS).forEach(({ address, prefix }, i) => {
      const octets = addressOctets(address) ?? Buffer.alloc(0);
      const at = i * ENTRY_BYTES;
      this.entries[at] = octets.length;
      this.entries[at + 1] = prefix;
      octets.copy(this.entries, at + 2);
    });
    this.control[COUNT] = Math.min(networks.length, MOST_NETWORKS);
    Atomics.add(this.control, VERSION, 1);
  }

  /** A test for the networks in force. Call this again to see later changes. */
  matcher(): OctetMatcher {
    const version = Atomics.load(this.control, VERSION);
    if (version === this.seen || (version & 1) !== 0) return this.matches;
    const networks = Array.from({ length: this.control[COUNT] ?? 0 }, (_, i): Network => {
      const at = i * ENTRY_BYTES;
      return {
        address: addressText(this.entries, at + 2, this.entries[at] === 4 ? 4 : 16),
        prefix: this.entries[at + 1] ?? 0,
      };
    });
    // If they were overwritten in the meantime, the next call reads them again.
    if (Atomics.load(this.control, VERSION) === version) {
      this.seen = version;
      this.matches = octetMatcher(networks);
    }
    return this.matches;
  }
}
