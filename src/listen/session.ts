// One TCP or DoT session of a client (RFC 7766, RFC 7858): pipelined queries, and replies in any order. A client that
// reads slowly, or never completes a frame, does not affect others. Everything that is owed to a client has a bound in
// octets, whether its answers wait for a server or come from the cache at once.

import type { Socket } from 'node:net';

import type { Front } from '../front/front.js';
import { framed, frameReader } from '../wire/frame.js';
import type { Occupant, Place } from './sessions.js';

/** Bounds of one session. */
export interface SessionLimits {
  /** Queries in flight on one session; when there are fewer again, more are read (RFC 7766 §6.2.1.1). */
  readonly inflightPerSession: number;
  /** Queries handled in one turn of the event loop, so that other clients have theirs. */
  readonly queriesPerTurn: number;
  /** When more reply octets are unread, nothing more is read from the client. */
  readonly unreadBytes: number;
}

/** The parts that a session uses. */
export interface SessionParts {
  readonly front: Front;
  readonly limits: SessionLimits;
}

/** A session, from the moment when queries may arrive. */
export class ClientSession implements Occupant {
  private readonly frames = frameReader();
  /** Queries that wait for an answer. */
  private inflight = 0;
  /** Queries handled in this turn. */
  private handled = 0;
  /** The client sends no more. */
  private ended = false;
  /** It closes after the last reply. */
  private finishing = false;
  /** Octets that have come and must wait, because of a limit. Reading stops while there are any. */
  private rest: Buffer | undefined;
  /** Whether `rest` is being handled: an answer that comes meanwhile must not start that again. */
  private working = false;
  /** Replies of one turn of the event loop, which are sent in one write, and their octets. */
  private replies: Buffer[] = [];
  private repliesBytes = 0;
  /** Whether a flush is scheduled. */
  private scheduled = false;
  /** Never less than the octets after which Node.js reports that the client has read them. */
  private readonly unreadBytes: number;

  /** @param place its place in the table of sessions, which closes it when it is idle for too long */
  constructor(
    private readonly socket: Socket,
    private readonly client: Parameters<Front['handle']>[1],
    private readonly place: Place,
    private readonly parts: SessionParts,
  ) {
    this.unreadBytes = Math.max(parts.limits.unreadBytes, socket.writableHighWaterMark);
    place.occupant = this;
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.on('drain', () => {
      place.active();
      this.goOn();
    });
    socket.on('end', () => {
      this.ended = true;
      this.closeIfDone();
    });
    socket.on('error', () => socket.destroy());
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

  private read(chunk: Buffer): void {
    const begins = !this.frames.partial;
    this.rest = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    const { handled } = this;
    this.goOn();
    // Single octets of a frame that is never completed keep no session open.
    if (begins || this.handled > handled) this.place.active();
  }

  /** Handles what has come as far as the limits allow, and then reads on, or not. */
  private goOn(): void {
    const { socket, rest } = this;
    if (this.working || socket.destroyed) return;
    if (rest !== undefined && !this.isFull()) {
      this.working = true;
      this.rest = undefined;
      try {
        const taken = this.frames.push(rest, this.receive, this.isFull);
        if (taken < rest.length) this.rest = rest.subarray(taken);
      } catch (error) {
        // os/process-errors decides whether the process ends. This session cannot continue: the rest of the chunk is
        // lost.
        socket.destroy();
        throw error;
      }
      this.working = false;
    }
    if (this.rest !== undefined || this.isFull()) socket.pause();
    else if (socket.isPaused()) socket.resume();
    this.closeIfDone();
  }

  private readonly isFull = (): boolean => {
    const { limits } = this.parts;
    return (
      this.handled >= limits.queriesPerTurn ||
      this.inflight >= limits.inflightPerSession ||
      this.owedBytes >= this.unreadBytes
    );
  };

  private readonly receive = (message: Buffer): void => {
    // The next turn has room again.
    if (++this.handled === this.parts.limits.queriesPerTurn) this.schedule();
    let waits = false;
    // The query may wait until upstream answers, after the memory of the chunk was reused.
    waits = this.parts.front.handle(Buffer.from(message), this.client, reply => {
      this.respond(reply);
      if (waits) this.answered();
    });
    if (waits && this.inflight++ === 0) this.place.waits();
  };

  /** A waiting query was answered. */
  private answered(): void {
    if (--this.inflight === 0) this.place.rests();
    this.goOn();
  }

  private respond(reply: Buffer): void {
    if (this.socket.destroyed) return;
    this.replies.push(framed(reply));
    this.repliesBytes += 2 + reply.length;
    if (this.owedBytes > this.unreadBytes) this.place.owesMuch();
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.flush);
  }

  private readonly flush = (): void => {
    const bytes = this.replies.length === 1 ? this.replies[0] : Buffer.concat(this.replies);
    this.scheduled = false;
    this.handled = 0;
    this.replies = [];
    this.repliesBytes = 0;
    if (bytes === undefined || this.socket.destroyed) return;
    if (bytes.length > 0) this.socket.write(bytes);
    this.goOn();
  };

  private closeIfDone(): void {
    if ((this.ended || this.finishing) && this.inflight === 0 && this.rest === undefined && this.replies.length === 0)
      this.socket.end();
  }
}
