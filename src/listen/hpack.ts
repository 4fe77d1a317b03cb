// Header fields of HTTP/2 as octets (HPACK, RFC 7541): reads those of requests, and writes those of responses without a
// table of their own, so that a connection has nothing to keep for them.

import { mostUnpacked, unpack } from './huffman.js';

/** The size of the table that a client may fill, as it counts (RFC 9113 §6.5.2): the default, which is not announced. */
export const TABLE_BYTES = 4096;
/** What a block begins with to say that there is no table (RFC 7541 §4.2, §6.3). */
export const NO_TABLE = 0x20;
/** What an entry counts beside its octets (RFC 7541 §4.1). */
export const ENTRY_BYTES = 32;
/** A number has at most so many octets behind its prefix, so that it stays below 2^29. */
const MOST_MORE_OCTETS = 4;

interface Field {
  readonly name: string;
  readonly value: string;
}

/** The static table (Appendix A): names, with their values if they have one. The first has index 1. */
const STATIC: readonly Field[] = (
  ':authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|' +
  ':status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|' +
  'accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|' +
  'authorization|cache-control|content-disposition|content-encoding|content-language|content-length|' +
  'content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|' +
  'if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|' +
  'proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|' +
  'strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate'
)
  .split('|')
  .map(each => {
    const [name = '', value = ''] = /^(\S+) ?(.*)$/.exec(each)?.slice(1) ?? [];
    return { name, value };
  });

const sizeOf = ({ name, value }: Field): number => name.length + value.length + ENTRY_BYTES;

const NOTHING = Buffer.alloc(0);

/** Gets the fields of a block, in order. */
export type TakeField = (name: string, value: string) => void;

/** Reads the blocks of one connection: each one may change the table that later ones refer to. */
export class FieldReader {
  /** The entries of the client, the newest last. At most TABLE_BYTES / ENTRY_BYTES of them. */
  private readonly entries: Field[] = [];
  private bytes = 0;
  private most = TABLE_BYTES;
  private block: Buffer = NOTHING;
  private end = 0;
  private malformed = false;
  /** How often the table has changed. */
  changes = 0;
  /** While a field is taken: where the next one begins, */
  at = 0;
  /** and where its value begins, if that is in the block and is not kept; else -1. */
  valueAt = -1;

  /**
   * Reads the block in octets [from, to).
   * @returns false: it is malformed, and the state of the table is unknown from then on
   */
  read(block: Buffer, from: number, to: number, take: TakeField): boolean {
    this.block = block;
    this.at = from;
    this.end = to;
    this.malformed = false;
    let isFirst = true;
    while (this.at < to) {
      const octet = block[this.at] ?? 0;
      // A new size of the table comes before all fields (§4.2).
      if (octet >= 0x20 && octet < 0x40 && isFirst) {
        this.resize(this.number(0x1f));
      } else {
        isFirst = false;
        this.field(octet, take);
      }
      if (this.isMalformed()) break;
    }
    this.block = NOTHING;
    return !this.isMalformed();
  }

  private field(octet: number, take: TakeField): void {
    // An entry (§6.1), a field for the table (§6.2.1), or one that is not kept (§6.2.2, §6.2.3).
    const isEntry = octet >= 0x80;
    const isKept = !isEntry && octet >= 0x40;
    if (!isEntry && !isKept && octet >= 0x20) return this.fail();
    this.valueAt = -1;
    const index = this.number(isEntry ? 0x7f : isKept ? 0x3f : 0x0f);
    const entry = index === 0 && !isEntry ? undefined : this.entry(index);
    if (this.isMalformed()) return;
    if (isEntry) return entry && take(entry.name, entry.value);
    const name = entry?.name ?? this.text();
    if (!isKept) this.valueAt = this.at;
    const value = this.text();
    if (this.isMalformed()) return;
    if (isKept) this.keep({ name, value });
    take(name, value);
  }

  private entry(index: number): Field | undefined {
    const entry =
      index <= STATIC.length ? STATIC[index - 1] : this.entries[this.entries.length + STATIC.length - index];
    if (entry === undefined) this.fail();
    return entry;
  }

  /** One that has no room empties the table (§4.4). */
  private keep(field: Field): void {
    this.changes++;
    this.bytes += sizeOf(field);
    this.entries.push(field);
    this.evict();
  }

  private resize(most: number): void {
    if (most > TABLE_BYTES) return this.fail();
    this.changes++;
    this.most = most;
    this.evict();
  }

  private evict(): void {
    while (this.bytes > this.most) {
      const oldest = this.entries.shift();
      this.bytes -= oldest === undefined ? this.bytes : sizeOf(oldest);
    }
  }

  /** A number whose first bits are in the octet at hand (§5.1). @param mask the bits of that octet */
  private number(mask: number): number {
    const { block, end } = this;
    let value = (block[this.at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 7 * MOST_MORE_OCTETS && this.at < end; shift += 7) {
      const octet = block[this.at++] ?? 0;
      value += (octet & 0x7f) << shift;
      if (octet < 0x80) return value;
    }
    this.fail();
    return 0;
  }

  /** A string (§5.2). */
  private text(): string {
    const { block, end } = this;
    const isPacked = (block[this.at] ?? 0) >= 0x80;
    const bytes = this.number(0x7f);
    const from = this.at;
    this.at += bytes;
    // Also if there was no octet for its length.
    if (this.at > end) this.fail();
    if (this.isMalformed()) return '';
    if (!isPacked) return block.toString('latin1', from, this.at);
    const room = roomFor(mostUnpacked(bytes));
    const unpacked = unpack(block, from, this.at, room);
    if (unpacked >= 0) return room.toString('latin1', 0, unpacked);
    this.fail();
    return '';
  }

  private isMalformed(): boolean {
    return this.malformed;
  }

  private fail(): void {
    this.malformed = true;
  }
}

/** Memory for one string at a time. Few are larger. */
const ROOM = Buffer.alloc(1 << 12);
const roomFor = (bytes: number): Buffer => (bytes <= ROOM.length ? ROOM : Buffer.allocUnsafeSlow(bytes));

/**
 * Writes a field that nobody keeps, without Huffman codes (§6.2.2).
 * @param name its index in the static table, below 128, or the name itself
 * @param value at most 126 octets
 * @returns where it ends
 */
export function putField(into: Buffer, at: number, name: number | string, value: string): number {
  let end = at;
  if (typeof name === 'string') {
    into[end++] = 0;
    end = putText(into, end, name);
  } else if (name < 0x0f) into[end++] = name;
  else {
    into[end++] = 0x0f;
    into[end++] = name - 0x0f;
  }
  return putText(into, end, value);
}

function putText(into: Buffer, at: number, text: string): number {
  into[at] = text.length;
  return at + 1 + into.write(text, at + 1, 'latin1');
}

/**
 * Where the octets of a short string begin (§5.2), below 255 of them.
 * @param end where it must end
 * @returns -1: it is another, or larger
 */
export function stringAt(block: Uint8Array, at: number, end: number): number {
  const bytes = (block[at] ?? 0) & 0x7f;
  if (bytes < 0x7f) return at + 1 + bytes === end ? at + 1 : -1;
  // One more octet says the length of strings up to 254.
  const more = block[at + 1] ?? 0;
  return more < 0x80 && at + 2 + bytes + more === end ? at + 2 : -1;
}

/** Whether the string there is in Huffman codes. */
export const isPackedAt = (block: Uint8Array, at: number): boolean => (block[at] ?? 0) >= 0x80;
