// Cleartext DNS with one server address: over UDP with cookies and plainer forms for servers without EDNS, and over TCP
// if the answer does not fit into a datagram. It also finds out whether the server answers at all.

import type { CleartextReason, Observer, ServerObserver } from '../base/observer.js';
import { failure, RCODE } from '../base/outcome.js';
import type { DialDatagram } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { FLAG, flagsOf } from '../wire/header.js';
import { fullRcode, optOf } from '../wire/scan.js';
import {
  answersQuery,
  type Ask,
  errorWithQuestion,
  isErrorWithoutQuestion,
  ROOT_NS,
  upstreamQuery,
} from '../wire/upstream-query.js';
import { Answering } from './answering.js';
import type { Connection } from './connection.js';
import { Cookies } from './cookies.js';
import { type DatagramResult, sendDatagram } from './datagram.js';
import { blamesForm, EdnsForms, TCP_FORMS, UDP_FORMS } from './edns-forms.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import { ServerTransport, type TransportEvents, type TransportPorts } from './transport.js';

const TIMEOUT_MS = 1000;
const SENDS = 2;
/** The most queries in flight over UDP; each has its own socket. */
const MOST_ASKED = 2048;
/** One connection over TCP carries all queries. Others are opened while it is silent. */
const MOST_SILENT = 3;

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
  /** The server answers again after it did not. */
  recovered(): void;
}

/** Cleartext DNS with one address. */
export class PlainTransport<T extends Waiter> extends ServerTransport<T, PlainEvents<T>> {
  private readonly cookies: Cookies;
  /** The forms of queries over UDP. */
  private readonly forms = new EdnsForms(UDP_FORMS);
  /** Whether the server has sent an OPT: then silence is not due to EDNS. */
  private knowsEdns = false;
  private readonly health = new Answering();
  /** Queries in flight over UDP. */
  private readonly asked = new Set<UdpQuestion<T>>();

  constructor(
    protected override readonly ports: PlainPorts,
    counts: ServerObserver,
    private readonly target: PlainTarget,
    owner: PlainEvents<T>,
  ) {
    super(ports, counts, 'tcp', new EdnsForms(TCP_FORMS), owner);
    this.cookies = new Cookies(ports.random);
  }

  override get isEmpty(): boolean {
    return super.isEmpty && this.asked.size === 0;
  }

  /** Whether the server has stopped answering. */
  get isDown(): boolean {
    return this.health.isDown;
  }

  ask(ask: Ask, waiter: T): void {
    if (!this.isOpen) return this.owner.lost(waiter, undefined, 'closed');
    if (this.asked.size >= MOST_ASKED) return this.owner.lost(waiter, failure('overload'), 'fault');
    const nowMs = this.ports.clock.monotonicMs();
    const question = new UdpQuestion(ask, waiter, this.forms.current(nowMs), nowMs);
    waiter.isSent = true;
    this.asked.add(question);
    this.send(question);
  }

  /** Asks a server that has stopped answering whether it answers again, if that is due. */
  tryAgain(nowMs: MonoMs): void {
    if (this.isOpen && this.health.isDue(nowMs)) this.check();
  }

  /** The route to the server has changed, or the machine has slept. */
  reset(what: 'network' | 'resume'): void {
    this.health.forget();
    if (what === 'network') {
      this.cookies.renew();
      this.forms.forget();
      this.edns.forget();
      this.knowsEdns = false;
    }
    this.cut();
  }

  protected override cut(): void {
    for (const each of [...this.asked]) if (this.finish(each)) this.owner.lost(each.waiter, undefined, 'closed');
    super.cut();
  }

  /** Removes a query; false: it was removed already. */
  private finish(question: UdpQuestion<T>): boolean {
    const was = this.asked.delete(question);
    if (was) this.tellIfEmpty();
    return was;
  }

  private send(question: UdpQuestion<T>): void {
    question.sends++;
    this.counts.query('udp');
    this.sendOnce(question.ask, question.form, this.target.reason, result => this.received(question, result));
  }

  private sendOnce(ask: Ask, form: number, reason: CleartextReason, then: (result: DatagramResult) => void): void {
    const { ports, target, cookies } = this;
    const id = ports.random.uint16();
    const options = this.forms.options(form, true);
    ports.observer.cleartext(reason);
    sendDatagram(
      ports.dialDatagram,
      target,
      upstreamQuery(id, ask, form === 0 && options !== undefined ? { ...options, cookie: cookies.option } : options),
      bytes => answersQuery(bytes, id, ask.question) && cookies.accept(bytes),
      TIMEOUT_MS,
      then,
    );
  }

  private received(question: UdpQuestion<T>, result: DatagramResult): void {
    if (!this.asked.has(question)) return;
    if (typeof result === 'string') return this.unheard(question, result);
    const nowMs = this.ports.clock.monotonicMs();
    this.heard(nowMs);
    this.knowsEdns ||= optOf(result) !== undefined;
    const next = this.nextForm(question, result, nowMs);
    if (next !== undefined) {
      if (!this.maySend(question)) return this.unanswered(question, 'timeout');
      question.form = next;
      question.sends--;
      return this.send(question);
    }
    if (!blamesForm(result) && this.forms.accepted(question.form, nowMs)) this.confirmForm();
    if ((flagsOf(result) & FLAG.TC) !== 0) return this.askStream(question);
    const rttMs = nowMs - question.startedAtMs;
    this.owner.measured(rttMs);
    const whole = isErrorWithoutQuestion(result) ? errorWithQuestion(result, question.ask.question) : result;
    this.owner.reply(question.waiter, whole, 'udp', rttMs, false);
    this.finish(question);
  }

  /** A datagram was not answered. */
  private unheard(question: UdpQuestion<T>, why: Exclude<DatagramResult, Buffer>): void {
    this.cookies.doubt();
    if (question.sends < SENDS && this.maySend(question)) {
      // Some home routers drop queries with an OPT.
      if (why === 'timeout' && !this.knowsEdns) question.form = this.forms.plainest;
      return this.send(question);
    }
    if (this.isOpen && this.health.lost(question.startedAtMs)) this.check();
    this.unanswered(question, why === 'timeout' ? 'timeout' : 'connect');
  }

  private maySend(question: UdpQuestion<T>): boolean {
    return this.isOpen && !question.waiter.done;
  }

  /** The form in which a query must be sent again, at most once per form; undefined: it was answered. */
  private nextForm(question: UdpQuestion<T>, reply: Buffer, nowMs: MonoMs): number | undefined {
    // RFC 7873 §5.3: the server requires the cookie that it has just sent.
    if (!question.badCookie && fullRcode(reply) === RCODE.BADCOOKIE) {
      question.badCookie = true;
      return question.form;
    }
    // RFC 6891 §6.2.2: a server without EDNS answers FORMERR.
    return blamesForm(reply) ? this.forms.refused(question.form, nowMs) : undefined;
  }

  /** A plainer form has worked. Asks whether the first one is refused for every question. */
  private confirmForm(): void {
    if (!this.isOpen) return;
    this.sendOnce(ROOT_NS, 0, 'probe', result => {
      if (typeof result === 'string' || blamesForm(result)) return;
      this.knowsEdns ||= optOf(result) !== undefined;
      this.forms.withdraw(this.ports.clock.monotonicMs());
    });
  }

  /** The server has not answered: its zone may be dead. Asks for something that every resolver can answer. */
  private check(): void {
    const nowMs = this.ports.clock.monotonicMs();
    if (!this.health.asks(nowMs)) return;
    this.sendOnce(ROOT_NS, this.forms.current(nowMs), 'probe', result => {
      const laterMs = this.ports.clock.monotonicMs();
      if (typeof result === 'string') this.health.silent(laterMs);
      else this.heard(laterMs);
    });
  }

  private heard(nowMs: MonoMs): void {
    if (this.health.heard(nowMs) && this.isOpen) this.owner.recovered();
  }

  private unanswered(question: UdpQuestion<T>, why: 'timeout' | 'connect'): void {
    const { label, port } = this.target;
    // A closed transport does not send again, which is not the server's fault.
    const lost = this.isOpen ? failure(why, `${label} port ${port}, UDP`) : undefined;
    if (lost !== undefined) this.counts.error(why);
    this.owner.lost(question.waiter, lost, lost === undefined ? 'closed' : 'fault');
    this.finish(question);
  }

  /** Asks over TCP after a truncated answer (RFC 7766 §5). */
  private askStream(question: UdpQuestion<T>): void {
    const { ask, waiter } = question;
    this.finish(question);
    if (!this.isOpen) return this.owner.lost(waiter, undefined, 'closed');
    this.ports.observer.cleartext(this.target.reason);
    this.counts.query('tcp');
    if (this.connection()?.ask(ask, waiter) !== true) this.owner.lost(waiter, failure('overload'), 'fault');
  }

  /** The connection for the next query: one that is not suspect, else a new one, else one of the others. */
  private connection(): Connection<T> | undefined {
    let count = 0;
    let silent: Connection<T> | undefined;
    for (const each of this.all) {
      if (!each.usable) continue;
      if (!each.suspect) return each;
      count++;
      silent = each;
    }
    if (count >= MOST_SILENT) return silent;
    if (this.makeRoom()) return this.connection();
    const { address, port } = this.target;
    return this.open(
      { address, port, security: { at: 'cleartext' } },
      () => ({}),
      () => idle.idleMs(idle.FIRST_LIMIT),
    );
  }
}

/** One query over UDP, until it is answered or given up. */
class UdpQuestion<T extends Waiter> {
  /** How often it was sent, without repetitions that a refusal of its form has caused. */
  sends = 0;
  /** Whether the server has asked for its cookie, and the query was sent again with it. */
  badCookie = false;

  /**
   * @param form the form of its EDNS options (edns-forms)
   */
  constructor(
    readonly ask: Ask,
    readonly waiter: T,
    public form: number,
    readonly startedAtMs: MonoMs,
  ) {}
}
