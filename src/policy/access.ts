// Who may ask, by address.

import { addressOctets, addressText } from '../base/address.js';

/** A network: an address and how many of its leading bits count. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Whether an address is in the list. */
export type Matcher = (address: string) => boolean;
/** The same for octets as they stand in a socket address: 4 or 16 of them at `at`. */
export type OctetMatcher = (octets: Buffer, at: number, bytes: 4 | 16) => boolean;

/** Compiles networks to a test of octets that allocates nothing. */
export function octetMatcher(networks: readonly Network[]): OctetMatcher {
  const compiled = networks.flatMap(({ address, prefix }) => {
    const octets = addressOctets(address);
    return octets === undefined ? [] : [{ octets, whole: prefix >> 3, mask: (0xff00 >> (prefix & 7)) & 0xff }];
  });
  const matches = (octets: Buffer, at: number, bytes: number): boolean =>
    compiled.some(network => {
      if (network.octets.length !== bytes) return false;
      for (let i = 0; i < network.whole; i++) if (octets[at + i] !== network.octets[i]) return false;
      return (
        network.mask === 0 ||
        (((octets[at + network.whole] ?? 0) ^ (network.octets[network.whole] ?? 0)) & network.mask) === 0
      );
    });
  return (octets, at, bytes) =>
    // An IPv4 address on an IPv6 socket (RFC 4291 §2.5.5.2) is judged as what it is.
    bytes === 16 && isMapped(octets, at) ? matches(octets, at + 12, 4) : matches(octets, at, bytes);
}

function isMapped(octets: Buffer, at: number): boolean {
  for (let i = 0; i < 10; i++) if (octets[at + i] !== 0) return false;
  return octets[at + 10] === 0xff && octets[at + 11] === 0xff;
}

/** More are not taken from a configuration. */
const MOST_NETWORKS = 1024;
const VERSION = 0;
const COUNT = 1;
const CONTROL_BYTES = 8;
/** Octets of the address, prefix, address. */
const ENTRY_BYTES = 18;

/** Networks that may change, in memory that threads share: one writer, and readers that look whether there is news. */
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
    // Odd while they are being written.
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

  /** A test for those in force; asked for anew now and then, it follows what is written. */
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
    // Written over meanwhile: the next look will see it whole.
    if (Atomics.load(this.control, VERSION) === version) {
      this.seen = version;
      this.matches = octetMatcher(networks);
    }
    return this.matches;
  }
}

// A household has a handful of addresses, a flood from forged ones may not fill memory.
const REMEMBERED = 1024;

/** Compiles networks to a test of text; verdicts are remembered, since the same few addresses ask again and again. */
export function networkMatcher(networks: readonly Network[]): Matcher {
  const matches = octetMatcher(networks);
  const remembered = new Map<string, boolean>();
  return address => {
    const known = remembered.get(address);
    if (known !== undefined) return known;
    const octets = addressOctets(address);
    const verdict = octets !== undefined && matches(octets, 0, octets.length === 4 ? 4 : 16);
    if (remembered.size >= REMEMBERED) remembered.clear();
    remembered.set(address, verdict);
    return verdict;
  };
}
