// What the main thread and a session thread say to each other. Messages of clients, and replies to them, are gathered
// for a turn of the event loop: one message between threads takes as long as some cached answers.

import type { AgeSec, WallMs } from '../base/time.js';
import { IDLE_MS } from '../listen/sessions.js';
import type { ServerCredentials } from '../os/openssl.js';
import type { ListenAddress } from '../os/listen-address.js';
import type { Client } from '../pipeline/query.js';
import type { AdmissionMemory } from '../policy/admission.js';
import type { HttpsRulesPlan } from './https.js';

/** The transports whose sessions may be in threads of their own. */
export const THREAD_TRANSPORTS = ['tls', 'https'] as const;
export type ThreadTransport = (typeof THREAD_TRANSPORTS)[number];

/** Bounds of the table of sessions over one transport. */
export interface TableBounds {
  readonly max: number;
  readonly maxPerClient: number;
}

/** The work of a session thread. */
export interface SessionWork {
  readonly transport: ThreadTransport;
  /** Becomes readable when there are messages for it, or it must end: a loop of its own does not notice otherwise. */
  readonly wakeFd: number;
  readonly packets: SharedArrayBuffer;
  readonly admission: AdmissionMemory;
  /** Of FrontCounts. */
  readonly counts: SharedArrayBuffer;
  /** Of SessionState. */
  readonly state: SharedArrayBuffer;
  readonly table: TableBounds;
  readonly rules: HttpsRulesPlan;
  /** The time on the age clock of the main thread, and the wall clock at that moment. */
  readonly age: AgeSec;
  readonly at: WallMs;
}

/** What the listener in a session thread shall do. */
export type ListenerTask =
  | { readonly at: 'make' | 'credentials'; readonly credentials: ServerCredentials | undefined }
  | { readonly at: 'set' | 'keep'; readonly addresses: readonly ListenAddress[] }
  | { readonly at: 'close' | 'destroy' };

/** The fields of a system error, which are lost when an error goes from thread to thread. */
export type ErrorFields = Pick<NodeJS.ErrnoException, 'message' | 'stack' | 'code' | 'errno' | 'syscall'> &
  Partial<ListenAddress>;

/** Where the listener in a session thread listens. */
export interface Listening {
  readonly bound: readonly ListenAddress[];
  readonly unopened: readonly { readonly at: ListenAddress; readonly error: ErrorFields }[];
}

/** A message of a client for the front. */
export interface HandedQuery {
  /** They are numbered in order, from 1. */
  readonly id: number;
  readonly client: Client;
  /** Whether the client was ruled on, and the packet cache searched, already. */
  readonly missed: boolean;
}

/** A reply to one. */
export interface HandedReply {
  readonly id: number;
  /** Whether there is one. */
  readonly isReply: boolean;
}

/** To the session thread. */
export type ToSessions =
  | { readonly at: 'work'; readonly work: SessionWork }
  | { readonly at: 'listener'; readonly call: number; readonly task: ListenerTask }
  | { readonly at: 'rules'; readonly rules: HttpsRulesPlan }
  | { readonly at: 'replies'; readonly replies: Parcel<HandedReply> }
  /** Queries that were handed over have been taken. */
  | { readonly at: 'taken' }
  | { readonly at: 'end' };

/** From the session thread. */
export type FromSessions =
  | { readonly at: 'started' }
  /** `waits`: it waits in the kernel, and must be woken; `unavailable`: why it does not, although that would cost less. */
  | { readonly at: 'working'; readonly waits: boolean; readonly unavailable?: string }
  | { readonly at: 'done'; readonly call: number; readonly listening: Listening; readonly error?: ErrorFields }
  | { readonly at: 'queries'; readonly queries: Parcel<HandedQuery> }
  /** An error that nothing has caught: a system error with its fields, or a broken invariant. */
  | { readonly at: 'uncaught'; readonly error: unknown; readonly fields: ErrorFields | undefined };

/** The fields of a system error. */
export const errorFields = (error: NodeJS.ErrnoException & Partial<ListenAddress>): ErrorFields => {
  const { message, stack, code, errno, syscall, address, port } = error;
  return { message, stack, code, errno, syscall, address, port } as ErrorFields;
};

/** The error with these fields. */
export const errorOf = ({ message, ...fields }: ErrorFields): NodeJS.ErrnoException =>
  Object.assign(new Error(message), fields);

/** Several messages, one behind the other, each with a head. */
export interface Parcel<Head> {
  /** Shared memory is only lent: `Unpacking` gives it back. */
  readonly octets: ArrayBuffer | SharedArrayBuffer;
  readonly heads: readonly Head[];
  /** Octets of each message. */
  readonly bytes: readonly number[];
}

const FIRST_BYTES = 1 << 12;
/** What a parcel has room for: two of the largest messages. */
const PARCEL_BYTES = 1 << 17;
/** Smaller ones are not worth lent memory. */
const LENT_FROM_BYTES = 1 << 14;
const MOST_LENT = 8;

/**
 * Memory for large parcels, which is used again and again: the garbage collector frees what comes from another thread
 * long after its use.
 */
class LentMemory {
  private readonly pieces: SharedArrayBuffer[] = [];

  /** A piece of PARCEL_BYTES; undefined: all are in use. */
  take(): SharedArrayBuffer | undefined {
    for (const piece of this.pieces) if (Atomics.compareExchange(useOf(piece), 0, 0, 1) === 0) return piece;
    if (this.pieces.length === MOST_LENT) return undefined;
    const piece = new SharedArrayBuffer(PARCEL_BYTES + 4);
    Atomics.store(useOf(piece), 0, 1);
    this.pieces.push(piece);
    return piece;
  }
}

/** Whether a piece is in use: a word behind its octets. */
const useOf = (piece: SharedArrayBuffer): Int32Array => new Int32Array(piece, PARCEL_BYTES, 1);

/** Gathers messages. */
export class Packing<Head> {
  private octets = Buffer.allocUnsafeSlow(FIRST_BYTES);
  private used = 0;
  private heads: Head[] = [];
  private bytes: number[] = [];
  private readonly lent = new LentMemory();

  get isEmpty(): boolean {
    return this.heads.length === 0;
  }

  /** Whether a message of so many octets has no room beside those that are there. */
  isFullFor(bytes: number): boolean {
    return this.used + bytes > PARCEL_BYTES;
  }

  /** Adds a copy of a message. */
  add(head: Head, message: Buffer): void {
    const end = this.used + message.length;
    if (end > this.octets.length) {
      const more = Buffer.allocUnsafeSlow(Math.max(2 * this.octets.length, end));
      this.octets.copy(more, 0, 0, this.used);
      this.octets = more;
    }
    message.copy(this.octets, this.used);
    this.used = end;
    this.bytes.push(message.length);
    this.heads.push(head);
  }

  /** Takes what was gathered. @returns with it, the memory to transfer */
  take(): readonly [parcel: Parcel<Head>, transfer: readonly ArrayBuffer[]] {
    const { heads, bytes, used } = this;
    const lent = used >= LENT_FROM_BYTES && used <= PARCEL_BYTES ? this.lent.take() : undefined;
    const own = lent === undefined ? new ArrayBuffer(used) : undefined;
    const octets = own ?? lent ?? new ArrayBuffer(0);
    this.octets.copy(Buffer.from(octets), 0, 0, used);
    this.heads = [];
    this.bytes = [];
    this.used = 0;
    return [{ octets, heads, bytes }, own === undefined ? [] : [own]];
  }
}

/** Takes a parcel apart, message by message. */
export class Unpacking<Head> {
  private next = 0;
  private from = 0;

  constructor(private readonly parcel: Parcel<Head>) {}

  /** Passes the next message on, which is only lent. @returns false: there was none, and the parcel is done with */
  pass(take: (head: Head, message: Buffer) => void): boolean {
    const { octets, heads, bytes } = this.parcel;
    const head = heads[this.next];
    if (head === undefined) {
      if (octets instanceof SharedArrayBuffer) Atomics.store(useOf(octets), 0, 0);
      return false;
    }
    const length = bytes[this.next++] ?? 0;
    const message = Buffer.from(octets, this.from, length);
    this.from += length;
    take(head, message);
    return true;
  }
}

/** The words of the state, */
const TAKEN = 0;
/** 1: the session thread waits for more to be taken; */
const AWAITED = 1;
const WAITING = 2;
/** 1: it must end; */
const STOPPED = 3;
const WORDS = 4;
/** and open sessions, and how long one may be idle, ms. */
const OPEN = 0;
const IDLE = 1;
const NUMBERS = 2;

/** Numbers that both threads see at once. */
export class SessionState {
  private readonly words: Int32Array;
  private readonly numbers: Float64Array;

  constructor(readonly memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, WORDS);
    this.numbers = new Float64Array(memory, 4 * WORDS);
  }

  static memory(): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(4 * WORDS + 8 * NUMBERS);
    new SessionState(memory).note(0, IDLE_MS);
    return memory;
  }

  /** Notes how many sessions are open, and how long one may be idle. */
  note(open: number, idleMs: number): void {
    this.numbers[OPEN] = open;
    this.numbers[IDLE] = idleMs;
  }

  get open(): number {
    return this.numbers[OPEN] ?? 0;
  }

  get idleMs(): number {
    return this.numbers[IDLE] ?? IDLE_MS;
  }

  /** Whether the session thread must end. */
  get isStopped(): boolean {
    return Atomics.load(this.words, STOPPED) !== 0;
  }

  stop(): void {
    Atomics.store(this.words, STOPPED, 1);
  }

  /** Queries that were handed over and have no reply yet. */
  get waiting(): number {
    return Atomics.load(this.words, WAITING);
  }

  set waiting(queries: number) {
    Atomics.store(this.words, WAITING, queries);
  }

  /** The number of the query that the main thread has taken last, and all before. */
  get taken(): number {
    return Atomics.load(this.words, TAKEN);
  }

  /** The main thread has taken queries, and sent the replies that it had. @returns whether it must say so */
  take(id: number): boolean {
    Atomics.store(this.words, TAKEN, id | 0);
    return Atomics.exchange(this.words, AWAITED, 0) !== 0;
  }

  /** Has the main thread say when it takes queries. `taken` must be read afterwards. */
  awaitTaken(): void {
    Atomics.store(this.words, AWAITED, 1);
  }
}
