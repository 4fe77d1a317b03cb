// Networks in memory that threads share: of the clients that may ask, of those that no rate limits or that must prove their address, of
// proxies, and of groups of clients. One thread writes, and readers check regularly for a new version.

import { addressOctets, addressText } from '../base/address.js';
import { type ClassPlace, placeClasses, type PlaceClasses } from './own-places.js';
import { putU16, u16At } from '../base/octets.js';
import {
  type ClassNetwork,
  type Network,
  octetClasses,
  type OctetClasses,
  octetMatcher,
  type OctetMatcher,
} from './networks.js';

/** The most networks whose clients may ask: 1,024 of the configuration, and 64 of our own interfaces. */
const MOST_ALLOWED = 1088;
/** The most networks without a limit of their rate, and of those whose clients must prove their address. */
const MOST_UNLIMITED = 1024;
const MOST_PROVING = 1024;
/** The most networks of proxies. */
const MOST_ANNOUNCING = 256;
/** The most addresses of our own at which the clients of groups ask. */
const MOST_AT_OURS = 15 * 64;
/** The most networks of groups: 15 times 64 of the configuration, and 512 of devices. */
const MOST_OF_GROUPS = 1472;
const VERSION = 0;
const COUNT = 1;
/** Whether there are groups, even without a network. */
const GROUPED = 2;
const CONTROL_BYTES = 12;
/** An entry: length of the address, prefix, class (or one of those below), address, port. */
const ENTRY_BYTES = 21;
const PORT_AT = 19;
/** Beside the length of an address: it is one of ours, with a port (0: any), at which the clients of a group ask. */
const AT_OURS = 0x80;
/**
 * In place of the class of a group: its clients may ask, ask as much as they like, must prove their address, or are proxies
 * that say for whom they connect.
 */
const ALLOWED = 0;
const UNLIMITED = 255;
const PROVING = 254;
const ANNOUNCING = 253;

const MOST = MOST_ALLOWED + MOST_UNLIMITED + MOST_PROVING + MOST_ANNOUNCING + MOST_OF_GROUPS + MOST_AT_OURS;

/** The networks. */
export interface Networks {
  /** Those whose clients may ask, */
  readonly allow: readonly Network[];
  /** and those of them whose rate is not limited. */
  readonly unlimited: readonly Network[];
  /** Those whose clients must prove their address. */
  readonly proving: readonly Network[];
  /** Those of proxies that say in a PROXY header for whom they connect. */
  readonly announcing: readonly Network[];
  /** Those of groups. */
  readonly classes: readonly ClassNetwork[];
  /** The addresses of our own at which the clients of groups ask. */
  readonly atOurs: readonly ClassPlace[];
  /** Whether there are groups, whose networks may not be known yet; left out: no. */
  readonly areGrouped?: boolean;
}

/** A list of networks in shared memory. */
export class SharedNetworks {
  private readonly control: Int32Array;
  private readonly entries: Buffer;
  private seen = -1;
  private matches: OctetMatcher = () => false;
  private matchesUnlimited: OctetMatcher = () => false;
  private matchesProving: OctetMatcher = () => false;
  private matchesAnnouncing: OctetMatcher = () => false;
  private classOf: OctetClasses = () => 0;
  private classOfPlace: PlaceClasses | undefined;

  constructor(readonly memory: SharedArrayBuffer) {
    this.control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.entries = Buffer.from(memory, CONTROL_BYTES);
  }

  static memory(allow: readonly Network[], others: Partial<Networks> = {}): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(CONTROL_BYTES + MOST * ENTRY_BYTES);
    const none = { classes: [], unlimited: [], proving: [], announcing: [], atOurs: [] };
    new SharedNetworks(memory).write({ allow, ...none, ...others });
    return memory;
  }

  /** Replaces them, for all readers. */
  write({ allow, unlimited, proving, announcing, classes, atOurs, areGrouped = false }: Networks): void {
    // The version is odd while networks are being written.
    Atomics.add(this.control, VERSION, 1);
    const all = [
      ...allow.slice(0, MOST_ALLOWED).map(each => ({ ...each, clientClass: ALLOWED })),
      ...unlimited.slice(0, MOST_UNLIMITED).map(each => ({ ...each, clientClass: UNLIMITED })),
      ...proving.slice(0, MOST_PROVING).map(each => ({ ...each, clientClass: PROVING })),
      ...announcing.slice(0, MOST_ANNOUNCING).map(each => ({ ...each, clientClass: ANNOUNCING })),
      ...classes.slice(0, MOST_OF_GROUPS),
    ];
    all.forEach((each, i) => this.put(i, each, each.prefix, 0));
    const places = atOurs.slice(0, MOST_AT_OURS);
    places.forEach((each, i) => {
      this.put(all.length + i, each, 0, AT_OURS);
      putU16(this.entries, (all.length + i) * ENTRY_BYTES + PORT_AT, each.port ?? 0);
    });
    this.control[COUNT] = all.length + places.length;
    this.control[GROUPED] = areGrouped ? 1 : 0;
    Atomics.add(this.control, VERSION, 1);
  }

  private put(
    i: number,
    { address, clientClass }: Pick<ClassNetwork, 'address' | 'clientClass'>,
    prefix: number,
    flags: number,
  ): void {
    const octets = addressOctets(address) ?? Buffer.alloc(0);
    const at = i * ENTRY_BYTES;
    this.entries[at] = octets.length | flags;
    this.entries[at + 1] = prefix;
    this.entries[at + 2] = clientClass;
    octets.copy(this.entries, at + 3);
  }

  /** Another number after each change: then, all of the following have changed. */
  get version(): number {
    this.look();
    return this.seen;
  }

  /** A test for the networks in force. Call this again to see later changes. */
  matcher(): OctetMatcher {
    this.look();
    return this.matches;
  }

  /** A test for the networks without a limit of their rate. Call this again to see later changes. */
  unlimited(): OctetMatcher {
    this.look();
    return this.matchesUnlimited;
  }

  /** A test for the networks whose clients must prove their address. Call this again to see later changes. */
  proving(): OctetMatcher {
    this.look();
    return this.matchesProving;
  }

  /** A test for the networks of proxies. Call this again to see later changes. */
  announcing(): OctetMatcher {
    this.look();
    return this.matchesAnnouncing;
  }

  /** The groups of clients in force. Call this again to see later changes. */
  classes(): OctetClasses {
    this.look();
    return this.classOf;
  }

  /** Whether there are groups now. */
  get areGrouped(): boolean {
    return Atomics.load(this.control, GROUPED) !== 0;
  }

  /** The groups by addresses of our own; undefined: there are none. Call this again to see later changes. */
  placeClasses(): PlaceClasses | undefined {
    this.look();
    return this.classOfPlace;
  }

  private look(): void {
    const version = Atomics.load(this.control, VERSION);
    if (version === this.seen || (version & 1) !== 0) return;
    const all = Array.from({ length: this.control[COUNT] ?? 0 }, (_, i) => this.entry(i));
    const networks = all.filter(({ isOurs }) => !isOurs);
    const places = all.filter(({ isOurs }) => isOurs);
    // If they were overwritten in the meantime, the next call reads them again.
    if (Atomics.load(this.control, VERSION) === version) {
      this.seen = version;
      const of = (which: number): readonly Network[] => networks.filter(({ clientClass }) => clientClass === which);
      this.matches = octetMatcher(of(ALLOWED));
      this.matchesUnlimited = octetMatcher(of(UNLIMITED));
      this.matchesProving = octetMatcher(of(PROVING));
      this.matchesAnnouncing = octetMatcher(of(ANNOUNCING));
      this.classOfPlace = places.length === 0 ? undefined : placeClasses(places);
      this.classOf = octetClasses(
        networks.filter(({ clientClass }) => clientClass > ALLOWED && clientClass < ANNOUNCING),
      );
    }
  }

  private entry(i: number): ClassNetwork & { readonly isOurs: boolean; readonly port: number | undefined } {
    const { entries } = this;
    const at = i * ENTRY_BYTES;
    const length = entries[at] ?? 0;
    const port = u16At(entries, at + PORT_AT);
    return {
      address: addressText(entries, at + 3, (length & ~AT_OURS) === 4 ? 4 : 16),
      prefix: entries[at + 1] ?? 0,
      clientClass: entries[at + 2] ?? 0,
      isOurs: (length & AT_OURS) !== 0,
      port: port === 0 ? undefined : port,
    };
  }
}
