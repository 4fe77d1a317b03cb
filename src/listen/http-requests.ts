// The requests of one connection for DNS over HTTPS (RFC 8484), whatever the version of HTTP: in which order they are
// handled, how many at once, and what is owed to the client.

import type { StreamObserver } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import type { Entrance, Respond } from '../front/front.js';
import type { Client } from '../pipeline/query.js';
import { FLAG, flagsOf, HEADER_BYTES } from '../wire/header.js';
import {
  forwardedClient,
  type HttpReply,
  isThisMachine,
  messageReply,
  MISDIRECTED,
  NO_MESSAGE,
  readRequest,
  type RequestHead,
  type RequestParts,
  textReply,
} from './http-request.js';
import type { Memory } from './memory.js';
import type { Place } from './sessions.js';
import type { SessionLimits } from './session.js';
import { clientAt, type StreamOrigin } from './stream.js';
import type { Turns, Worker } from './turns.js';
import { Untaken } from './untaken.js';

/** The octets of all messages of a connection that wait for their turn. Queries have some hundred. */
const MOST_QUEUED_BYTES = 1 << 17;

/** What connections for HTTPS use. */
export interface HttpParts {
  readonly front: Entrance;
  readonly memory: Memory;
  readonly turns: Turns;
  readonly limits: SessionLimits;
  readonly observer: StreamObserver;
  readonly clock: Clock;
  /** The path of queries. */
  readonly path: () => string;
  /** Whether an address is that of a reverse proxy, which says in X-Forwarded-For for whom it asks. */
  readonly isProxy: (address: string) => boolean;
  /** Whether all clients get the same answers. */
  readonly isShared: () => boolean;
}

/** Where a connection comes from. */
export interface Peer extends StreamOrigin {
  readonly overTls: boolean;
}

/** One request, as the session of its version of HTTP has it. */
export interface Exchange {
  /** Whether the client has cancelled it. */
  readonly isOver: boolean;
  /** Sends the response. The octets of a message are only lent. */
  send(reply: HttpReply): void;
  /** Ends it without a response: a rule of a list wants that. */
  abandon(): void;
}

/** The session that the requests are of. */
export interface RequestsSession {
  /** What a request takes, in cached answers over UDP. */
  readonly work: number;
  /** Called when no query waits for its turn, or none may have it until the client reads. */
  drained(): void;
}

/** A query that waits for its turn. */
interface Arrived {
  readonly message: Buffer;
  readonly client: Client;
  readonly exchange: Exchange;
}

/** The requests of one connection. */
export class ClientRequests implements Worker {
  /** Those that wait for their turn, in order. */
  private readonly queue: Arrived[] = [];
  /** The octets of their messages. */
  private queuedBytes = 0;
  /** Those that wait for an answer, also if the client has cancelled them. */
  private inflight = 0;
  private readonly untaken: Untaken;
  /** Octets of responses that were not read yet. */
  private owed = 0;
  /** The client that a proxy has named last. */
  private forwarded: { readonly text: string; readonly client: Client | undefined } | undefined = undefined;
  /** Whoever has connected. One object for all of its messages, of which others know the address. */
  private readonly own: Client;
  private closed = false;

  constructor(
    private readonly peer: Peer,
    private readonly place: Place,
    private readonly parts: HttpParts,
    private readonly session: RequestsSession,
  ) {
    this.untaken = new Untaken(parts, this);
    this.own = clientAt(peer, 'https');
  }

  /** Octets of responses that the client has not read yet. */
  get owedBytes(): number {
    return this.owed;
  }

  /** Queries that wait for their turn. */
  get waiting(): number {
    return this.queue.length;
  }

  /** Whether no more requests may be taken until servers answer, or those that have come are handled. */
  get isFull(): boolean {
    const { inflightPerSession } = this.parts.limits;
    return this.queue.length + this.inflight >= inflightPerSession || this.queuedBytes >= MOST_QUEUED_BYTES;
  }

  /** Whether the client has to read before more is answered. */
  private get isUnread(): boolean {
    return this.owed >= this.parts.limits.unreadBytes;
  }

  /**
   * Takes the head of a request. @returns whether its body is needed: then `takeBody` must follow
   */
  take(head: RequestHead, exchange: Exchange): boolean {
    const wanted = this.isMisdirected(head)
      ? { at: 'reply' as const, reply: MISDIRECTED }
      : readRequest(head, this.parts.path());
    if (wanted.at === 'body') return true;
    if (wanted.at === 'message') this.takeBody(head, wanted.message, exchange);
    else exchange.send(wanted.reply);
    return false;
  }

  /** Takes a message, whose memory may be used again afterwards. */
  takeBody({ forwardedFor }: RequestParts, message: Buffer, exchange: Exchange): void {
    const client = this.clientFor(forwardedFor);
    if (client === undefined) return exchange.send(UNKNOWN_CLIENT);
    const { owed } = this;
    if (this.queue.length === 0 && this.mayGoOn) this.handle(message, client, exchange);
    else {
      this.queue.push({ message: Buffer.from(message), client, exchange });
      this.queuedBytes += message.length;
      this.parts.turns.add(this);
    }
    // Else the connection could be taken for idle before it has its turn.
    if (owed === 0 && !exchange.isOver && mayBeQuery(message)) this.place.active();
  }

  /** Takes the message of a request that is known to have it in its target. */
  takeMessage(parts: RequestParts, message: Buffer, exchange: Exchange): void {
    if (this.isMisdirected(parts)) exchange.send(MISDIRECTED);
    else this.takeBody(parts, message, exchange);
  }

  /** Whether a message may be handled now. */
  private get mayGoOn(): boolean {
    return !this.parts.turns.isOver && !this.isUnread && !this.untaken.isFull;
  }

  takeTurn(): void {
    const { turns } = this.parts;
    while (this.mayGoOn) {
      const next = this.queue.shift();
      if (next === undefined) break;
      const { message, client, exchange } = next;
      this.queuedBytes -= message.length;
      if (!exchange.isOver) this.handle(message, client, exchange);
    }
    // While the client has to read, it must also be read from: over HTTP/2 it says there that it has. `paid` goes on.
    if (this.queue.length === 0 || this.isUnread) this.session.drained();
    else if (!this.untaken.isFull) turns.add(this);
  }

  /** A response of so many octets is on its way. */
  owes(bytes: number): void {
    this.owed += bytes;
    if (this.owed > this.parts.limits.unreadBytes) this.place.owesMuch();
  }

  /** The client has read so many octets of a response, or does not want them any more. */
  paid(bytes: number): void {
    this.owed -= bytes;
    if (this.queue.length > 0) this.parts.turns.add(this);
  }

  /**
   * The client has taken an answer, or a good part of one. Requests that ask nothing do not keep the connection open, nor
   * do answers that are taken octet by octet.
   */
  progressed(): void {
    this.place.active();
  }

  /** The connection is closed. */
  close(): void {
    this.closed = true;
    this.queue.length = 0;
    this.queuedBytes = 0;
    this.untaken.close();
    this.parts.turns.remove(this);
  }

  private handle(message: Buffer, client: Client, exchange: Exchange): void {
    const { front, isShared, turns } = this.parts;
    turns.spend(this.session.work);
    const found = front.atOnce?.(message, 0, message.length, client);
    if (typeof found === 'object') exchange.send(messageReply(found, isShared()));
    else this.ask(message, client, exchange, found);
  }

  /** @param missed see Entrance */
  private ask(message: Buffer, client: Client, exchange: Exchange, missed: boolean | undefined): void {
    const { front, isShared } = this.parts;
    let at: 'asking' | 'answered' = 'asking';
    let waits = false;
    const respond: Respond = reply => {
      at = 'answered';
      if (waits) this.answered();
      if (exchange.isOver || this.closed) return;
      if (reply === undefined) exchange.abandon();
      else exchange.send(messageReply(reply, isShared()));
    };
    waits = front.handle(message, client, respond, missed);
    if (waits) {
      this.untaken.add();
      if (this.inflight++ === 0) this.place.waits();
      // TypeScript does not see that the function above may have been called.
    } else if ((at as string) === 'asking') exchange.send(NO_MESSAGE);
  }

  private isMisdirected({ host }: RequestParts): boolean {
    const { address, overTls } = this.peer;
    return !overTls && !this.parts.isProxy(address) && !isThisMachine(host);
  }

  /** A waiting query was answered. */
  private answered(): void {
    if (--this.inflight === 0) this.place.rests();
  }

  /** Undefined: a proxy says something that is no address. */
  private clientFor(forwardedFor: string | undefined): Client | undefined {
    const { address, at } = this.peer;
    // Others could pretend to be anybody.
    if (forwardedFor === undefined || !this.parts.isProxy(address)) return this.own;
    if (this.forwarded?.text !== forwardedFor) {
      const named = forwardedClient(forwardedFor, this.parts.isProxy);
      this.forwarded = {
        text: forwardedFor,
        client: named === undefined ? undefined : clientAt({ address: named, port: 0, at }, 'https'),
      };
    }
    return this.forwarded.client;
  }
}

/** Whether a message can be a query, by its header. */
const mayBeQuery = (message: Buffer): boolean => message.length >= HEADER_BYTES && (flagsOf(message) & FLAG.QR) === 0;

const UNKNOWN_CLIENT = textReply(400, 'X-Forwarded-For has something that is no IP address');

/** The body of a request, as it comes. */
export class RequestBody {
  private readonly chunks: Buffer[] = [];
  bytes = 0;

  /** Adds octets, whose memory must not be used again. */
  add(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  get message(): Buffer {
    return this.chunks.length === 1 && this.chunks[0] !== undefined ? this.chunks[0] : Buffer.concat(this.chunks);
  }
}
