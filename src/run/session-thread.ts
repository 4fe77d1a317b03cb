// A session thread, seen from the main thread: its listener, and the messages that it hands over to the front. Sessions
// over TLS and over HTTPS have one each, if there are any.

import { Worker } from 'node:worker_threads';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import type { Log } from '../base/ports.js';
import { isSystemError, SystemError } from '../base/system-error.js';
import { visible } from '../base/visible.js';
import type { Entrance } from '../front/front.js';
import type { StreamListener } from '../listen/stream.js';
import type { ServerCredentials } from '../os/openssl.js';
import type { Turns, Worker as TurnsWorker } from '../listen/turns.js';
import type { Libc } from '../os/libc.js';
import type { ListenAddress, Unopened } from '../os/listen-address.js';
import type { HttpsRulesPlan } from './https.js';
import {
  errorOf,
  type FromSessions,
  type HandedQuery,
  type HandedReply,
  type ListenerTask,
  type Listening,
  Packing,
  type Parcel,
  SessionState,
  type SessionWork,
  type ThreadTransport,
  type ToSessions,
  Unpacking,
} from './session-messages.js';

/** The part of its work that it does not make itself. */
export type GivenWork = Omit<SessionWork, 'transport' | 'wakeFd' | 'counts' | 'state'>;

/** The parts that it uses. */
export interface SessionThreadParts {
  readonly log: Log;
  readonly libc: Libc;
  readonly front: Entrance;
  /** Shared with the sessions of the main thread. */
  readonly turns: Turns;
}

type Done = Extract<FromSessions, { at: 'done' }>;

/** The thread. */
export class SessionThread {
  private readonly state = new SessionState(SessionState.memory());
  private readonly counts = FrontCounts.memory();
  private readonly countedSince: () => FrontCounts;
  /** Undefined: it was not needed yet. */
  private worker: Worker | undefined;
  /** Resolved when it waits for work; rejected if it could not be started. */
  private started: Promise<void> | undefined;
  /** Resolved when it has ended. */
  private ended: Promise<unknown> | undefined;
  /** Resolved when it has work, or the system has no thread. */
  private opened: Promise<boolean> | undefined;
  /** Those who wait until a listener has done something. */
  private readonly calls = new Map<number, (done: Done) => void>();
  private lastCall = 0;
  private isWorking = false;
  /** Whether the listener in it is in force: one that is only made may be given up. */
  private isInForce = false;
  private isClosed = false;
  /** Wakes it; undefined: it has no work yet. */
  private waking: { readonly libc: Libc; readonly fd: number } | undefined;
  private log: Log | undefined;
  /** Whether it must be woken to see messages. */
  private waits = false;

  /** @param script the script of the thread: `session-worker` in this folder */
  constructor(
    private readonly transport: ThreadTransport,
    private readonly script = new URL('./session-worker.js', import.meta.url),
  ) {
    this.countedSince = countedSince(this.counts, transport);
  }

  /** Starts it ahead: that takes it some time, in which the main thread does other things. */
  start(): void {
    this.started ??= this.startOnce();
    // It is awaited later; until then a rejection must not count as unhandled.
    this.started.catch(() => undefined);
  }

  /**
   * Gives it its work, the first time.
   * @returns false: the system has no thread, which is logged
   */
  async open(parts: SessionThreadParts, work: GivenWork): Promise<boolean> {
    return (this.opened ??= this.openOnce(parts, work));
  }

  /** Makes the listener in it. @throws the error of OpenSSL if certificate and key cannot be used together */
  async listener(credentials: ServerCredentials | undefined): Promise<StreamListener> {
    const perform = async (task: ListenerTask): Promise<Done> => {
      this.isInForce ||= task.at === 'keep';
      return this.call(task);
    };
    await perform({ at: 'make', credentials });
    return new ThreadListener(perform, error => {
      const words = error instanceof Error ? error.message : String(error);
      this.log?.error({}, visible(`OpenSSL refuses the new certificate, and the one before is shown: ${words}`));
    });
  }

  /** Brings rules for HTTPS into force. */
  setRules(rules: HttpsRulesPlan): void {
    if (this.isWorking) this.say({ at: 'rules', rules });
  }

  /** Open sessions. */
  get sessions(): number {
    return this.state.open;
  }

  /** How long an idle session stays open now; undefined: there are none in the thread. */
  get idleMs(): number | undefined {
    return this.isInForce ? this.state.idleMs : undefined;
  }

  /** Queries that it has handed over, and whose replies it does not have. */
  get waiting(): number {
    return this.state.waiting;
  }

  /** The counts since the last call. */
  counted(): readonly FrontCounts[] {
    return this.worker === undefined ? [] : [this.countedSince()];
  }

  /**
   * Ends it, and all of its sessions. It ends itself, once it is there: native code that it is loading, or that calls it,
   * may end the process if the thread is ended from outside.
   */
  async close(): Promise<void> {
    this.isClosed = true;
    this.say({ at: 'end' });
    this.stop();
    await this.ended;
    process.off('exit', this.stop);
    this.waking?.libc.close(this.waking.fd);
    this.waking = undefined;
  }

  /** Ends its wait in the kernel, which would keep it from ending, and a crashing process with it. */
  private readonly stop = (): void => {
    this.state.stop();
    this.wake();
  };

  private wake(): void {
    this.waking?.libc.wake(this.waking.fd);
  }

  private async startOnce(): Promise<void> {
    const worker = new Worker(this.script);
    this.worker = worker;
    this.ended = new Promise(resolve => worker.once('exit', resolve));
    await this.notice(worker, 'started');
  }

  private async openOnce({ log, libc, front, turns }: SessionThreadParts, given: GivenWork): Promise<boolean> {
    this.start();
    this.log = log;
    const wakeFd = libc.eventfd();
    if (wakeFd >= 0) this.waking = { libc, fd: wakeFd };
    try {
      await this.started;
      if (wakeFd < 0) throw new SystemError('eventfd', wakeFd, { address: '', port: 0 });
    } catch (error) {
      if (!isSystemError(error)) throw error;
      const words = 'TLS sessions of clients are on the main thread, where their handshakes delay other answers';
      log.error({}, `a session thread cannot be started (${error.message}): ${words}`);
      return false;
    }
    const { worker, transport, state, counts } = this;
    if (worker === undefined) return false;
    const handed = new HandedOver({ front, turns, state, say: (...said) => this.say(...said) });
    worker.on('message', (message: FromSessions) => this.receive(message, handed));
    const working = this.notice(worker, 'working');
    process.once('exit', this.stop);
    this.say({ at: 'work', work: { ...given, transport, wakeFd, counts, state: state.memory } });
    const { waits, unavailable } = await working;
    this.isWorking = true;
    this.waits = waits;
    if (unavailable !== undefined) log.info({}, `${SLOW_WORDS}: ${unavailable}`);
    worker.on('error', error => this.broken(error));
    worker.on('exit', () => this.broken(undefined));
    return true;
  }

  private receive(message: FromSessions, handed: HandedOver): void {
    switch (message.at) {
      case 'queries':
        return handed.add(message.queries);
      case 'done':
        this.calls.get(message.call)?.(message);
        this.calls.delete(message.call);
        return;
      case 'uncaught': {
        const { error, fields } = message;
        if (fields === undefined) return this.broken(error);
        process.nextTick(raise, errorOf(fields));
        return;
      }
      default:
    }
  }

  /** The daemon must not go on without it, even if a system error has ended it. */
  private broken(cause: unknown): void {
    if (!this.isClosed) process.nextTick(raise, new Error('a session thread has ended', { cause }));
  }

  private async call(task: ListenerTask): Promise<Done> {
    const call = ++this.lastCall;
    return new Promise<Done>((resolve, reject) => {
      this.calls.set(call, done => {
        if (done.error === undefined) resolve(done);
        else reject(errorOf(done.error));
      });
      this.say({ at: 'listener', call, task });
    });
  }

  private say(message: ToSessions, transfer: readonly ArrayBuffer[] = []): void {
    this.worker?.postMessage(message, transfer);
    if (this.waits) this.wake();
  }

  /** Waits for a notice. */
  private async notice<At extends FromSessions['at']>(worker: Worker, wanted: At): Promise<Said<At>> {
    return new Promise((resolve, reject) => {
      const onMessage = (said: FromSessions): void => {
        if (said.at === 'uncaught') return onError(said.error);
        if (!isSaid(said, wanted)) return;
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        resolve(said);
      };
      const onError = (error: unknown): void =>
        reject(isSystemError(error) ? error : new Error('a session thread is broken', { cause: error }));
      const onExit = (): void => reject(new Error('a session thread has ended before it had work'));
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    });
  }
}

type Said<At extends FromSessions['at']> = Extract<FromSessions, { at: At }>;
const isSaid = <At extends FromSessions['at']>(said: FromSessions, at: At): said is Said<At> => said.at === at;

const SLOW_WORDS = 'TLS sessions of clients take more CPU time than they need to, because OpenSSL cannot be called';

function raise(error: unknown): void {
  throw error;
}

/** A listener in the thread. */
class ThreadListener implements StreamListener {
  private listening: Listening = { bound: [], unopened: [] };
  /** What it does, or has done last. */
  private last: Promise<void> = Promise.resolve();

  /**
   * @param perform has the thread do something
   * @param refused called with the error of OpenSSL when it refuses a certificate; the one before is shown further on
   */
  constructor(
    private readonly perform: (task: ListenerTask) => Promise<Done>,
    private readonly refused: (error: unknown) => void,
  ) {}

  get bound(): readonly ListenAddress[] {
    return this.listening.bound;
  }

  get unopened(): readonly Unopened[] {
    return this.listening.unopened.map(({ at, error }) => ({ at, error: errorOf(error) }));
  }

  async set(addresses: readonly ListenAddress[]): Promise<void> {
    await this.settle({ at: 'set', addresses });
  }

  keep(addresses: readonly ListenAddress[]): void {
    void this.settle({ at: 'keep', addresses });
  }

  setCredentials(credentials: ServerCredentials | undefined): void {
    const exchanged = this.settle({ at: 'credentials', credentials });
    this.last = exchanged.catch((error: unknown) => this.refused(error));
  }

  async settled(): Promise<void> {
    await this.last;
  }

  close(): void {
    void this.settle({ at: 'close' });
  }

  destroy(): void {
    void this.settle({ at: 'destroy' });
  }

  private async settle(task: ListenerTask): Promise<void> {
    this.last = this.perform(task).then(({ listening }) => void (this.listening = listening));
    return this.last;
  }
}

/** The parts of HandedOver. */
interface HandedOverParts {
  readonly front: Entrance;
  readonly turns: Turns;
  readonly state: SessionState;
  readonly say: (message: ToSessions, transfer?: readonly ArrayBuffer[]) => void;
}

/** The queries that the thread has handed over. They share the turns of sessions with those of the main thread. */
class HandedOver implements TurnsWorker {
  private readonly parcels: Unpacking<HandedQuery>[] = [];
  private readonly replies = new Packing<HandedReply>();
  /** The queries that were taken and answered last. */
  private taken = 0;
  private answered = 0;
  private isSending = false;
  /** Queries that were not taken yet. */
  private waiting = 0;

  constructor(private readonly parts: HandedOverParts) {}

  /** A session hands two queries over before the first is taken. */
  get sessions(): number {
    return Math.max(1, Math.ceil(this.waiting / 2));
  }

  add(queries: Parcel<HandedQuery>): void {
    this.parcels.push(new Unpacking(queries));
    this.waiting += queries.heads.length;
    this.parts.turns.add(this);
  }

  takeTurn(): void {
    const { turns } = this.parts;
    try {
      while (!turns.isOver && this.parcels.length > 0)
        if (this.parcels[0]?.pass(this.take) !== true) this.parcels.shift();
    } finally {
      // Also after an exception: the other queries are those of others.
      if (this.parcels.length > 0) turns.add(this);
    }
  }

  private readonly take = (query: HandedQuery, message: Buffer): void => {
    const { turns, front } = this.parts;
    const { id, client, missed } = query;
    turns.spend(1);
    this.waiting--;
    this.taken = id;
    this.sendSoon();
    let waits = false;
    try {
      waits = front.handle(message, client, reply => this.reply(id, reply), missed);
    } finally {
      // Also after an exception: nobody must wait for it.
      if (!waits && this.answered !== id) this.reply(id, undefined);
    }
  };

  private reply(id: number, reply: Buffer = NO_OCTETS): void {
    this.answered = id;
    if (this.replies.isFullFor(reply.length)) this.sendReplies();
    this.replies.add({ id, isReply: reply !== NO_OCTETS }, reply);
    this.parts.turns.spend(reply.length >> WORK_BITS);
    this.sendSoon();
  }

  private sendSoon(): void {
    if (!this.isSending) setImmediate(this.send);
    this.isSending = true;
  }

  private readonly send = (): void => {
    const { say, state } = this.parts;
    this.isSending = false;
    this.sendReplies();
    // After the replies: whoever is told owes them from then on.
    if (state.take(this.taken)) say({ at: 'taken' });
  };

  private sendReplies(): void {
    if (this.replies.isEmpty) return;
    const [replies, transfer] = this.replies.take();
    this.parts.say({ at: 'replies', replies }, transfer);
  }
}

const NO_OCTETS = Buffer.alloc(0);
/** So many octets of a reply take as long as a query. */
const WORK_BITS = 11;
