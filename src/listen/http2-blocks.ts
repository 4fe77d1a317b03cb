// The header blocks of the requests of one connection over HTTP/2. A client that asks once more sends the same octets as
// before but for the message in its target: nothing else of such a block is read.

import { Beginnings } from '../base/octets.js';
import { HEADER_BYTES as MESSAGE_HEADER_BYTES } from '../wire/header.js';
import { FieldReader, isPackedAt, stringAt } from './hpack.js';
import { beginOfGet, fromBase64url, MOST_HEADER_BYTES, type RequestHead, type RequestParts } from './http-request.js';
import { RequestFields } from './http2-fields.js';
import { packed, unpackBase64url } from './huffman.js';

const NOTHING = Buffer.alloc(0);

/** The octets of a block that are kept. */
const MOST_KNOWN_BYTES = 128;

/** The last block that left the table as it was. */
interface Known {
  /** How often the table had changed. */
  readonly changes: number;
  /** Its octets, with GET without the string of its target; and how many come before that. */
  readonly octets: Uint8Array;
  readonly before: number;
  /** What all requests with such a block have in common. */
  readonly recognised: Recognised;
}

/** What is known of a request without reading its block. */
export type Recognised =
  /** It has another target: that has a message, in `message`. */
  | { readonly at: 'message'; readonly parts: RequestParts }
  /** It is the same block. */
  | { readonly at: 'head'; readonly parts: RequestHead };

/** Memory for a message in a string that is read at once (`stringAt`), and what a target counts as with such a string. */
const ROOM_BYTES = 512;

/** What connections of a listener share: the target of queries, and memory for one message at a time. */
export class QueryTargets {
  private readonly room = Buffer.allocUnsafeSlow(ROOM_BYTES);
  private readonly messages = new Beginnings(this.room);
  private path: string | undefined = undefined;
  /** What targets with a message begin with, */
  private begin: Uint8Array = NOTHING;
  /** and the same in Huffman codes. */
  private packedBegin = packed(NOTHING);

  /**
   * The message in a target, whose string is in octets [at, end). It may be overwritten by the next one.
   * @returns undefined: there is nothing that is one for certain
   */
  messageIn(octets: Uint8Array, at: number, end: number, path: string): Buffer | undefined {
    if (path !== this.path) this.take(path);
    const from = stringAt(octets, at, end);
    if (from < 0) return undefined;
    const found = isPackedAt(octets, at) ? this.unpack(octets, from, end) : this.read(octets, from, end);
    return found < MESSAGE_HEADER_BYTES ? undefined : this.messages.of(found);
  }

  private take(path: string): void {
    this.path = path;
    this.begin = Buffer.from(beginOfGet(path), 'latin1');
    this.packedBegin = packed(this.begin);
  }

  private read(octets: Uint8Array, from: number, end: number): number {
    const { begin, room } = this;
    for (let i = 0; i < begin.length; i++) if (octets[from + i] !== begin[i]) return -1;
    return fromBase64url(octets, from + begin.length, end, room);
  }

  /** The same for Huffman codes: the begin has the same ones each time, and is not read. */
  private unpack(octets: Uint8Array, from: number, end: number): number {
    const { octets: begin, bits } = this.packedBegin;
    if (end - from < begin.length) return -1;
    const whole = bits >>> 3;
    for (let i = 0; i < whole; i++) if (octets[from + i] !== begin[i]) return -1;
    // The last octet may be shared with the first character of the message.
    if (((octets[from + whole] ?? 0) ^ (begin[whole] ?? 0)) >>> (8 - (bits & 7)) !== 0) return -1;
    return unpackBase64url(octets, from, end, bits, this.room);
  }
}

/** Reads the blocks of one connection. */
export class RequestBlocks {
  private readonly reader = new FieldReader();
  private known: Known | undefined = undefined;

  constructor(
    private readonly targets: QueryTargets,
    private readonly path: () => string,
  ) {}

  /** The message of the block that was recognised last. It may be overwritten when the next one is. */
  message: Buffer = NOTHING;

  /**
   * Compares the block in octets [from, to) with the last one. With GET, the message in its target may be another.
   * @returns undefined: `read` must follow
   */
  recognise(octets: Buffer, from: number, to: number): Recognised | undefined {
    const { known } = this;
    if (known === undefined || known.changes !== this.reader.changes) return undefined;
    const { before, octets: same, recognised } = known;
    const [at, end] = [from + before, to - (same.length - before)];
    const isLonger = recognised.at === 'message';
    if (isLonger ? at >= end : at !== end) return undefined;
    for (let i = 0; i < before; i++) if (octets[from + i] !== same[i]) return undefined;
    for (let i = before, j = end; j < to; i++, j++) if (octets[j] !== same[i]) return undefined;
    if (!isLonger) return recognised;
    const message = this.targets.messageIn(octets, at, end, this.path());
    if (message === undefined) return undefined;
    this.message = message;
    return recognised;
  }

  /** Reads the block in octets [from, to). @returns undefined: it is malformed, and so are all that follow */
  read(octets: Buffer, from: number, to: number): RequestFields | undefined {
    const { reader } = this;
    const { changes } = reader;
    const fields = new RequestFields();
    const target = { from: -1, to: -1 };
    const isRead = reader.read(octets, from, to, (name, value) => {
      if (name === ':path') {
        target.from = reader.valueAt;
        target.to = reader.at;
      }
      fields.add(name, value);
    });
    if (!isRead) return undefined;
    if (changes === reader.changes) this.know(fields, octets.subarray(from, to), target.from - from, target.to - from);
    return fields;
  }

  /** Keeps a block. @param targetAt where the string of its target is, from here to `targetEnd`, if it is in the block */
  private know(fields: RequestFields, block: Buffer, targetAt: number, targetEnd: number): void {
    const { head, expectsContinue } = fields;
    // A longer target must not make it too large.
    if (head === undefined || expectsContinue || fields.bytes > MOST_HEADER_BYTES - ROOM_BYTES) return;
    const { changes } = this.reader;
    const isGet = targetAt >= 0 && head.target.startsWith(beginOfGet(this.path())) && READS.has(head.method);
    const [before, after] = isGet ? [targetAt, block.length - targetEnd] : [block.length, 0];
    if (before + after > MOST_KNOWN_BYTES) return;
    // V8 has such small arrays in its own heap.
    const same = new Uint8Array(before + after);
    same.set(block.subarray(0, before));
    same.set(block.subarray(block.length - after), before);
    const recognised: Recognised = isGet ? { at: 'message', parts: withoutTarget(head) } : { at: 'head', parts: head };
    this.known = { changes, octets: same, before, recognised };
  }
}

/** Field by field: with `...parts`, V8 makes a shape for each copy, and finds fields of a thousand shapes by their names. */
const withoutTarget = (head: RequestHead): RequestParts => {
  const { method, contentType, contentEncoding, contentLength, host, forwardedFor } = head;
  return { method, contentType, contentEncoding, contentLength, host, forwardedFor };
};

/** The methods with the message in the target. */
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD']);
