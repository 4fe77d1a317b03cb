// UDP in batches (recvmmsg, sendmmsg): sockets that share a port, and the arrays of structures through which the kernel
// hands over many datagrams at a time. Replies leave from the address that the query came to (IP_PKTINFO).
//
//   struct mmsghdr  msghdr { name*, namelen u32, iov*, iovlen, control*, controllen, flags int }, len u32
//   struct iovec    base*, len
//   cmsg            len, level int, type int, then data (in_pktinfo, in6_pktinfo)

import { addressOctets, addressText, zoneOf } from '../base/address.js';
import { finishedHash, FNV_OFFSET, hashed } from '../base/hash.js';
import { copyOctets } from '../base/octets.js';
import { SystemError } from '../base/system-error.js';
import { type Libc, LINUX } from './libc.js';
import { indexOf } from './listen-address.js';

/** Datagrams per call. */
export const BATCH = 64;
/** Longest query that is read; longer ones are cut, and then are FORMERR. */
export const QUERY_ROOM_BYTES = 4096;
/** struct sockaddr_in6; sockaddr_in is shorter. */
export const NAME_BYTES = 28;
/** sin6_scope_id in it. */
export const SCOPE_AT = 24;
/** Room for the control messages of a datagram. */
export const CONTROL_BYTES = 64;

/** An address to bind, or the address of a socket that is open already. */
export interface BindAddress {
  readonly address: string;
  readonly port: number;
  readonly fd?: number;
  /** The index of the interface that its zone names; left out: it is looked up. */
  readonly scope?: number;
}

/** Room for bursts of a household; the kernel cuts it to net.core.rmem_max and wmem_max. */
export const SOCKET_BUFFER_BYTES = 1 << 20;

/** Gives a socket that room, unless it has more: a service manager may go beyond what the kernel allows others. */
function widen(libc: Libc, fd: number): void {
  for (const buffer of [LINUX.SO_RCVBUF, LINUX.SO_SNDBUF])
    if (libc.getsockopt(fd, LINUX.SOL_SOCKET, buffer) < SOCKET_BUFFER_BYTES)
      libc.setsockopt(fd, LINUX.SOL_SOCKET, buffer, SOCKET_BUFFER_BYTES);
}

/**
 * Opens and binds a UDP socket whose port others may share; for a socket that is open already, makes another
 * descriptor. @throws SystemError
 */
export function openUdp(libc: Libc, at: BindAddress): number {
  const octets = addressOctets(at.address);
  if (octets === undefined) throw new SystemError('bind', -LINUX.EADDRNOTAVAIL, at);
  const six = octets.length === 16;
  const must = (call: string, result: number): number => {
    if (result < 0) throw new SystemError(call, result, at);
    return result;
  };
  const fd =
    at.fd !== undefined
      ? must('fcntl', libc.dup(at.fd))
      : must('socket', libc.socket(six ? LINUX.AF_INET6 : LINUX.AF_INET, LINUX.SOCK_DGRAM | LINUX.SOCK_CLOEXEC, 0));
  try {
    if (at.fd === undefined) must('setsockopt', libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_REUSEPORT, 1));
    widen(libc, fd);
    if (six && at.fd === undefined) must('setsockopt', libc.setsockopt(fd, LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY, 1));
    if (isAny(octets)) {
      if (six) must('setsockopt', libc.setsockopt(fd, LINUX.IPPROTO_IPV6, LINUX.IPV6_RECVPKTINFO, 1));
      else must('setsockopt', libc.setsockopt(fd, LINUX.IPPROTO_IP, LINUX.IP_PKTINFO, 1));
    }
    if (at.fd === undefined) must('bind', bindEvenAhead(libc, fd, at));
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/**
 * Binds a socket. An address that this machine does not have now is bound, too, and is served once it comes: one that
 * another program is about to add, or an IPv6 address that may not be used before the kernel has made sure that nobody
 * else has it (RFC 4862 §5.4). @returns below 0: `-errno`
 */
export function bindEvenAhead(libc: Libc, fd: number, at: BindAddress): number {
  const name = socketAddress(at, libc);
  const bound = libc.bind(fd, name);
  if (bound !== -LINUX.EADDRNOTAVAIL) return bound;
  // The option of IPv4 is the one of IPv6 sockets, too.
  libc.setsockopt(fd, LINUX.IPPROTO_IP, LINUX.IP_FREEBIND, 1);
  return libc.bind(fd, name);
}

/** Errors of bind(2) for an address that the machine does not have. */
const NOT_HERE: ReadonlySet<number> = new Set([-LINUX.EADDRNOTAVAIL, -LINUX.ENODEV, -LINUX.EINVAL]);

/** Whether this machine has an address now, and may use it. If that cannot be found out, it counts as had. */
export function hasAddress(libc: Libc, at: BindAddress): boolean {
  const six = at.address.includes(':');
  const fd = libc.socket(six ? LINUX.AF_INET6 : LINUX.AF_INET, LINUX.SOCK_DGRAM | LINUX.SOCK_CLOEXEC, 0);
  if (fd < 0) return fd !== -LINUX.EAFNOSUPPORT;
  const bound = libc.bind(fd, socketAddress({ ...at, port: 0 }, libc));
  libc.close(fd);
  return !NOT_HERE.has(bound);
}

/** The port that a socket is bound to. */
export function portOf(libc: Libc, fd: number): number {
  const name = Buffer.alloc(NAME_BYTES);
  return libc.getsockname(fd, name) < 0 ? 0 : name.readUInt16BE(2);
}

const isAny = (octets: Buffer): boolean => octets.every(octet => octet === 0);

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress({ address, port, scope }: BindAddress, libc: Libc): Buffer {
  const octets = addressOctets(address) ?? Buffer.alloc(4);
  const zone = zoneOf(address);
  const name = Buffer.alloc(octets.length === 4 ? 16 : NAME_BYTES);
  name.writeUInt16LE(octets.length === 4 ? LINUX.AF_INET : LINUX.AF_INET6, 0);
  name.writeUInt16BE(port, 2);
  octets.copy(name, octets.length === 4 ? 4 : 8);
  // sin6_scope_id, in the byte order of the machine: without it a link-local address leads nowhere.
  if (octets.length === 16 && zone !== undefined)
    name.writeUInt32LE(scope ?? Math.max(0, indexOf(zone, libc)), SCOPE_AT);
  return name;
}

/** In a route: the octets of the name, those of the control messages, and then both. */
const ROUTE_HEAD_BYTES = 2;
/** The most octets of a route. */
export const MOST_ROUTE_BYTES = ROUTE_HEAD_BYTES + NAME_BYTES + CONTROL_BYTES;

/** Where the name of a route begins: struct sockaddr_in or sockaddr_in6 of the client. */
export const ROUTE_NAME_AT = ROUTE_HEAD_BYTES;

/**
 * The route to an address, from the address that the socket is bound to; in the form that `Messages.copyRoute` writes.
 */
export function routeTo(to: BindAddress, libc: Libc): Buffer {
  const name = socketAddress(to, libc);
  return Buffer.concat([Buffer.from([name.length, 0]), name]);
}

/**
 * The address that a datagram was sent to, by its control messages; undefined: they do not say.
 * @param octets has them, `bytes` octets at `at`
 */
function destinationIn(octets: Buffer, at: number, bytes: number, libc: Libc): string | undefined {
  // struct cmsghdr: length, level, type; then struct in_pktinfo (index, local address, address) or in6_pktinfo (address, index).
  const head = libc.pointerBytes + 8;
  if (bytes < head + 12) return undefined;
  const level = octets.readInt32LE(at + libc.pointerBytes);
  if (level === LINUX.IPPROTO_IP) return addressText(octets, at + head + 8, 4);
  return level === LINUX.IPPROTO_IPV6 && bytes >= head + 20 ? addressText(octets, at + head, 16) : undefined;
}

/** The address that the datagram with this route was sent to; undefined: it does not say. */
export const destinationOf = (route: Buffer, libc: Libc): string | undefined => {
  return destinationIn(route, ROUTE_HEAD_BYTES + (route[0] ?? 0), route[1] ?? 0, libc);
};

/** An array of struct mmsghdr with fixed memory for names, data and control. */
export class Messages {
  /** Octets of all datagrams: slot i starts at i * roomBytes. */
  readonly data: Buffer;
  readonly words: Int32Array;
  readonly names: Buffer;
  private readonly nameWords: Int32Array;
  private readonly control: Buffer;
  private readonly controlWords: Int32Array;
  private readonly headers: Buffer;
  private readonly headerWords: Int32Array;
  private readonly vectors: Buffer;
  private readonly vectorWords: Int32Array;
  /** Whose names and control messages the slots point at: of this array, or of the one whose datagrams they reply to; */
  private source: Messages;
  /** and of which slot there, by slot. */
  private readonly routeOf = new Uint8Array(BATCH);
  /** How many slots have lengths that must be reset before `receive`. */
  private filled = BATCH;
  private readonly headerBytes: number;
  private readonly namelenAt: number;
  private readonly controllenAt: number;
  private readonly flagsAt: number;
  private readonly lengthAt: number;

  constructor(
    private readonly libc: Libc,
    readonly roomBytes: number,
  ) {
    const p = libc.pointerBytes;
    const memory = new ArrayBuffer(BATCH * roomBytes);
    this.data = Buffer.from(memory);
    this.words = new Int32Array(memory);
    // Not from the pool: C code uses their addresses for as long as this object lives.
    this.names = Buffer.alloc(BATCH * NAME_BYTES);
    this.nameWords = new Int32Array(this.names.buffer, this.names.byteOffset, this.names.length / 4);
    this.control = Buffer.alloc(BATCH * CONTROL_BYTES);
    this.controlWords = new Int32Array(this.control.buffer, this.control.byteOffset, this.control.length / 4);
    this.source = this;
    const vectorMemory = new ArrayBuffer(BATCH * 2 * p);
    this.vectors = Buffer.from(vectorMemory);
    this.vectorWords = new Int32Array(vectorMemory);
    this.headerBytes = p === 8 ? 64 : 32;
    this.namelenAt = p;
    this.controllenAt = 5 * p;
    this.flagsAt = 6 * p;
    this.lengthAt = p === 8 ? 56 : 28;
    const headers = new ArrayBuffer(BATCH * this.headerBytes);
    this.headers = Buffer.from(headers);
    this.headerWords = new Int32Array(headers);
    const [names, data, control, vectors] = [this.names, this.data, this.control, this.vectors].map(each =>
      libc.address(each),
    );
    for (let i = 0; i < BATCH; i++) {
      this.writePointer(this.vectors, i * 2 * p, (data ?? 0n) + BigInt(i * roomBytes));
      const at = i * this.headerBytes;
      this.writePointer(this.headers, at, (names ?? 0n) + BigInt(i * NAME_BYTES));
      this.writePointer(this.headers, at + 2 * p, (vectors ?? 0n) + BigInt(i * 2 * p));
      this.headerWords[this.header(i, 3 * p)] = 1;
      this.writePointer(this.headers, at + 4 * p, (control ?? 0n) + BigInt(i * CONTROL_BYTES));
    }
  }

  /** Receives the datagrams that are there, up to BATCH. */
  receive(fd: number): number {
    // Only the slots that the kernel filled last time were changed.
    for (let i = 0; i < this.filled; i++) {
      this.headerWords[this.header(i, this.namelenAt)] = NAME_BYTES;
      this.headerWords[this.header(i, this.controllenAt)] = CONTROL_BYTES;
      this.vectorWords[this.vectorLength(i)] = this.roomBytes;
    }
    const received = this.libc.recvmmsg(fd, this.headers, BATCH, LINUX.MSG_DONTWAIT);
    this.filled = Math.max(0, received);
    return received;
  }

  /** Octets of the datagram received in slot i. */
  bytes(i: number): number {
    return this.headerWords[this.header(i, this.lengthAt)] ?? 0;
  }

  /**
   * Makes slot i a reply of `bytes` octets to the datagram in slot j of `query`: to its sender, from its destination.
   * The slot points at the names of `query`, so it must be sent before `query` receives again.
   */
  replyTo(i: number, query: Messages, j: number, bytes: number): void {
    const words = this.libc.pointerBytes >> 2;
    const to = i * (this.headerBytes >> 2);
    const from = j * (query.headerBytes >> 2);
    // Name and its length, then control and its length, copied as words, because pointers as numbers would be bigints.
    for (let word = 0; word <= words; word++) this.headerWords[to + word] = query.headerWords[from + word] ?? 0;
    for (let word = 4 * words; word <= 5 * words; word++)
      this.headerWords[to + word] = query.headerWords[from + word] ?? 0;
    this.headerWords[to + 6 * words] = 0;
    this.vectorWords[this.vectorLength(i)] = bytes;
    this.source = query;
    this.routeOf[i] = j;
  }

  /** Octets of the route of slot j: its sender and destination, which `fill` needs for the reply. */
  routeBytes(j: number): number {
    return (
      ROUTE_HEAD_BYTES +
      (this.headerWords[this.header(j, this.namelenAt)] ?? 0) +
      (this.headerWords[this.header(j, this.controllenAt)] ?? 0)
    );
  }

  /** Copies the route of slot j. */
  copyRoute(j: number, out: Buffer, at: number): void {
    const nameBytes = this.headerWords[this.header(j, this.namelenAt)] ?? 0;
    const controlBytes = this.headerWords[this.header(j, this.controllenAt)] ?? 0;
    out[at] = nameBytes;
    out[at + 1] = controlBytes;
    copyOctets(this.names, j * NAME_BYTES, nameBytes, out, at + ROUTE_HEAD_BYTES);
    copyOctets(this.control, j * CONTROL_BYTES, controlBytes, out, at + ROUTE_HEAD_BYTES + nameBytes);
  }

  /** The address that the datagram in slot j was sent to; undefined: only sockets of wildcards say. */
  destination(j: number): string | undefined {
    const bytes = this.headerWords[this.header(j, this.controllenAt)] ?? 0;
    return destinationIn(this.control, j * CONTROL_BYTES, bytes, this.libc);
  }

  /** Copies the datagram in slot j. */
  copyMessage(j: number, out: Buffer, at: number): void {
    copyOctets(this.data, j * this.roomBytes, this.bytes(j), out, at);
  }

  /** Makes slot i carry `reply` along a route, which may be followed by other octets. */
  fill(i: number, route: Buffer, reply: Buffer): void {
    const nameBytes = route[0] ?? 0;
    const controlBytes = route[1] ?? 0;
    copyOctets(route, ROUTE_HEAD_BYTES, nameBytes, this.names, i * NAME_BYTES);
    copyOctets(route, ROUTE_HEAD_BYTES + nameBytes, controlBytes, this.control, i * CONTROL_BYTES);
    copyOctets(reply, 0, reply.length, this.data, i * this.roomBytes);
    this.headerWords[this.header(i, this.namelenAt)] = nameBytes;
    this.headerWords[this.header(i, this.controllenAt)] = controlBytes;
    this.headerWords[this.header(i, this.flagsAt)] = 0;
    this.vectorWords[this.vectorLength(i)] = reply.length;
    this.source = this;
    this.routeOf[i] = i;
  }

  /**
   * Sends slots [from, to) without waiting.
   * @returns the first slot that the socket has no room for; `to`: none
   */
  send(fd: number, from: number, to: number): number {
    let next = from;
    while (next < to) {
      const result = this.libc.sendmmsg(fd, this.headersFrom(next), to - next, LINUX.MSG_DONTWAIT);
      if (result === -LINUX.EINTR) continue;
      if (result === -LINUX.EAGAIN) break;
      // Skip a datagram that cannot be sent (its network is gone), so that the others leave.
      next += result <= 0 ? 1 : result;
    }
    return next;
  }

  /** Sends slot i without waiting. Returns 1, or below 0 `-errno`. */
  sendOne(fd: number, i: number): number {
    for (;;) {
      const result = this.libc.sendmmsg(fd, this.headersFrom(i), 1, LINUX.MSG_DONTWAIT);
      if (result !== -LINUX.EINTR) return result;
    }
  }

  private headersFrom(i: number): Buffer {
    return i === 0 ? this.headers : this.headers.subarray(i * this.headerBytes);
  }

  /** A number for the address that slot i is sent to: the same for all replies to it. */
  hashOfRecipient(i: number): number {
    const { names } = this.source;
    const name = (this.routeOf[i] ?? 0) * NAME_BYTES;
    const six = names[name] === LINUX.AF_INET6;
    const at = name + (six ? 8 : 4);
    let hash = FNV_OFFSET;
    for (let octet = at; octet < at + (six ? 16 : 4); octet++) hash = hashed(hash, names[octet] ?? 0);
    return finishedHash(hash);
  }

  /** Octets that slot i sends. */
  lengthOf(i: number): number {
    return this.vectorWords[this.vectorLength(i)] ?? 0;
  }

  /** A number for the client and the length of slot i: the same for slots that are alike, and few others. */
  hashOfRoute(i: number): number {
    const { nameWords } = this.source;
    const name = ((this.routeOf[i] ?? 0) * NAME_BYTES) >> 2;
    // Family and port, and the IPv4 address or, of an IPv6 address, the last part.
    const hash =
      this.nameBytes(i) < NAME_BYTES
        ? (nameWords[name + 1] ?? 0)
        : (nameWords[name + 5] ?? 0) ^ (nameWords[name + 4] ?? 0);
    return Math.imul(hash ^ (nameWords[name] ?? 0) ^ this.lengthOf(i), 0x9e3779b1) >>> 16;
  }

  /** Whether two slots have the same length, the same client, and the same address of ours. */
  areAlike(i: number, j: number): boolean {
    const nameBytes = this.nameBytes(i);
    const controlBytes = this.controlBytes(i);
    if (this.lengthOf(i) !== this.lengthOf(j)) return false;
    if (nameBytes !== this.nameBytes(j) || controlBytes !== this.controlBytes(j)) return false;
    const { nameWords, controlWords } = this.source;
    const a = this.routeOf[i] ?? 0;
    const b = this.routeOf[j] ?? 0;
    return (
      areSame(nameWords, a * NAME_BYTES, b * NAME_BYTES, nameBytes) &&
      areSame(controlWords, a * CONTROL_BYTES, b * CONTROL_BYTES, controlBytes)
    );
  }

  /** Copies the struct mmsghdr of slot i to place `to` of an array of them. */
  copyHeader(i: number, out: Int32Array, to: number): void {
    const words = this.headerBytes >> 2;
    for (let word = 0; word < words; word++) out[to * words + word] = this.headerWords[i * words + word] ?? 0;
  }

  /** Copies the struct iovec of slot i to place `to` of an array of them. */
  copyVector(i: number, out: Int32Array, to: number): void {
    const words = this.libc.pointerBytes >> 1;
    for (let word = 0; word < words; word++) out[to * words + word] = this.vectorWords[i * words + word] ?? 0;
  }

  /** Copies the control messages of slot i. Returns how many words they take until the next one may begin. */
  copyControl(i: number, out: Int32Array, at: number): number {
    const p = this.libc.pointerBytes;
    const words = Math.ceil(this.controlBytes(i) / p) * (p >> 2);
    const from = ((this.routeOf[i] ?? 0) * CONTROL_BYTES) >> 2;
    for (let word = 0; word < words; word++) out[at + word] = this.source.controlWords[from + word] ?? 0;
    return words;
  }

  private nameBytes(i: number): number {
    return this.headerWords[this.header(i, this.namelenAt)] ?? 0;
  }

  private controlBytes(i: number): number {
    return this.headerWords[this.header(i, this.controllenAt)] ?? 0;
  }

  /** Where a field of header i is among the words. Sizes have 64 bits on most machines; their upper half stays 0. */
  private header(i: number, field: number): number {
    return (i * this.headerBytes + field) >> 2;
  }

  /** Where the length of vector i is. */
  private vectorLength(i: number): number {
    return ((2 * i + 1) * this.libc.pointerBytes) >> 2;
  }

  private writePointer(buffer: Buffer, at: number, pointer: bigint): void {
    if (this.libc.pointerBytes === 8) buffer.writeBigUInt64LE(pointer, at);
    else buffer.writeUInt32LE(Number(pointer), at);
  }
}

/** Whether `bytes` octets, whole words, are the same at two places. */
function areSame(words: Int32Array, a: number, b: number, bytes: number): boolean {
  for (let at = 0; at < bytes; at += 4) if (words[(a + at) >> 2] !== words[(b + at) >> 2]) return false;
  return true;
}
