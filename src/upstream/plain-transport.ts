// Cleartext DNS with one server address: over UDP, with cookies and the retry without EDNS, and over TCP what does not fit
// a datagram.

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
import { Transport, type TransportEvents, type TransportPorts } from './transport.js';

const TIMEOUT_MS = 1000;
const SENDS = 2;
/** Questions on their way over UDP, each with a socket of its own. */
const MOST_ASKED = 2048;

/** What it needs from outside. */
export interface PlainPorts extends TransportPorts {
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
}

/** Where and how it asks. */
export interface PlainTarget {
  /** The server, for people. */
  readonly label: string;
  readonly address: string;
  readonly port: number;
  /** What its queries are counted as. */
  readonly reason: CleartextReason;
}

/** What a cleartext transport tells its endpoint. */
export interface PlainEvents<T extends Waiter> extends TransportEvents<T> {
  /** How long an answer over UDP took. */
  measured(rttMs: number): void;
}

/** Cleartext with one address. */
export class PlainTransport<T extends Waiter> extends Transport<T, PlainEvents<T>> {
  private readonly cookies: Cookies;
  /** On their way over UDP. */
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

  /** The way to the server is another, or what was under way is dead. */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') this.cookies.renew();
    this.cut();
  }

  protected override cut(): void {
    for (const each of [...this.asked]) if (this.finish(each)) this.owner.lost(each.waiter, undefined, true);
    super.cut();
  }

  /** Takes a question off the list; false: it is not there any more. */
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

  /** Whether the server wants the question in another form, once each; changes it. */
  private repeats(question: UdpQuestion<T>, reply: Buffer): boolean {
    // RFC 7873 §5.3: it wants to see the cookie that it has just given.
    if (!question.badCookie && fullRcode(reply) === RCODE.BADCOOKIE) {
      question.badCookie = true;
      return true;
    }
    // RFC 6891 §6.2.2: a server that does not know EDNS says FORMERR.
    if (question.edns && rcodeOf(flagsOf(reply)) === RCODE.FORMERR) {
      question.edns = false;
      return true;
    }
    return false;
  }

  private unanswered(question: UdpQuestion<T>, why: 'timeout' | 'connect'): void {
    const { label, port } = this.target;
    // A closed transport does not send again: the server is not to blame for that.
    const lost = this.isOpen ? failure(why, `${label} port ${port}, UDP`) : undefined;
    if (lost !== undefined) this.counts.error(why);
    this.owner.lost(question.waiter, lost, lost === undefined);
    this.finish(question);
  }

  /** What did not fit a datagram (RFC 7766 §5). */
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

/** One question over UDP, until its answer is there or it is given up. */
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

/** With the upper bits, which are in the OPT (RFC 6891 §6.1.3). */
const fullRcode = (message: Buffer): number => rcodeOf(flagsOf(message)) | ((optOf(message)?.extendedRcode ?? 0) << 4);
