// Replies of one length to one client leave as one datagram that the kernel divides (UDP_SEGMENT, udp(7)): it finds the route and goes through its layers once for all of them. That helps where few sockets ask much, such as
// those of forwarders and proxies. Other replies leave as they are.

import { release } from 'node:os';

import { BATCH, CONTROL_BYTES, type Messages } from './datagrams.js';
import { type Libc, LINUX } from './libc.js';

/** The longest reply that is sent so. It fits into every packet: Linux uses no path MTU below 552 octets by itself. */
const MOST_SEGMENT_BYTES = 512;
/** An item of control messages with room for two octets. */
const CONTROL_ROOM_BYTES = CONTROL_BYTES + 24;
/** Places of the table in which a batch looks for replies to the same client, a power of two. */
const PLACES = 128;
const NONE = 255;
/** A batch in which fewer than one call in so many would be saved leaves as it is: to join two gains nothing by itself, */
const WORTHWHILE = 4;
/** and so do as many batches after it, since clients are the same for a while, and to look takes time. */
const REST_BATCHES = 16;
const WORD_BYTES = 4;
/**
 * Linux has it since 4.18, but what goes to another network namespace of the same machine (veth) arrives undivided, and
 * only from 5.0 on does a kernel divide that for a socket that does not know of it.
 */
const SINCE_LINUX = 5;

/**
 * Errors by which a kernel, a device without checksums of its own, or IPsec refuses it. They will not go away, and the
 * replies are sent one by one from then on.
 */
const REFUSALS: ReadonlySet<number> = new Set(
  [LINUX.EIO, LINUX.EINVAL, LINUX.ENOSYS, LINUX.EMSGSIZE, LINUX.ENOPROTOOPT, LINUX.EOPNOTSUPP].map(error => -error),
);

/** Sends batches of datagrams. */
export class Segments {
  /** The slots that the last `send` found no room for: so many of the first of these. */
  readonly left = new Uint8Array(BATCH);
  private leftSlots = 0;
  /** Whether the kernel knows it; undefined: it was not asked yet. */
  private isKnown: boolean | undefined = undefined;
  /** For how many batches nothing is looked for. */
  private rest = 0;
  /** The array of struct mmsghdr, one for each group of replies. */
  private readonly headers: Buffer;
  private readonly headerWords: Int32Array;
  /** Their arrays of struct iovec, one behind the other, */
  private readonly vectors: Buffer;
  private readonly vectorWords: Int32Array;
  /** and their control messages. */
  private readonly control = Buffer.alloc(BATCH * CONTROL_ROOM_BYTES);
  private readonly controlWords = new Int32Array(this.control.buffer, this.control.byteOffset, this.control.length / 4);
  /** The addresses of these, slot by slot, as words. */
  private readonly vectorAddresses: Int32Array;
  private readonly controlAddresses: Int32Array;
  /** Words of a pointer. */
  private readonly pointerWords: number;
  /** By a hash of client and length: the group that was found there last. */
  private readonly places = new Uint8Array(PLACES);
  /** By group: its first slot, its last one, and how many there are. */
  private readonly first = new Uint8Array(BATCH);
  private readonly last = new Uint8Array(BATCH);
  private readonly sizes = new Uint8Array(BATCH);
  /** By slot: the next one of its group. */
  private readonly next = new Uint8Array(BATCH);

  /** @param kernel the release of Linux, as uname(2) says it */
  constructor(
    private readonly libc: Libc,
    kernel = release(),
  ) {
    if (!(Number.parseInt(kernel, 10) >= SINCE_LINUX)) this.isKnown = false;
    const p = libc.pointerBytes;
    this.pointerWords = p / WORD_BYTES;
    const headers = new ArrayBuffer(BATCH * (p === 8 ? 64 : 32));
    this.headers = Buffer.from(headers);
    this.headerWords = new Int32Array(headers);
    const vectors = new ArrayBuffer(BATCH * 2 * p);
    this.vectors = Buffer.from(vectors);
    this.vectorWords = new Int32Array(vectors);
    this.vectorAddresses = addressesOf(libc, this.vectors, 2 * p);
    this.controlAddresses = addressesOf(libc, this.control, CONTROL_ROOM_BYTES);
  }

  /**
   * Sends slots [0, count) without waiting.
   * @returns how many of them the socket has no room for: these are in `left`
   */
  send(fd: number, messages: Messages, count: number): number {
    if (this.rest > 0) this.rest--;
    else if (count > 1 && (this.isKnown ??= this.libc.getsockopt(fd, LINUX.IPPROTO_UDP, LINUX.UDP_SEGMENT) >= 0)) {
      const groups = this.group(messages, count);
      if ((count - groups) * WORTHWHILE >= count) return this.sendGroups(fd, messages, groups);
      this.rest = REST_BATCHES;
    }
    this.leftSlots = 0;
    for (let i = messages.send(fd, 0, count); i < count; i++) this.left[this.leftSlots++] = i;
    return this.leftSlots;
  }

  /** Finds the groups of a batch, and returns how many there are. */
  private group(messages: Messages, count: number): number {
    const { places, first, last, sizes, next } = this;
    places.fill(NONE);
    let groups = 0;
    for (let i = 0; i < count; i++) {
      const place = messages.hashOfRoute(i) & (PLACES - 1);
      const group = places[place] ?? NONE;
      if (group !== NONE && messages.areAlike(first[group] ?? 0, i)) {
        next[last[group] ?? 0] = i;
        last[group] = i;
        sizes[group] = (sizes[group] ?? 0) + 1;
        continue;
      }
      // Those that may not be joined are not looked for.
      places[place] = messages.lengthOf(i) > MOST_SEGMENT_BYTES ? NONE : groups;
      first[groups] = last[groups] = i;
      sizes[groups++] = 1;
    }
    return groups;
  }

  private sendGroups(fd: number, messages: Messages, groups: number): number {
    let vector = 0;
    for (let group = 0; group < groups; group++) {
      const size = this.sizes[group] ?? 0;
      messages.copyHeader(this.first[group] ?? 0, this.headerWords, group);
      if (size === 1) continue;
      this.join(messages, group, vector);
      vector += size;
    }
    this.leftSlots = 0;
    for (let group = 0; group < groups;) {
      const sent = this.libc.sendmmsg(fd, this.headersFrom(group), groups - group, LINUX.MSG_DONTWAIT);
      if (sent === -LINUX.EINTR) continue;
      if (sent > 0) {
        group += sent;
        continue;
      }
      const isRefused = REFUSALS.has(sent) && (this.sizes[group] ?? 0) > 1;
      // What cannot be sent in any way says nothing about this one.
      if (this.sendSingly(fd, messages, group++) && isRefused) this.isKnown = false;
    }
    return this.leftSlots;
  }

  /** Sends the replies of a group one by one, so that none is lost with others. Returns whether one of them was. */
  private sendSingly(fd: number, messages: Messages, group: number): boolean {
    let isSent = false;
    let slot = this.first[group] ?? 0;
    for (let i = this.sizes[group] ?? 0; i > 0; i--) {
      const sent = messages.sendOne(fd, slot);
      if (sent > 0) isSent = true;
      else if (sent === -LINUX.EAGAIN) this.left[this.leftSlots++] = slot;
      slot = this.next[slot] ?? 0;
    }
    return isSent;
  }

  private headersFrom(group: number): Buffer {
    return group === 0 ? this.headers : this.headers.subarray((group * this.headers.length) / BATCH);
  }

  /** Makes the header of a group one for all its replies, with vectors from `vector` on. */
  private join(messages: Messages, group: number, vector: number): void {
    const { pointerWords: w, headerWords, controlWords } = this;
    const header = (group * headerWords.length) / BATCH;
    const size = this.sizes[group] ?? 0;
    let slot = this.first[group] ?? 0;
    for (let i = 0; i < size; i++) {
      messages.copyVector(slot, this.vectorWords, vector + i);
      slot = this.next[slot] ?? 0;
    }
    for (let word = 0; word < w; word++) {
      headerWords[header + 2 * w + word] = this.vectorAddresses[vector * w + word] ?? 0;
      headerWords[header + 4 * w + word] = this.controlAddresses[group * w + word] ?? 0;
    }
    headerWords[header + 3 * w] = size;
    // Behind the control messages of the first one: struct cmsghdr (length, level, type) and the length of a segment.
    const first = this.first[group] ?? 0;
    const at = (group * CONTROL_ROOM_BYTES) / WORD_BYTES;
    const behind = at + messages.copyControl(first, controlWords, at);
    controlWords[behind] = (w + 2) * WORD_BYTES + 2;
    if (w === 2) controlWords[behind + 1] = 0;
    controlWords[behind + w] = LINUX.IPPROTO_UDP;
    controlWords[behind + w + 1] = LINUX.UDP_SEGMENT;
    controlWords[behind + w + 2] = messages.lengthOf(first);
    headerWords[header + 5 * w] = (behind - at + 2 * w + 2) * WORD_BYTES;
  }
}

/** The address of each item of `bytes` octets in a buffer, as words. */
function addressesOf(libc: Libc, buffer: Buffer, bytes: number): Int32Array {
  const items = buffer.length / bytes;
  const address = libc.address(buffer);
  const wide = new BigInt64Array(items);
  for (let i = 0; i < items; i++) wide[i] = address + BigInt(i * bytes);
  const words = new Int32Array(wide.buffer);
  return libc.pointerBytes === 8 ? words : words.filter((_, i) => i % 2 === 0);
}
