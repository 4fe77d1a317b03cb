// Where messages enter in a session thread: those that a ready reply answers are answered here, as front threads do
// over UDP, and all others are handed over to the main thread.

import { addressOctets } from '../base/address.js';
import type { FrontCounts } from '../base/front-counts.js';
import { u16At } from '../base/octets.js';
import type { MonoMs } from '../base/time.js';
import type { Entrance, MessageHandOver, Respond } from '../front/front.js';
import type { ReadyReplies } from '../front/ready-replies.js';
import { StreamClient } from '../listen/stream.js';
import type { SessionLoop } from '../listen/turns.js';
import type { Client } from '../pipeline/query.js';
import type { Admission } from '../policy/admission.js';
import { FLAG, flagsOf, HEADER_BYTES, rcodeOf } from '../wire/header.js';
import { ignoredAs } from '../wire/query.js';
import {
  type HandedQuery,
  type HandedReply,
  Packing,
  type Parcel,
  type SessionState,
  Unpacking,
} from './session-messages.js';

/** The parts that it uses. */
export interface SessionFrontParts {
  readonly admission: Admission;
  readonly ready: Pick<ReadyReplies, 'read' | 'find' | 'type' | 'negative'>;
  readonly counts: FrontCounts;
  readonly state: SessionState;
  readonly monotonicMs: () => MonoMs;
  /** Seconds on a clock that all threads share. */
  readonly nowSec: () => number;
  /** The event loop that the sessions are in. */
  readonly loop: SessionLoop;
  /** Sends what was handed over in a turn. */
  readonly send: (queries: Parcel<HandedQuery>, transfer: readonly ArrayBuffer[]) => void;
}

/** The front, as sessions in a thread of their own see it. */
export class SessionFront implements Entrance, MessageHandOver {
  readonly handOver: MessageHandOver = this;
  private readonly packing = new Packing<HandedQuery>();
  /** Those who wait for a reply of the main thread. */
  private readonly waiting = new Map<number, Respond>();
  last = 0;
  /** Those who are told when more was taken. */
  private awaiting: (() => void)[] = [];
  /** The turn of the loop in which it has looked for changes; undefined: the loop does not count them. */
  private round: number | undefined = undefined;
  /** The time at that moment, on the clock that all threads share. */
  private nowSec = 0;

  constructor(private readonly parts: SessionFrontParts) {}

  handle(message: Buffer, client: Client, respond: Respond, missed?: boolean): boolean {
    const ignored = ignoredAs(message);
    if (ignored !== undefined) {
      this.parts.counts.closed(ignored);
      return false;
    }
    const found = missed ?? this.atOnce(message, 0, message.length, client) ?? false;
    if (typeof found === 'boolean') return this.hand(message, client, respond, found);
    respond(found);
    return false;
  }

  atOnce(message: Buffer, from: number, to: number, client: Client): Buffer | boolean | undefined {
    // It must not be answered.
    if (to - from < HEADER_BYTES || (u16At(message, from + 2) & FLAG.QR) !== 0) return undefined;
    const octets = octetsOf(client);
    // One that cannot be read: the front decides.
    if (octets === undefined) return false;
    const { admission } = this.parts;
    this.look();
    const isServed = admission.rule(octets, 0, octets.length === 4 ? 4 : 16, true, this.nowSec) === 'serve';
    if (!isServed || !admission.isAllowed) return isServed;
    return this.readyReply(message, from, to, client, octets) ?? true;
  }

  /** Takes replies of the main thread. */
  take(replies: Parcel<HandedReply>): void {
    this.takeRest(new Unpacking(replies));
  }

  private takeRest(replies: Unpacking<HandedReply>): void {
    let isOver = false;
    try {
      while (replies.pass(this.answer));
      isOver = true;
    } finally {
      // After an exception: the others are those of others.
      if (!isOver) this.parts.loop.soon(() => this.takeRest(replies));
    }
  }

  private readonly answer = ({ id, isReply }: HandedReply, reply: Buffer): void => {
    const respond = this.waiting.get(id);
    this.waiting.delete(id);
    this.parts.state.waiting = this.waiting.size;
    respond?.(isReply ? reply : undefined);
  };

  isTaken(id: number): boolean {
    return ((id - this.parts.state.taken) | 0) <= 0;
  }

  whenTaken(then: () => void): void {
    const { state } = this.parts;
    this.awaiting.push(then);
    state.awaitTaken();
    // All may have been taken meanwhile: then nobody says so.
    if (this.isTaken(this.last)) this.parts.loop.soon(this.taken);
  }

  /** The main thread has taken some of what was handed over. */
  readonly taken = (): void => {
    const { awaiting } = this;
    this.awaiting = [];
    for (const then of awaiting) then();
  };

  /** Takes over changes, and the time: once for all messages of a turn, if the loop counts them. */
  private look(): void {
    const { loop, admission, nowSec } = this.parts;
    const { round } = loop;
    if (round !== undefined && round === this.round) return;
    this.round = round;
    admission.look();
    this.nowSec = nowSec();
  }

  private readyReply(message: Buffer, from: number, to: number, client: Client, octets: Buffer): Buffer | undefined {
    const { admission, ready, monotonicMs, loop } = this.parts;
    const startedAt = loop.roundMs ?? monotonicMs();
    const ofPlace = client.at === undefined ? 0 : (admission.classOfPlace?.(client.at) ?? 0);
    const clientClass = admission.classOf(octets, 0, octets.length === 4 ? 4 : 16) || ofPlace;
    if (!ready.read(message, true, clientClass, from, to)) return undefined;
    const reply = ready.find(message, true, true, from);
    if (reply === undefined) return undefined;
    const { counts } = this.parts;
    const { type, negative } = ready;
    counts.hit(client.family === 6, type, rcodeOf(flagsOf(reply)), negative, to - from, reply.length);
    counts.took((monotonicMs() - startedAt) / 1000, 1);
    return reply;
  }

  /** The reply comes later. */
  private hand(message: Buffer, client: Client, respond: Respond, missed: boolean): true {
    const { state } = this.parts;
    const id = ++this.last;
    this.waiting.set(id, respond);
    state.waiting = this.waiting.size;
    if (this.packing.isEmpty) this.parts.loop.soon(this.send);
    else if (this.packing.isFullFor(message.length)) this.parts.send(...this.packing.take());
    this.packing.add({ id, client, missed }, message);
    return true;
  }

  private readonly send = (): void => this.parts.send(...this.packing.take());
}

const octetsOf = (client: Client): Buffer | undefined =>
  client instanceof StreamClient ? client.octets : addressOctets(client.address);
