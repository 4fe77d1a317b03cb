// The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B). Codes of one length follow each other in the order of their
// symbols, and begin where the shorter ones have ended, so that the lengths say all.

import { SIX_BITS } from './http-request.js';

/** The symbols with a code of each length; two of them with `-` stand for all between. 256 is the end of a string. */
const LENGTHS: readonly (readonly [bits: number, symbols: string])[] = [
  [5, '48-50 97 99 101 105 111 115-116'],
  [6, '32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117'],
  [7, '58 66-87 89 106-107 113 118-122'],
  [8, '38 42 44 59 88 90'],
  [10, '33-34 40-41 63'],
  [11, '39 43 124'],
  [12, '35 62'],
  [13, '0 36 64 91 93 126'],
  [14, '94 125'],
  [15, '60 96 123'],
  [19, '92 195 208'],
  [20, '128 130-131 162 184 194 224 226'],
  [21, '153 161 167 172 176-177 179 209 216-217 227 229-230'],
  [22, '129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233'],
  [23, '1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239'],
  [24, '9 142 144-145 148 159 171 206 215 225 236-237'],
  [25, '199 207 234-235'],
  [26, '192-193 200-202 205 210 213 218-219 238 240 242-243 255'],
  [27, '203-204 211-212 214 221-223 241 244-248 250-254'],
  [28, '2-8 11-12 14-21 23-31 127 220 249'],
  [30, '10 13 22 256'],
];
const SHORTEST_BITS = 5;
const LONGEST_BITS = 30;
const END = 256;

/** Codes of one length. */
interface Row {
  readonly bits: number;
  readonly symbols: readonly number[];
  /** Its first code, and the one behind its last, each with zeros up to 32 bits. */
  readonly from: number;
  readonly to: number;
}

const ROWS: readonly Row[] = (() => {
  let from = 0;
  return LENGTHS.map(([bits, text]) => {
    const symbols = text.split(' ').flatMap(each => {
      const [first = 0, last = first] = each.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
    const row = { bits, symbols, from, to: from + symbols.length * 2 ** (32 - bits) };
    from = row.to;
    return row;
  });
})();

const rowOf = (window: number): Row | undefined => ROWS.find(({ to }) => window < to);

/** What the next 8 bits begin with: a symbol, and 16 bits higher how long its code is; 0: its code is longer. */
const SHORT: Int32Array = Int32Array.from({ length: 256 }, (_, octet) => {
  const row = rowOf(octet * 2 ** 24);
  if (row === undefined || row.bits > 8) return 0;
  return (row.bits << 16) | (row.symbols[(octet * 2 ** 24 - row.from) >>> (32 - row.bits)] ?? 0);
});

/** The most octets that so many octets stand for. */
export const mostUnpacked = (bytes: number): number => Math.floor((8 * bytes) / SHORTEST_BITS);

/**
 * Reads a string. @param into has room for `mostUnpacked`
 * @returns how many octets it has; -1: it is malformed
 */
export function unpack(octets: Uint8Array, from: number, to: number, into: Uint8Array): number {
  let written = 0;
  // The lowest bits of the window are those that were taken from the octets, and not read yet.
  let window = 0;
  let held = 0;
  for (let next = from; ;) {
    if (held < 8 && next < to) {
      window = (window << 8) | (octets[next++] ?? 0);
      held += 8;
    }
    if (held < 8) return unpackEnd(window, held, written, into);
    const found = SHORT[(window >>> (held - 8)) & 0xff] ?? 0;
    if (found !== 0) {
      into[written++] = found;
      held -= found >>> 16;
      continue;
    }
    const at = 8 * (next - from) - held;
    const long = longAt(octets, from, to, at);
    const end = at + (long >>> 16);
    if (end > 8 * (to - from) || (long & 0xffff) === END) return -1;
    into[written++] = long;
    next = from + (end >>> 3);
    held = 0;
    if ((end & 7) === 0) continue;
    window = octets[next++] ?? 0;
    held = 8 - (end & 7);
  }
}

/**
 * Less than 8 bits are left: one symbol at most, and what fills the last octet up: less than an octet of the code of the
 * end, whose bits are all 1 (§5.2).
 */
function unpackEnd(window: number, held: number, written: number, into: Uint8Array): number {
  const found = SHORT[((window << (8 - held)) | (0xff >>> held)) & 0xff] ?? 0;
  const bits = found >>> 16;
  if (bits === 0 || bits > held) return isFilled(window, held) ? written : -1;
  into[written] = found;
  return isFilled(window, held - bits) ? written + 1 : -1;
}

/** The same as SHORT for what base64url has: in place of a symbol, the six bits that it stands for. */
const SHORT_SIX_BITS: Int32Array = SHORT.map(found => {
  const value = SIX_BITS[found & 0xff] ?? -1;
  return found === 0 || value < 0 ? 0 : (found & ~0xffff) | value;
});

/**
 * Reads a string of base64url without padding: all of its characters have short codes, so that it is read in one go.
 * @param bit where it begins, counted from octet `from`
 * @param into has room for as many octets as that are
 * @returns how many octets it stands for; -1: it is malformed, or nothing
 */
export function unpackBase64url(octets: Uint8Array, from: number, to: number, bit: number, into: Uint8Array): number {
  let next = from + (bit >>> 3);
  let held = -bit & 7;
  let window = held === 0 ? 0 : (octets[next++] ?? 0);
  let characters = 0;
  let written = 0;
  let value = 0;
  for (;;) {
    if (held < 8 && next < to) {
      window = (window << 8) | (octets[next++] ?? 0);
      held += 8;
    }
    const following = held < 8 ? (window << (8 - held)) | (0xff >>> held) : window >>> (held - 8);
    const found = SHORT_SIX_BITS[following & 0xff] ?? 0;
    const bits = found >>> 16;
    if (bits === 0 || bits > held) break;
    held -= bits;
    value = (value << 6) | (found & 0x3f);
    if ((++characters & 3) !== 0) continue;
    into[written++] = value >>> 16;
    into[written++] = value >>> 8;
    into[written++] = value;
  }
  const rest = characters & 3;
  if (next < to || held > 7 || !isFilled(window, held) || characters === 0 || rest === 1) return -1;
  if (rest >= 2) into[written++] = rest === 2 ? value >>> 4 : value >>> 10;
  if (rest === 3) into[written++] = value >>> 2;
  return written;
}

/** The codes of some symbols, one behind the other: their octets, filled up with 0, and how many bits they have. */
export function packed(symbols: Uint8Array): { readonly octets: Uint8Array; readonly bits: number } {
  let digits = '';
  for (const symbol of symbols) {
    const row = ROWS.find(each => each.symbols.includes(symbol));
    if (row === undefined) continue;
    const code = row.from / 2 ** (32 - row.bits) + row.symbols.indexOf(symbol);
    digits += code.toString(2).padStart(row.bits, '0');
  }
  const octets = (digits.match(/.{1,8}/g) ?? []).map(each => parseInt(each.padEnd(8, '0'), 2));
  return { octets: Uint8Array.from(octets), bits: digits.length };
}

const isFilled = (octet: number, bits: number): boolean => (octet & ((1 << bits) - 1)) === (1 << bits) - 1;

/** Behind the string there are bits that are 1. */
const octetAt = (octets: Uint8Array, at: number, to: number): number => (at < to ? (octets[at] ?? 0) : 0xff);

/** 8 bits from a bit on. */
function shortAt(octets: Uint8Array, from: number, to: number, bit: number): number {
  const at = from + (bit >>> 3);
  return (((octetAt(octets, at, to) << 8) | octetAt(octets, at + 1, to)) >>> (8 - (bit & 7))) & 0xff;
}

/** The code that begins at a bit: its symbol, and 16 bits higher its length. */
function longAt(octets: Uint8Array, from: number, to: number, bit: number): number {
  let window = 0;
  for (let i = 0; i < 4; i++) window = window * 256 + shortAt(octets, from, to, bit + 8 * i);
  const row = rowOf(window);
  if (row === undefined) return (LONGEST_BITS << 16) | END;
  return (row.bits << 16) | (row.symbols[Math.floor((window - row.from) / 2 ** (32 - row.bits))] ?? END);
}
