// Converts IP addresses between octets and text, without sockets. The text of a link-local address may end with its zone
// (RFC 4007 §11), `fe80::1%eth0`: which link it is on. Only sockets need it: the address proves and means the same
// without it.

import { finishedHash, FNV_OFFSET, hashed } from './hash.js';

/** An address of this machine at which queries arrive, with its port. */
export interface OwnPlace {
  readonly address: string;
  readonly port: number;
}

/** An address without its zone. */
export const withoutZone = (text: string): string => text.replace(/%.*/s, '');

/** Whether an address is link-local (RFC 4291 §2.5.6), and so means something on one link only. */
export const isLinkLocal = (text: string): boolean => /^fe[89ab][0-9a-f]:/i.test(text);

/**
 * An address that `teller` has told. A link-local one without a zone is on the link over which it was told: no message
 * of DNS can carry a zone.
 */
export function onLinkOf(teller: string, address: string): string {
  const zone = zoneOf(teller);
  return zone !== undefined && isLinkLocal(address) && zoneOf(address) === undefined ? `${address}%${zone}` : address;
}

/**
 * What counts as one client: an IPv4 address, or the /64 of an IPv6 address, because its holder may use all of that. A
 * link-local address counts by itself: they are all in one /64. Clients with the same text are the same.
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':') || isLinkLocal(address)) return address;
  const octets = addressOctets(address);
  if (octets === undefined) return address;
  return isMapped(octets, 0) ? unmappedText(octets) : `${addressText(octets.fill(0, 8), 0, 16)}/64`;
}

/** Whether the 16 octets at `at` are an IPv4 address on an IPv6 socket (RFC 4291 §2.5.5.2). */
export function isMapped(octets: Uint8Array, at: number): boolean {
  for (let i = 0; i < 10; i++) if (octets[at + i] !== 0) return false;
  return octets[at + 10] === 0xff && octets[at + 11] === 0xff;
}

/** Whether an address is a loopback address of this machine. */
export const isLoopback = (text: string): boolean => text.startsWith('127.') || withoutZone(text) === '::1';

/** Whether an address stands for all addresses of its family, as a listener's. */
export const isAnyAddress = (text: string): boolean => text === '0.0.0.0' || text === '::';

/**
 * Whether a machine cannot listen on one port of both addresses: they are one, or one is the wildcard that covers the
 * other. The addresses are in canonical form.
 */
export const exclude = (a: string, b: string): boolean =>
  a.includes(':') === b.includes(':') && (a === b || isAnyAddress(a) || isAnyAddress(b));

/** The zone of an address: an interface's name or index; undefined: it has none. */
export const zoneOf = (text: string): string | undefined => /%(.+)/s.exec(text)?.[1];

/**
 * Words about an address of a server, with the server's label and the address, each once: labels of servers without a
 * name are addresses, and many words begin with one.
 */
export function aboutAddress(label: string, address: string | undefined, words: string): string {
  if (address === undefined) return `${label}: ${words}`;
  const isLabel = label === address || label.startsWith(`${address}:`) || label.startsWith(`[${address}]`);
  const isTold = words.includes(`${address} port `);
  if (isLabel && isTold) return words;
  // Of two servers with one name, the label of the second has its address.
  return isLabel || isTold || label.includes(`(${address}`) ? `${label}: ${words}` : `${label} (${address}): ${words}`;
}

/** The 4 or 16 octets of an address in presentation form, without its zone; undefined if the text is no address. */
export function addressOctets(text: string): Buffer | undefined {
  const address = withoutZone(text);
  if (!address.includes(':')) return ipv4Octets(address);
  const [head = '', tail, rest] = address.split('::');
  if (rest !== undefined) return undefined;
  const left = groups(head, tail === undefined);
  const right = tail === undefined ? [] : groups(tail, true);
  const missing = 8 - left.length - right.length;
  if (left.includes(-1) || right.includes(-1) || (tail === undefined ? missing !== 0 : missing < 1)) return undefined;
  const octets = Buffer.alloc(16);
  [...left, ...Array.from({ length: missing }, () => 0), ...right].forEach((group, i) =>
    octets.writeUInt16BE(group, 2 * i),
  );
  return octets;
}

/** How net.isIP wants a zone to be. */
const ZONE = /^%[0-9a-zA-Z.:-]+$/;

/**
 * The family of an address; 0: it is none. The same as net.isIP, whose regular expression for IPv6 takes V8 as long to
 * compile, at its first use, as a tenth of a start of Node.js.
 */
export function isIP(text: string): 0 | 4 | 6 {
  const zoneAt = text.indexOf('%');
  const octets = addressOctets(text);
  if (octets === undefined || (zoneAt !== -1 && !ZONE.test(text.slice(zoneAt)))) return 0;
  if (octets.length === 16) return 6;
  // An address of IPv4 has no zone.
  return zoneAt === -1 ? 4 : 0;
}

/** Whether a text is an IPv4 address. */
export const isIPv4 = (text: string): boolean => isIP(text) === 4;

/** Whether a text is an IPv6 address, with or without its zone. */
export const isIPv6 = (text: string): boolean => isIP(text) === 6;

/** Numbers with a zero in front are none: some programs read them as octal. */
function ipv4Octets(text: string): Buffer | undefined {
  const octets = Buffer.alloc(4);
  let part = 0;
  let digits = 0;
  let value = 0;
  // Without a regular expression: the addresses of clients are read again and again.
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (digits === 0 || part > 3) return undefined;
      octets[part++] = value;
      digits = value = 0;
    } else {
      const digit = code - ZERO;
      if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return undefined;
      digits++;
      value = 10 * value + digit;
      if (value > 255) return undefined;
    }
  }
  return part === 4 ? octets : undefined;
}

const DOT = 46;
const ZERO = 48;

/**
 * The 16-bit groups of one side of `::`. -1 stands for text that is no group.
 * @param isLast whether the address ends there: only the end may be in the form of IPv4 (RFC 4291 §2.2)
 */
function groups(text: string, isLast: boolean): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group, i, all) => {
    if (group.includes('.') && isLast && i === all.length - 1) {
      const octets = ipv4Octets(group);
      return octets === undefined ? [-1] : [octets.readUInt16BE(0), octets.readUInt16BE(2)];
    }
    return /^[0-9a-fA-F]{1,4}$/.test(group) ? [parseInt(group, 16)] : [-1];
  });
}

/** The presentation form of 4 or 16 octets; an IPv4-mapped address is the IPv4 address. One client has one such text. */
export function unmappedText(octets: Buffer): string {
  if (octets.length === 4) return addressText(octets, 0, 4);
  return isMapped(octets, 0) ? addressText(octets, 12, 4) : addressText(octets, 0, 16);
}

/** How many texts are kept, a power of two. */
const TEXTS = 256;

/**
 * The texts of addresses that are met again and again. To make one takes longer than to look it up, and the tables by
 * address find a text that they have met at once, because V8 keeps its hash with it.
 */
export class AddressTexts {
  private readonly octets = Buffer.alloc(TEXTS * 16);
  private readonly texts: string[] = new Array<string>(TEXTS).fill('');
  /** Octets of each; 0: the place is empty. */
  private readonly lengths = new Uint8Array(TEXTS);

  /** The same as `addressText`. */
  of(octets: Buffer, at: number, bytes: 4 | 16): string {
    let hash = FNV_OFFSET;
    for (let i = at; i < at + bytes; i++) hash = hashed(hash, octets[i] ?? 0);
    const place = finishedHash(hash) & (TEXTS - 1);
    if (this.lengths[place] === bytes && this.isAt(16 * place, octets, at, bytes)) return this.texts[place] ?? '';
    octets.copy(this.octets, 16 * place, at, at + bytes);
    this.lengths[place] = bytes;
    return (this.texts[place] = addressText(octets, at, bytes));
  }

  private isAt(kept: number, octets: Buffer, at: number, bytes: number): boolean {
    for (let i = 0; i < bytes; i++) if (this.octets[kept + i] !== octets[at + i]) return false;
    return true;
  }
}

/** The presentation form of the 4 or 16 octets at `at`, with the longest run of zero groups shortened (RFC 5952 §4.2). */
export function addressText(octets: Buffer, at: number, bytes: 4 | 16): string {
  if (bytes === 4)
    return `${octets.readUInt8(at)}.${octets.readUInt8(at + 1)}.${octets.readUInt8(at + 2)}.${octets.readUInt8(at + 3)}`;
  const values = Array.from({ length: 8 }, (_, i) => octets.readUInt16BE(at + 2 * i));
  let runAt = -1;
  let runLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && values[i + length] === 0) length++;
    if (length > runLength) {
      runAt = i;
      runLength = length;
    }
  }
  const hex = (from: number, to: number): string =>
    values
      .slice(from, to)
      .map(value => value.toString(16))
      .join(':');
  return runAt === -1 ? hex(0, 8) : `${hex(0, runAt)}::${hex(runAt + runLength, 8)}`;
}
