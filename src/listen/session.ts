// One TCP or DoT session of a client (RFC 7766, RFC 7858): pipelined queries, and replies in any order. A client that
// reads slowly, or never completes a frame, does not affect others. Everything that is owed to a client has a bound in
// octets, whether its answers wait for a server or come from the cache at once.

import { putU16 } from '../base/octets.js';
import type { Entrance, Respond } from '../front/front.js';
import { frameReader } from '../wire/frame.js';
import type { Connection } from './connection.js';
import type { Memory } from './memory.js';
import type { Occupant, Place } from './sessions.js';
import type { Turns, Worker } from './turns.js';
import { Untaken } from './untaken.js';

/** Bounds of one session. */
export interface SessionLimits {
  /** Queries in flight on one session; when there are fewer again, more are read (RFC 7766 §6.2.1.1). */
  readonly inflightPerSession: number;
  /** When more reply octets are unread, nothing more is read from the client. */
  readonly unreadBytes: number;
}

/** The parts that a session uses. */
export interface SessionParts {
  readonly front: Entrance;
  readonly memory: Memory;
  readonly turns: Turns;
  readonly limits: SessionLimits;
}

/** While more queries can be handled, replies wait for each other up to so many octets. */
const WRITE_BYTES = 1 << 14;
/** A write takes as long as some cached answers, */
const WORK_OF_WRITE = 4;
/** and so many octets of a reply take as long as one. */
const WORK_BITS = 11;

/** Octets [from, to) of a piece of memory. */
interface Rest {
  readonly piece: Buffer;
  readonly from: number;
  readonly to: number;
}

const NOTHING: Rest = { piece: Buffer.alloc(0), from: 0, to: 0 };

/** A session, from the moment when queries may arrive. */
export class ClientSession implements Occupant, Worker {
  private readonly frames = frameReader();
  /** Queries that wait for an answer, */
  private inflight = 0;
  /** and those of them that were handed over. */
  private readonly untaken: Untaken;
  /** Messages that have come. */
  private messages = 0;
  /** The client sends no more. */
  private ended = false;
  /** It closes after the last reply. */
  private finishing = false;
  /** Octets that have come and must wait, because of a limit. Reading stops while there are any. */
  private rest: Rest | undefined = undefined;
  /** Whether `rest` is being handled: an answer that comes meanwhile must not start that again. */
  private working = false;
  /** The replies of a turn of the event loop, each with its length in front, for one write; and their octets. */
  private replies: Buffer | undefined = undefined;
  private repliesBytes = 0;
  /** The memory of a write that is not finished. There is one at a time, so that little is lent for unread octets. */
  private writing: Buffer | undefined = undefined;

  /** @param place its place in the table of sessions, which closes it when it is idle for too long */
  constructor(
    private readonly socket: Connection,
    private readonly client: Parameters<Entrance['handle']>[1],
    private readonly place: Place,
    private readonly parts: SessionParts,
  ) {
    place.occupant = this;
    this.untaken = new Untaken(parts, this);
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.on('end', () => {
      this.ended = true;
      this.closeIfDone();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.forget());
  }

  get owedBytes(): number {
    return this.repliesBytes + this.socket.writableLength;
  }

  close(): void {
    this.socket.destroy();
  }

  /** Closes after the last reply. */
  finish(): void {
    this.finishing = true;
    this.closeIfDone();
  }

  takeTurn(): void {
    this.goOn();
    if (this.rest !== undefined && !this.isFull() && this.repliesBytes < WRITE_BYTES) return;
    this.write();
    this.goOn();
  }

  private read(chunk: Buffer): void {
    const begins = !this.frames.partial;
    const { messages } = this;
    this.parts.turns.begin();
    const taken = this.rest === undefined && !this.isEnough() ? this.handle(chunk) : 0;
    if (taken < chunk.length) this.keep(chunk.subarray(taken));
    // No other replies can be gathered now: a turn for the write alone would cost as much as the reply.
    if (this.rest === undefined) this.write();
    else if (this.repliesBytes > 0) this.parts.turns.add(this);
    this.goOn();
    // Single octets of a frame that is never completed keep no session open.
    if (begins || this.messages > messages) this.place.active();
  }

  /** Keeps octets for later. */
  private keep(octets: Buffer): void {
    const { piece, from, to } = this.rest ?? NOTHING;
    const more = this.parts.memory.take(to - from + octets.length);
    piece.copy(more, 0, from, to);
    octets.copy(more, to - from);
    this.forgetRest();
    this.rest = { piece: more, from: 0, to: to - from + octets.length };
  }

  private forgetRest(): void {
    if (this.rest !== undefined) this.parts.memory.give(this.rest.piece);
    this.rest = undefined;
  }

  /** Handles what has come as far as the limits allow, and then reads on, or not. */
  private goOn(): void {
    const { socket, rest } = this;
    if (this.working || socket.destroyed) return;
    if (rest !== undefined && !this.isEnough()) {
      const from = rest.from + this.handle(rest.piece.subarray(rest.from, rest.to));
      if (this.repliesBytes > 0) this.parts.turns.add(this);
      if (from < rest.to) this.rest = { ...rest, from };
      else this.forgetRest();
    }
    const full = this.isFull();
    if (this.rest !== undefined && !full) this.parts.turns.add(this);
    if (this.rest !== undefined || full) socket.pause();
    else if (socket.isPaused()) socket.resume();
    this.closeIfDone();
  }

  /** Handles messages as far as the limits allow. Returns how many octets were taken. */
  private handle(octets: Buffer): number {
    this.working = true;
    try {
      return this.frames.split(octets, this.receive, this.isEnough);
    } catch (error) {
      // os/process-errors decides whether the process ends. This session cannot continue: the rest is lost.
      this.socket.destroy();
      throw error;
    } finally {
      this.working = false;
    }
  }

  /** Whether nothing more may be handled until the client reads, or servers answer. */
  private isFull(): boolean {
    const { limits } = this.parts;
    const { inflightPerSession, unreadBytes } = limits;
    return this.inflight >= inflightPerSession || this.owedBytes >= unreadBytes || this.untaken.isFull;
  }

  private readonly isEnough = (): boolean => this.parts.turns.isOver || this.isFull();

  /** Takes the message in [from, to) of `octets`. */
  private readonly receive = (octets: Buffer, from: number, to: number): void => {
    this.messages++;
    this.parts.turns.spend(1);
    const { front } = this.parts;
    const found = front.atOnce?.(octets, from, to, this.client);
    if (typeof found === 'object') this.respond(found);
    else this.ask(octets.subarray(from, to), found);
  };

  /** @param missed see Entrance */
  private ask(message: Buffer, missed: boolean | undefined): void {
    let waits = false;
    const respond: Respond = reply => {
      if (reply !== undefined) this.respond(reply);
      if (waits) this.answered();
    };
    waits = this.parts.front.handle(message, this.client, respond, missed);
    if (!waits) return;
    this.untaken.add();
    if (this.inflight++ === 0) this.place.waits();
  }

  /** A waiting query was answered. */
  private answered(): void {
    if (--this.inflight === 0) this.place.rests();
    this.goOn();
  }

  private respond(reply: Buffer): void {
    if (this.socket.destroyed) return;
    const bytes = this.repliesBytes + 2 + reply.length;
    const room = this.roomFor(bytes);
    putU16(room, this.repliesBytes, reply.length);
    room.set(reply, this.repliesBytes + 2);
    this.repliesBytes = bytes;
    this.parts.turns.spend(reply.length >> WORK_BITS);
    // Replies to what is being handled are written afterwards.
    if (!this.working) this.parts.turns.add(this);
    if (this.owedBytes > this.parts.limits.unreadBytes) this.place.owesMuch();
  }

  /** Memory for so many octets of replies, with those that are there already. */
  private roomFor(bytes: number): Buffer {
    const { replies, parts } = this;
    if (replies !== undefined && replies.length >= bytes) return replies;
    const more = parts.memory.take(bytes);
    if (replies !== undefined) {
      replies.copy(more, 0, 0, this.repliesBytes);
      parts.memory.give(replies);
    }
    return (this.replies = more);
  }

  private write(): void {
    const { replies, repliesBytes, socket, parts } = this;
    if (replies === undefined || this.writing !== undefined || socket.destroyed) return;
    this.replies = undefined;
    this.repliesBytes = 0;
    this.writing = replies;
    parts.turns.spend(WORK_OF_WRITE);
    // In one segment (RFC 7766 §8).
    socket.write(parts.memory.beginning(replies, repliesBytes), this.taken);
    // The kernel mostly takes all at once. Node.js says so some time later.
    if (socket.writableLength === 0) this.finishWrite();
  }

  /** The kernel has taken all of a write. */
  private readonly taken = (): void => {
    // Or of one that was finished already, while another is not.
    if (this.writing === undefined || this.socket.writableLength > 0) return;
    this.finishWrite();
    this.place.active();
    this.parts.turns.add(this);
  };

  private finishWrite(): void {
    if (this.writing !== undefined) this.parts.memory.give(this.writing);
    this.writing = undefined;
  }

  /** Gives memory back, but for what is being written: that is left to the garbage collector. */
  private forget(): void {
    this.untaken.close();
    this.parts.turns.remove(this);
    this.forgetRest();
    if (this.replies !== undefined) this.parts.memory.give(this.replies);
    this.replies = undefined;
    this.repliesBytes = 0;
  }

  private closeIfDone(): void {
    if ((this.ended || this.finishing) && this.inflight === 0 && this.rest === undefined && this.repliesBytes === 0)
      this.socket.end();
  }
}
