// Cleartext DNS with one server address: over UDP with cookies and plainer forms for servers without EDNS, and over TCP
// if the answer does not fit into a datagram, or while UDP does not pass. It also finds out whether the server answers
// at all.

import type { CleartextReason, Observer, ServerObserver } from '../base/observer.js';
import { failure, RCODE } from '../base/outcome.js';
import type { DialDatagram } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import { FLAG, flagsOf, HEADER_BYTES } from '../wire/header.js';
import { fullRcode, optOf } from '../wire/scan.js';
import {
  answersQuery,
  type Ask,
  errorWithQuestion,
  isErrorWithoutQuestion,
  repeatsCase,
  ROOT_NS,
  upstreamQuery,
  withRandomCase,
} from '../wire/upstream-query.js';
import { Answering } from './answering.js';
import type { Connection } from './connection.js';
import { Cookies } from './cookies.js';
import { type DatagramResult, sendDatagram } from './datagram.js';
import { blamesForm, EdnsForms, TCP_FORMS, UDP_FORMS } from './edns-forms.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import { ServerTransport, type TransportEvents, type TransportPorts } from './transport.js';

/** A query is sent again after the first time; with a longer round trip, the second one gets the answer. */
const TIMEOUTS_MS = [1000, 1500] as const;
/** The time of a probe over UDP. */
const PROBE_MS = 1500;
/** A server that is silent over UDP is tried over TCP at most this often. */
const STREAM_AGAIN_MS = 30_000;
/** Where only TCP passes, UDP is tried again after this time. */
const UDP_BLOCKED_MS = 60_000;
/** A server may be replaced by one that repeats the letter case of names: that is tried again after this time. */
const CHANGES_CASE_MS = 3_600_000;
/** The most queries in flight over UDP; each has its own socket. */
const MOST_ASKED = 2048;
/** One connection over TCP carries all queries. Others are opened while it is silent. */
const MOST_SILENT = 3;

/** The ports that it uses. */
export interface PlainPorts extends TransportPorts {
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  /** Whether the letter case of names is random over UDP. */
  readonly randomizesCase: () => boolean;
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
  /** Until then, names are sent as they are, because the server does not repeat their letter case. */
  private changesCaseUntilMs: MonoMs = monoMs(-Infinity);
  private readonly health = new Answering();
  /** Whether the server answers over TCP only, so that queries go over TCP. */
  private isUdpBlocked = false;
  /** When it was last asked over UDP whether it answers. */
  private udpTriedAtMs: MonoMs = monoMs(-Infinity);
  private streamTriedAtMs: MonoMs = monoMs(-Infinity);
  /** When it last answered over TCP. */
  private streamHeardAtMs: MonoMs = monoMs(-Infinity);
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
    this.asked.add(question);
    if (!this.isUdpBlocked) return this.send(question);
    if (nowMs >= monoAfter(this.udpTriedAtMs, UDP_BLOCKED_MS)) this.probe(nowMs);
    this.askStream(question);
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
      this.isUdpBlocked = false;
      this.changesCaseUntilMs = monoMs(-Infinity);
      this.streamTriedAtMs = this.streamHeardAtMs = monoMs(-Infinity);
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
    const timeoutMs = TIMEOUTS_MS[question.sends++] ?? TIMEOUTS_MS[0];
    question.waiter.isSent = true;
    this.counts.query('udp');
    this.sendOnce(question.ask, question.form, this.target.reason, timeoutMs, result =>
      this.received(question, result),
    );
  }

  private sendOnce(
    ask: Ask,
    form: number,
    reason: CleartextReason,
    timeoutMs: number,
    then: (result: DatagramResult) => void,
  ): void {
    const nowMs = this.ports.clock.monotonicMs();
    const isMixed = this.ports.randomizesCase() && nowMs >= this.changesCaseUntilMs;
    const sent = isMixed ? { ...ask, question: withRandomCase(ask.question, this.ports.random) } : ask;
    let isOver = false;
    const finish = (result: DatagramResult): void => {
      if (isOver) return;
      isOver = true;
      then(result);
    };
    /** A name in another case: forged, or from a server that does not repeat it. The name is asked as it is, too. */
    const changed = (): void =>
      this.exchangeDatagrams(ask, form, reason, timeoutMs, undefined, result => {
        if (isOver || typeof result === 'string') return;
        this.changesCaseUntilMs = monoAfter(this.ports.clock.monotonicMs(), CHANGES_CASE_MS);
        finish(result);
      });
    this.exchangeDatagrams(sent, form, reason, timeoutMs, isMixed ? changed : undefined, finish);
  }

  /** @param changed called once if an answer has the name in another letter case; undefined: case does not matter */
  private exchangeDatagrams(
    ask: Ask,
    form: number,
    reason: CleartextReason,
    timeoutMs: number,
    changed: (() => void) | undefined,
    then: (result: DatagramResult) => void,
  ): void {
    const { ports, target, cookies } = this;
    const id = ports.random.uint16();
    const options = this.forms.options(form, true);
    let toTell = changed;
    ports.observer.cleartext(reason);
    sendDatagram(
      ports.dialDatagram,
      target,
      upstreamQuery(id, ask, form === 0 && options !== undefined ? { ...options, cookie: cookies.option } : options),
      bytes => {
        if (!answersQuery(bytes, id, ask.question)) return false;
        if (changed !== undefined && !isErrorWithoutQuestion(bytes) && !repeatsCase(bytes, ask.question)) {
          this.counts.error('case_mismatch');
          toTell?.();
          toTell = undefined;
          return false;
        }
        return cookies.accept(bytes);
      },
      timeoutMs,
      then,
    );
  }

  private received(question: UdpQuestion<T>, result: DatagramResult): void {
    if (!this.asked.has(question)) return;
    if (typeof result === 'string') return this.unheard(question, result);
    const nowMs = this.ports.clock.monotonicMs();
    this.isUdpBlocked = false;
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
    // With the letter case that was asked for.
    question.ask.question.copy(whole, HEADER_BYTES);
    this.owner.reply(question.waiter, whole, 'udp', rttMs, false);
    this.finish(question);
  }

  /** A datagram was not answered. */
  private unheard(question: UdpQuestion<T>, why: Exclude<DatagramResult, Buffer>): void {
    this.cookies.doubt();
    const isSilent = this.isOpen && this.health.lost(question.startedAtMs);
    if (isSilent) this.check();
    if (question.sends < TIMEOUTS_MS.length && this.maySend(question)) {
      // Some home routers drop queries with an OPT.
      if (why === 'timeout' && !this.knowsEdns) question.form = this.forms.plainest;
      return this.send(question);
    }
    if (isSilent && this.isStreamHeard(question.startedAtMs) && this.maySend(question)) return this.askStream(question);
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
    this.sendOnce(ROOT_NS, 0, 'probe', TIMEOUTS_MS[0], result => {
      if (typeof result === 'string' || blamesForm(result)) return;
      this.knowsEdns ||= optOf(result) !== undefined;
      this.forms.withdraw(this.ports.clock.monotonicMs());
    });
  }

  /**
   * The server has not answered: its zone may be dead. Asks for something that every resolver can answer, over TCP, too:
   * networks and servers exist that let only TCP through.
   */
  private check(): void {
    const nowMs = this.ports.clock.monotonicMs();
    if (!this.health.asks(nowMs)) return;
    this.checkStream(nowMs);
    this.probe(nowMs, laterMs => {
      if (this.isStreamHeard(nowMs)) this.isUdpBlocked = true;
      else this.health.silent(laterMs);
    });
  }

  /** Asks over UDP whether the server answers. */
  private probe(nowMs: MonoMs, silent: (nowMs: MonoMs) => void = () => undefined): void {
    this.udpTriedAtMs = nowMs;
    this.sendOnce(ROOT_NS, this.forms.current(nowMs), 'probe', PROBE_MS, result => {
      const laterMs = this.ports.clock.monotonicMs();
      if (typeof result === 'string') return silent(laterMs);
      this.isUdpBlocked = false;
      this.heard(laterMs);
    });
  }

  private checkStream(nowMs: MonoMs): void {
    if (nowMs < monoAfter(this.streamTriedAtMs, STREAM_AGAIN_MS)) return;
    this.streamTriedAtMs = nowMs;
    this.ports.observer.cleartext('probe');
    this.connection()?.probe(answer => {
      if (answer === undefined) return;
      this.streamHeardAtMs = this.ports.clock.monotonicMs();
      // Known to be silent over UDP by now.
      if (!this.isDown) return;
      this.isUdpBlocked = true;
      this.heard(this.streamHeardAtMs);
    });
  }

  /** Whether the server answered over TCP since then. */
  private isStreamHeard(sinceMs: MonoMs): boolean {
    return this.streamHeardAtMs >= sinceMs;
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
      () => ({
        reply: (waiter, message, rttMs) => {
          this.streamHeardAtMs = this.ports.clock.monotonicMs();
          if (this.isUdpBlocked) this.heard(this.streamHeardAtMs);
          this.owner.reply(waiter, message, 'tcp', rttMs, false);
        },
        closed: ({ at }) => {
          // Whether UDP passes by now is found out by the next query.
          if (at === 'failed' || at === 'silent') this.isUdpBlocked = false;
        },
      }),
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
