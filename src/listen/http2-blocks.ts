// The header blocks of the requests of one connection over HTTP/2. A client that asks once more sends the same octets as
// before but for the message in its target: nothing else of such a block is read.

import { Beginnings } from '../base/octets.js';
import { HEADER_BYTES as MESSAGE_HEADER_BYTES } from '../wire/header.js';
import { FieldReader, ROOM, unpackString } from './hpack.js';
import { beginOfGet, fromBase64url, MOST_HEADER_BYTES, type RequestHead, type RequestParts } from './http-request.js';
import { RequestFields } from './http2-fields.js';

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

/** What connections of a listener share: the target of queries, and memory for one message at a time. */
export class QueryTargets {
  private readonly room = Buffer.alloc(ROOM.length);
  private readonly messages = new Beginnings(this.room);
  private path = '';
  /** What targets with a message begin with. */
  private begin: Uint8Array = Buffer.from(beginOfGet(''));

  /** The message in the target that is the beginning of ROOM; undefined: there is nothing that is one for certain. */
  messageIn(bytes: number, path: string): Buffer | undefined {
    if (path !== this.path) {
      this.path = path;
      this.begin = Buffer.from(beginOfGet(path), 'latin1');
    }
    const { begin, room } = this;
    if (bytes < begin.length) return undefined;
    for (let i = 0; i < begin.length; i++) if (ROOM[i] !== begin[i]) return undefined;
    const found = fromBase64url(ROOM, begin.length, bytes, room);
    return found < MESSAGE_HEADER_BYTES ? undefined : this.messages.of(found);
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
    const bytes = unpackString(octets, at, end);
    const message = bytes < 0 ? undefined : this.targets.messageIn(bytes, this.path());
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
    if (head === undefined || expectsContinue || fields.bytes > MOST_HEADER_BYTES - ROOM.length) return;
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

const NOTHING = Buffer.alloc(0);
