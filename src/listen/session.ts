// One TCP or DoT session of a client (RFC 7766, RFC 7858): pipelined queries, and replies in any order. A client that
// reads slowly, or never completes a frame, does not affect others.

import type { Socket } from 'node:net';

import type { Observer } from '../base/observer.js';
import type { Front } from '../front/front.js';
import { framed, frameReader } from '../wire/frame.js';

/** Bounds of one session. */
export interface SessionLimits {
  /** A session without a query in flight is closed after this long. */
  readonly idleMs: number;
  /** Queries in flight on one session; when there are fewer again, more are read (RFC 7766 §6.2.1.1). */
  readonly inflightPerSession: number;
  /** When more reply octets are unread, nothing more is read from the client. */
  readonly unreadBytes: number;
}

/** The parts that a session uses. */
export interface SessionParts {
  readonly front: Front;
  readonly observer: Observer;
  readonly limits: SessionLimits;
}

/** A session, from the moment when queries may arrive. */
export class ClientSession {
  private readonly frames = frameReader();
  /** Queries that wait for an answer. */
  private inflight = 0;
  /** The client sends no more. */
  private ended = false;
  /** It closes after the last reply. */
  private finishing = false;
  /** Whether the frame that the chunk ends in, if any, began in this chunk. */
  private begun = false;
  /** Replies of one turn of the event loop, which are sent in one write. */
  private replies: Buffer[] = [];
  /** Queries of the last chunk that exceed the limit of queries in flight. Reading stops while there are any. */
  private readonly held: Buffer[] = [];
  /** Runs while the client does not read its replies. */
  private slowTimer: NodeJS.Timeout | undefined;
  /** Runs while a frame may be incomplete. */
  private frameTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly client: Parameters<Front['handle']>[1],
    private readonly parts: SessionParts,
  ) {
    socket.setTimeout(parts.limits.idleMs);
    socket.on('timeout', () => {
      // A slow reader has a timer of its own, and is counted.
      if (this.inflight === 0 && this.slowTimer === undefined) socket.destroy();
    });
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.on('drain', () => this.throttle());
    socket.on('end', () => {
      this.ended = true;
      this.closeIfDone();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(this.slowTimer);
      clearTimeout(this.frameTimer);
    });
  }

  /** Closes after the last reply. */
  finish(): void {
    this.finishing = true;
    this.closeIfDone();
  }

  private read(chunk: Buffer): void {
    const { frames } = this;
    this.begun = !frames.partial;
    try {
      frames.push(chunk, this.receive);
    } catch (error) {
      // os/process-errors decides whether the process ends. This session cannot continue: the rest of the chunk is
      // lost.
      this.socket.destroy();
      throw error;
    }
    // Once for all messages of a chunk: no timer fires in between.
    if (this.begun) this.watchFrame();
    this.throttle();
  }

  private readonly receive = (message: Buffer): void => {
    this.begun = true;
    // The query may wait until upstream answers, after the memory of the chunk was reused.
    const own = Buffer.from(message);
    if (this.inflight < this.parts.limits.inflightPerSession) this.handle(own);
    else this.held.push(own);
  };

  private handle(message: Buffer): void {
    let waits = false;
    waits = this.parts.front.handle(message, this.client, reply => {
      this.respond(reply);
      if (waits) this.answered();
    });
    if (waits) this.inflight++;
  }

  /** A waiting query was answered: held queries are handled. */
  private answered(): void {
    this.inflight--;
    while (this.inflight < this.parts.limits.inflightPerSession && this.held.length > 0) {
      const next = this.held.shift();
      if (next !== undefined) this.handle(next);
    }
    this.throttle();
  }

  private respond(reply: Buffer): void {
    if (this.replies.push(framed(reply)) === 1) setImmediate(this.flush);
  }

  private readonly flush = (): void => {
    const bytes = this.replies.length === 1 ? this.replies[0] : Buffer.concat(this.replies);
    this.replies = [];
    if (bytes === undefined || this.socket.destroyed) return;
    this.socket.write(bytes);
    this.throttle();
    this.closeIfDone();
  };

  /** Reads on only while the client reads its replies and few enough queries wait. */
  private throttle(): void {
    const { socket } = this;
    const { limits, observer } = this.parts;
    const slow = socket.writableLength > limits.unreadBytes;
    if (slow || this.inflight >= limits.inflightPerSession) socket.pause();
    else if (socket.isPaused()) socket.resume();
    if (slow && this.slowTimer === undefined) {
      this.slowTimer = setTimeout(() => {
        observer.dropped('slow_client');
        socket.destroy();
      }, limits.idleMs).unref();
    } else if (!slow && this.slowTimer !== undefined) {
      clearTimeout(this.slowTimer);
      this.slowTimer = undefined;
    }
  }

  /** A frame must be completed in time: a client that sends single octets must not keep a session open for ever. */
  private watchFrame(): void {
    if (this.frameTimer !== undefined) this.frameTimer.refresh();
    else
      this.frameTimer = setTimeout(() => {
        if (this.frames.partial) this.socket.destroy();
      }, this.parts.limits.idleMs).unref();
  }

  private closeIfDone(): void {
    if ((this.ended || this.finishing) && this.inflight === 0 && this.held.length === 0 && this.replies.length === 0)
      this.socket.end();
  }
}
