// Facts that are remembered across networks and restarts. First, which servers were authenticated on which network: to
// a client without memory, an attacker who blocks port 853 looks like a network that never let it through, so a
// downgrade to cleartext is checked against this. Second, the last addresses of servers that are configured by name:
// with them a daemon can start where no bootstrap resolver answers. A wrong server at such an address cannot prove the
// name. Third, proven TLSA records: with them a server can be authenticated before anything is asked.

import { isIP } from '../base/address.js';
import { isCertificateName } from '../base/host-name.js';
import { wallMs, type WallMs } from '../base/time.js';
import { readTlsaText, type Tlsa, tlsaText } from '../wire/tlsa.js';

/** The memory as endpoints and servers use it. */
export interface Memory {
  /** Whether this server was authenticated on the current network in the last days. */
  proved(server: string): boolean;
  prove(server: string): void;
  /** The addresses that a server's name had when it was last looked up; empty: it never was. */
  recall(name: string): readonly string[];
  remember(name: string, addresses: readonly string[]): void;
  /** The proven TLSA records at an owner, if their time is not over. */
  tlsa(owner: string): KeptTlsa | undefined;
  /** Keeps proven TLSA records. A set that is too large is not kept. */
  keepTlsa(owner: string, kept: KeptTlsa): void;
}

/** Proven TLSA records. */
export interface KeptTlsa {
  /** The names that the certificate of the server may hold. */
  readonly names: readonly string[];
  readonly records: readonly Tlsa[];
  readonly untilMs: WallMs;
}

// RFC 9539 §4.2 remembers successes for three days.
const KEPT_MS = 3 * 86_400_000;
const LIMITS = {
  /** Pairs of network and server. A laptop that travels meets a few a week. */
  proofs: 256,
  /** Those of one network, so that it cannot make us forget the others by announcing ever more resolvers. */
  proofsPerNetwork: 32,
  names: 64,
  addressesPerName: 16,
  tlsaSets: 32,
  /** Octets of the data of all records of a set: several digests, or an issuer's whole certificate. */
  tlsaBytes: 2048,
  /** The length of a record as text: its data in hexadecimal, and three numbers before it. */
  tlsaText: 2 * 2048 + 12,
  namesPerTlsaSet: 8,
  /** The length of a key: the text of a network and the name of a server. */
  keyLength: 4096,
  /** The length of a file that is read. A longer one was not written by this program. */
  savedLength: 4 << 20,
} as const;
/** The version of the format of the file. */
const VERSION = 2;
/** A known proof is not stored again before this time has passed. */
const REFRESH_MS = 3_600_000;
/** TLSA records are kept for a day at most. One that ends later was kept while the clock was wrong. */
export const TLSA_MOST_MS = 86_400_000;
/** The last point in time that a Date can hold. */
const LAST_MS = 8.64e15;

/** The memory. */
export class NetworkMemory implements Memory {
  /**
   * The current network, as a text that is the same whenever the machine is there. It may have several parts, with empty
   * lines between. The network counts as known if one of them is known: another machine may be able to change one.
   */
  network = '';
  /** When each server was last authenticated, by network and server; the newest last. */
  private readonly proofs: Map<string, WallMs>;
  /** Addresses by name; the newest last. */
  private readonly addresses: Map<string, readonly string[]>;
  /** TLSA records by owner; the newest last. */
  private readonly tlsaSets: Map<string, KeptTlsa>;
  private hasChanged = false;

  /**
   * @param saved what `save` returned; other text is ignored, because losing the memory only makes us less cautious
   */
  constructor(
    private readonly wallNow: () => WallMs,
    saved: string,
  ) {
    const read = parse(saved);
    const proofs = pairs(read['proofs'], proofTime).map(([key, at]): [string, WallMs] => [
      read['version'] === VERSION ? key : withoutAddress(key),
      at,
    ]);
    this.proofs = new Map(proofs.slice(-LIMITS.proofs));
    this.addresses = new Map(pairs(read['addresses'], addressList).slice(-LIMITS.names));
    this.tlsaSets = new Map(pairs(read['tlsa'], keptTlsa).slice(-LIMITS.tlsaSets));
  }

  /** Whether there are changes that were not saved yet. */
  get changed(): boolean {
    return this.hasChanged;
  }

  proved(server: string): boolean {
    return this.parts.some(part => {
      const at = this.proofs.get(keyOf(part, server));
      return at !== undefined && Math.abs(this.wallNow() - at) < KEPT_MS;
    });
  }

  prove(server: string): void {
    for (const part of this.parts) this.proveIn(part, server);
  }

  recall(name: string): readonly string[] {
    return this.addresses.get(name) ?? [];
  }

  remember(name: string, addresses: readonly string[]): void {
    const kept = addresses.slice(0, LIMITS.addressesPerName);
    if (kept.join(' ') === this.addresses.get(name)?.join(' ')) return;
    keepNewest(this.addresses, name, kept, LIMITS.names);
    this.hasChanged = true;
  }

  tlsa(owner: string): KeptTlsa | undefined {
    const kept = this.tlsaSets.get(owner);
    const leftMs = (kept?.untilMs ?? 0) - this.wallNow();
    return leftMs > 0 && leftMs <= TLSA_MOST_MS ? kept : undefined;
  }

  keepTlsa(owner: string, kept: KeptTlsa): void {
    // An earlier set must not be used in place of one that is too large.
    if (isKeepable(kept)) keepNewest(this.tlsaSets, owner, kept, LIMITS.tlsaSets);
    else this.tlsaSets.delete(owner);
    this.hasChanged = true;
  }

  /** Forgets all TLSA records: they were proven under other trust anchors. */
  forgetTlsa(): void {
    if (this.tlsaSets.size > 0) this.hasChanged = true;
    this.tlsaSets.clear();
  }

  /** The memory as text, for a file. */
  save(): string {
    this.hasChanged = false;
    const tlsa = [...this.tlsaSets].map(([owner, { names, records, untilMs }]) => [
      owner,
      { names, records: records.map(tlsaText), untilMs },
    ]);
    return JSON.stringify({ version: VERSION, proofs: [...this.proofs], addresses: [...this.addresses], tlsa });
  }

  private get parts(): readonly string[] {
    return this.network.split('\n\n');
  }

  private proveIn(part: string, server: string): void {
    const key = keyOf(part, server);
    const now = this.wallNow();
    const before = this.proofs.get(key);
    if (before !== undefined && Math.abs(now - before) < REFRESH_MS) return;
    const there = before === undefined ? [...this.proofs.keys()].filter(each => isIn(part, each)) : [];
    for (const each of there.slice(0, Math.max(0, there.length + 1 - LIMITS.proofsPerNetwork)))
      this.proofs.delete(each);
    keepNewest(this.proofs, key, now, LIMITS.proofs);
    this.hasChanged = true;
  }
}

/** The key of a proof: part of a network, and a server. The name of a server has no line breaks. */
const keyOf = (part: string, server: string): string => `${part}\n${server}`;
const isIn = (part: string, key: string): boolean => key.slice(0, Math.max(0, key.lastIndexOf('\n'))) === part;

/** Makes a NetworkMemory. */
export const networkMemory = (wallNow: () => WallMs, saved = ''): NetworkMemory => new NetworkMemory(wallNow, saved);

/** Sets a key and puts it last. The oldest are removed above `most`. */
function keepNewest<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}

/** The fields of a saved memory of this version or of version 1; none for any other text. */
function parse(saved: string): Readonly<Record<string, unknown>> {
  if (saved.length > LIMITS.savedLength) return {};
  let read: unknown;
  try {
    read = JSON.parse(saved);
  } catch {
    return {};
  }
  if (typeof read !== 'object' || read === null) return {};
  const fields: Readonly<Record<string, unknown>> = { ...read };
  return fields['version'] === VERSION || fields['version'] === 1 ? fields : {};
}

/** Version 1 remembered each address of a server: its keys end with address and port. */
const withoutAddress = (key: string): string => key.replace(/ [0-9a-fA-F:.%\w-]+ \d+$/, '');

/** The pairs of a short text and a valid value in a list of such pairs; other items are left out. */
function pairs<V>(list: unknown, read: (value: unknown) => V | undefined): [string, V][] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((each: unknown): [string, V][] => {
    if (!Array.isArray(each)) return [];
    const [key, value] = each as readonly unknown[];
    const sound = read(value);
    return typeof key === 'string' && key.length <= LIMITS.keyLength && sound !== undefined ? [[key, sound]] : [];
  });
}

const proofTime = (value: unknown): WallMs | undefined =>
  typeof value === 'number' && value >= 0 && value <= LAST_MS ? wallMs(value) : undefined;

const addressList = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value)
    ? value
        .slice(0, LIMITS.addressesPerName)
        .filter((each: unknown): each is string => typeof each === 'string' && isIP(each) !== 0)
    : undefined;

const isKeepable = ({ names, records }: KeptTlsa): boolean =>
  names.length <= LIMITS.namesPerTlsaSet && records.reduce((sum, { data }) => sum + data.length, 0) <= LIMITS.tlsaBytes;

/** A saved set; undefined: not one that this program has saved. */
function keptTlsa(value: unknown): KeptTlsa | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { names, records, untilMs }: Readonly<Record<string, unknown>> = { ...value };
  const until = proofTime(untilMs);
  const texts = textList(records);
  const named = textList(names)?.filter(isCertificateName);
  if (until === undefined || texts === undefined || named === undefined) return undefined;
  const read = texts.map(each => (each.length > LIMITS.tlsaText ? undefined : readTlsaText(each)));
  const kept = { names: named, records: read.filter(each => each !== undefined), untilMs: until };
  return kept.records.length === read.length && isKeepable(kept) ? kept : undefined;
}

const textList = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) && value.length <= LIMITS.tlsaBytes && value.every((each: unknown) => typeof each === 'string')
    ? value
    : undefined;
