// Cleartext DNS with one server address: over UDP with cookies and the retry without EDNS, and over TCP if the answer
// does not fit into a datagram.

import type { CleartextReason, Observer, ServerObserver } from '../base/observer.js';
import { failure, RCODE } from '../base/outcome.js';
import type { DialDatagram } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { FLAG, flagsOf, rcodeOf } from '../wire/header.js';
import { optOf } from '../wire/scan.js';
import { answersQuery, type Ask, upstreamQuery } from '../wire/upstream-query.js';
import { Cookies } from './cookies.js';
import { type DatagramResult, sendDatagram } from './datagram.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import { ServerTransport, type TransportEvents, type TransportPorts } from './transport.js';

const TIMEOUT_MS = 1000;
const SENDS = 2;
/** The most queries in flight over UDP; each has its own socket. */
const MOST_ASKED = 2048;

/** The ports that it uses. */
export interface PlainPorts extends TransportPorts {
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
}

/** Where it sends queries, and how. */
export interface PlainTarget {
  /** The server's label, for messages. */
  readonly label: string;
  readonly address: string;
  readonly port: number;
  /** The label that its queries are counted under. */
  readonly reason: CleartextReason;
}

/** The events of a cleartext transport, for its endpoint. */
export interface PlainEvents<T extends Waiter> extends TransportEvents<T> {
  /** The round-trip time of an answer over UDP. */
  measured(rttMs: number): void;
}

/** Cleartext DNS with one address. */
export class PlainTransport<T extends Waiter> extends ServerTransport<T, PlainEvents<T>> {
  private readonly cookies: Cookies;
  /** Queries in flight over UDP. */
  private readonly asked = new Set<UdpQuestion<T>>();

  constructor(
    protected override readonly ports: PlainPorts,
    counts: ServerObserver,
    private readonly target: PlainTarget,
    owner: PlainEvents<T>,
  ) {
    super(ports, counts, 'tcp', owner);
    this.cookies = new Cookies(ports.random);
  }

  override get isEmpty(): boolean {
    return super.isEmpty && this.asked.size === 0;
  }

  ask(ask: Ask, waiter: T): void {
    if (!this.isOpen) return this.owner.lost(waiter, undefined, true);
    if (this.asked.size >= MOST_ASKED) return this.owner.lost(waiter, failure('overload'), false);
    const question = new UdpQuestion(ask, waiter, this.ports.clock.monotonicMs());
    this.asked.add(question);
    this.send(question);
  }

  /** The route to the server has changed, or the machine has slept. */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') this.cookies.renew();
    this.cut();
  }

  protected override cut(): void {
    for (const each of [...this.asked]) if (this.finish(each)) this.owner.lost(each.waiter, undefined, true);
    super.cut();
  }

  /** Removes a query; false: it was removed already. */
  private finish(question: UdpQuestion<T>): boolean {
    const was = this.asked.delete(question);
    if (was) this.tellIfEmpty();
    return was;
  }

  private send(question: UdpQuestion<T>): void {
    const { ports, target, cookies } = this;
    const id = ports.random.uint16();
    const { ask } = question;
    question.sends++;
    ports.observer.cleartext(target.reason);
    this.counts.query('udp');
    sendDatagram(
      ports.dialDatagram,
      target,
      upstreamQuery(id, ask, question.edns ? { ...WITH_EDNS, cookie: cookies.option } : undefined),
      bytes => answersQuery(bytes, id, ask.question) && cookies.accept(bytes),
      TIMEOUT_MS,
      result => this.received(question, result),
    );
  }

  private received(question: UdpQuestion<T>, result: DatagramResult): void {
    if (!this.asked.has(question)) return;
    if (typeof result === 'string') {
      this.cookies.doubt();
      if (question.sends < SENDS && this.maySend(question)) return this.send(question);
      return this.unanswered(question, result === 'timeout' ? 'timeout' : 'connect');
    }
    const repeat = this.repeats(question, result);
    if (repeat && this.maySend(question)) {
      question.sends--;
      return this.send(question);
    }
    if (repeat) return this.unanswered(question, 'timeout');
    if ((flagsOf(result) & FLAG.TC) !== 0) return this.askStream(question);
    const rttMs = this.ports.clock.monotonicMs() - question.startedAtMs;
    this.owner.measured(rttMs);
    this.owner.reply(question.waiter, result, 'udp', rttMs);
    this.finish(question);
  }

  private maySend(question: UdpQuestion<T>): boolean {
    return this.isOpen && !question.waiter.done;
  }

  /** Whether the query must be sent again in another form, at most once per form. Changes the query to that form. */
  private repeats(question: UdpQuestion<T>, reply: Buffer): boolean {
    // RFC 7873 §5.3: the server requires the cookie that it has just sent.
    if (!question.badCookie && fullRcode(reply) === RCODE.BADCOOKIE) {
      question.badCookie = true;
      return true;
    }
    // RFC 6891 §6.2.2: a server without EDNS answers FORMERR.
    if (question.edns && rcodeOf(flagsOf(reply)) === RCODE.FORMERR) {
      question.edns = false;
      return true;
    }
    return false;
  }

  private unanswered(question: UdpQuestion<T>, why: 'timeout' | 'connect'): void {
    const { label, port } = this.target;
    // A closed transport does not send again, which is not the server's fault.
    const lost = this.isOpen ? failure(why, `${label} port ${port}, UDP`) : undefined;
    if (lost !== undefined) this.counts.error(why);
    this.owner.lost(question.waiter, lost, lost === undefined);
    this.finish(question);
  }

  /** Asks over TCP after a truncated answer (RFC 7766 §5). */
  private askStream(question: UdpQuestion<T>): void {
    const { ask, waiter } = question;
    this.finish(question);
    if (!this.isOpen) return this.owner.lost(waiter, undefined, true);
    this.ports.observer.cleartext(this.target.reason);
    this.counts.query('tcp');
    for (const each of this.all) if (each.usable && each.ask(ask, waiter)) return;
    const { address, port } = this.target;
    const made = this.open(
      { address, port, security: { at: 'cleartext' } },
      () => ({}),
      () => idle.idleMs(idle.FIRST_LIMIT),
    );
    if (made?.ask(ask, waiter) !== true) this.owner.lost(waiter, failure('overload'), false);
  }
}

/** One query over UDP, until it is answered or given up. */
class UdpQuestion<T extends Waiter> {
  sends = 0;
  edns = true;
  badCookie = false;

  constructor(
    readonly ask: Ask,
    readonly waiter: T,
    readonly startedAtMs: MonoMs,
  ) {}
}

const WITH_EDNS = { pad: false, keepalive: false, hideSubnet: true } as const;

/** The RCODE with its upper bits, which are in the OPT (RFC 6891 §6.1.3). */
const fullRcode = (message: Buffer): number => rcodeOf(flagsOf(message)) | ((optOf(message)?.extendedRcode ?? 0) << 4);
