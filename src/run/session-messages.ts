// What the main thread and the session thread say to each other. Messages of clients, and replies to them, are gathered
// for a turn of the event loop: one message between threads takes as long as some cached answers.

import type { AgeSec, WallMs } from '../base/time.js';
import { IDLE_MS } from '../listen/sessions.js';
import type { ServerCredentials } from '../listen/tls-acceptor.js';
import type { ListenAddress } from '../os/listen-address.js';
import type { Client } from '../pipeline/query.js';
import type { AdmissionMemory } from '../policy/admission.js';
import type { HttpsRulesPlan } from './https.js';

/** The transports whose sessions may be in the session thread. */
export const THREAD_TRANSPORTS = ['tls', 'https'] as const;
export type ThreadTransport = (typeof THREAD_TRANSPORTS)[number];

/** Bounds of the table of sessions over one transport. */
export interface TableBounds {
  readonly max: number;
  readonly maxPerClient: number;
}

/** The work of the session thread. */
export interface SessionWork {
  readonly packets: SharedArrayBuffer;
  readonly admission: AdmissionMemory;
  /** Of FrontCounts. */
  readonly counts: Readonly<Record<ThreadTransport, SharedArrayBuffer>>;
  /** Of SessionState. */
  readonly state: SharedArrayBuffer;
  readonly tables: Readonly<Record<ThreadTransport, TableBounds>>;
  readonly rules: HttpsRulesPlan;
  /** The time on the age clock of the main thread, and the wall clock at that moment. */
  readonly age: AgeSec;
  readonly at: WallMs;
}

/** What a listener in the session thread shall do. */
export type ListenerTask =
  | { readonly at: 'make' | 'credentials'; readonly credentials: ServerCredentials | undefined }
  | { readonly at: 'set' | 'keep'; readonly addresses: readonly ListenAddress[] }
  | { readonly at: 'close' | 'destroy' };

/** The fields of a system error, which are lost when an error goes from thread to thread. */
export type ErrorFields = Pick<NodeJS.ErrnoException, 'message' | 'stack' | 'code' | 'errno' | 'syscall'> &
  Partial<ListenAddress>;

/** Where a listener in the session thread listens. */
export interface Listening {
  readonly bound: readonly ListenAddress[];
  readonly unopened: readonly { readonly at: ListenAddress; readonly error: ErrorFields }[];
}

/** A message of a client for the front. */
export interface HandedQuery {
  readonly id: number;
  readonly client: Client;
  /** Whether the client was ruled on, and the packet cache searched, already. */
  readonly missed: boolean;
}

/** What a message takes beside its octets until it is taken. */
const MESSAGE_BYTES = 64;

/** How many octets a message that is handed over counts for. */
export const costOf = (message: Buffer): number => MESSAGE_BYTES + message.length;

/** A reply to one. */
export interface HandedReply {
  readonly id: number;
  /** Whether there is one. */
  readonly isReply: boolean;
}

/** To the session thread. */
export type ToSessions =
  | { readonly at: 'work'; readonly work: SessionWork }
  | { readonly at: 'listener'; readonly call: number; readonly transport: ThreadTransport; readonly task: ListenerTask }
  | { readonly at: 'rules'; readonly rules: HttpsRulesPlan }
  | { readonly at: 'replies'; readonly replies: Parcel<HandedReply> }
  /** Queries that were handed over have been taken. */
  | { readonly at: 'taken' };

/** From the session thread. */
export type FromSessions =
  | { readonly at: 'started' | 'working' }
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
  readonly octets: ArrayBuffer;
  readonly heads: readonly Head[];
  /** Octets of each message. */
  readonly bytes: readonly number[];
}

const FIRST_BYTES = 1 << 12;
/** A larger piece of memory is not kept. */
const MOST_KEPT_BYTES = 1 << 17;

/** Gathers messages. */
export class Packing<Head> {
  private octets = Buffer.allocUnsafeSlow(FIRST_BYTES);
  private used = 0;
  private heads: Head[] = [];
  private bytes: number[] = [];

  /** Adds a copy of a message. @returns whether it is the first one */
  add(head: Head, message: Buffer): boolean {
    const end = this.used + message.length;
    if (end > this.octets.length) {
      const more = Buffer.allocUnsafeSlow(Math.max(2 * this.octets.length, end));
      this.octets.copy(more, 0, 0, this.used);
      this.octets = more;
    }
    message.copy(this.octets, this.used);
    this.used = end;
    this.bytes.push(message.length);
    return this.heads.push(head) === 1;
  }

  /** Takes what was gathered. */
  take(): Parcel<Head> {
    const { heads, bytes, used } = this;
    const octets = new ArrayBuffer(used);
    this.octets.copy(Buffer.from(octets), 0, 0, used);
    this.heads = [];
    this.bytes = [];
    this.used = 0;
    if (this.octets.length > MOST_KEPT_BYTES) this.octets = Buffer.allocUnsafeSlow(FIRST_BYTES);
    return { octets, heads, bytes };
  }
}

/** Takes a parcel apart, message by message. */
export class Unpacking<Head> {
  private next = 0;
  private from = 0;

  constructor(private readonly parcel: Parcel<Head>) {}

  /** Passes the next message on, whose memory is its own. @returns false: there was none */
  pass(take: (head: Head, message: Buffer) => void): boolean {
    const { octets, heads, bytes } = this.parcel;
    const head = heads[this.next];
    if (head === undefined) return false;
    const length = bytes[this.next++] ?? 0;
    const message = Buffer.from(octets, this.from, length);
    this.from += length;
    take(head, message);
    return true;
  }
}

/** The words of the state, */
const TAKEN = 0;
const HELD = 1;
const WAITING = 2;
const WORDS = 4;
/** and, for each transport, its open sessions and how long one may be idle, ms. */
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
    const memory = new SharedArrayBuffer(4 * WORDS + 8 * NUMBERS * THREAD_TRANSPORTS.length);
    const state = new SessionState(memory);
    for (const transport of THREAD_TRANSPORTS) state.note(transport, 0, IDLE_MS);
    return memory;
  }

  /** Notes how many sessions are open, and how long one may be idle. */
  note(transport: ThreadTransport, open: number, idleMs: number): void {
    this.numbers[at(transport, OPEN)] = open;
    this.numbers[at(transport, IDLE)] = idleMs;
  }

  open(transport: ThreadTransport): number {
    return this.numbers[at(transport, OPEN)] ?? 0;
  }

  idleMs(transport: ThreadTransport): number {
    return this.numbers[at(transport, IDLE)] ?? IDLE_MS;
  }

  /** Queries that were handed over and have no reply yet. */
  get waiting(): number {
    return Atomics.load(this.words, WAITING);
  }

  set waiting(queries: number) {
    Atomics.store(this.words, WAITING, queries);
  }

  /** The main thread has taken so much. @returns whether the session thread waits for that */
  take(amount: number): boolean {
    Atomics.add(this.words, TAKEN, amount);
    return Atomics.exchange(this.words, HELD, 0) !== 0;
  }

  /** Whether too much of what was handed over, ever, was not taken. If so, the session thread is told when it was. */
  mustWait(handed: number, most: number): boolean {
    const isTooMuch = (): boolean => ((handed - Atomics.load(this.words, TAKEN)) | 0) > most;
    if (!isTooMuch()) return false;
    Atomics.store(this.words, HELD, 1);
    // It may have been taken meanwhile, by a thread that did not see the word yet.
    return isTooMuch();
  }
}

const at = (transport: ThreadTransport, what: number): number => NUMBERS * THREAD_TRANSPORTS.indexOf(transport) + what;
