// A session thread: sessions of clients over TLS, or over HTTPS, whose handshakes would keep all other work waiting. The
// listener in it is that of the main thread. Its connections are those of system calls and OpenSSL, in a loop that waits
// in the kernel. That one looks for messages itself, and leaves Node.js's own loop a turn when a listener has something
// to do, because promises are kept there, or while node:http reads connections. Where OpenSSL cannot be called, all are
// those of Node.js, in the event loop that it gives to each thread.

import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';

import { addressOctets } from '../base/address.js';
import { AgeClock } from '../base/age-clock.js';
import { FrontCounts } from '../base/front-counts.js';
import type { StreamObserver } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { ageAfter } from '../base/time.js';
import { PacketCache } from '../fastpath/packet-cache.js';
import { PacketReplies } from '../fastpath/ready-replies.js';
import { EventLoop } from '../listen/event-loop.js';
import { Memory } from '../listen/memory.js';
import type { Connection, Streams } from '../listen/connection.js';
import { nativeStreams } from '../listen/native-streams.js';
import { nodeStreams } from '../listen/node-streams.js';
import { SessionTable } from '../listen/sessions.js';
import { DOT_ALPN, framedProtocol, HTTPS_ALPN, listenerOver, type StreamListener } from '../listen/stream.js';
import type { ServerCredentials } from '../os/openssl.js';
import { type SessionLoop, Turns } from '../listen/turns.js';
import { processSecondsAt, systemClock } from '../os/clock.js';
import { type Libc, LINUX, loadLibcInThread } from '../os/libc.js';
import { loadOpenSsl, type OpenSsl } from '../os/openssl.js';
import { Admission } from '../policy/admission.js';
import { HttpsRules } from './https.js';
import { SessionFront } from './session-front.js';
import {
  type ErrorFields,
  errorFields,
  type FromSessions,
  type ListenerTask,
  type Listening,
  type SessionWork,
  SessionState,
  type ToSessions,
} from './session-messages.js';

type Say = (message: FromSessions, transfer?: readonly ArrayBuffer[]) => void;

/** The loop that sessions are in, and what is of it. */
interface Surroundings {
  readonly loop: SessionLoop;
  readonly clock: Clock;
  /** Undefined: it is the loop of Node.js. */
  readonly native?: { readonly loop: EventLoop; readonly openssl: OpenSsl };
}

/** To read the wall clock takes longer than to find an answer. To fall asleep and wake up takes a machine longer than this. */
const WALL_EVERY_MS = 10;

/** The sessions. */
class Sessions {
  private listener: StreamListener | undefined;
  private readonly turns: Turns;
  private readonly memory = new Memory();
  private readonly state: SessionState;
  private readonly counts: FrontCounts;
  private readonly admission: Admission;
  private readonly rules: HttpsRules;
  private readonly front: SessionFront;

  constructor(
    private readonly work: SessionWork,
    private readonly libc: Libc,
    private readonly surroundings: Surroundings,
    private readonly say: Say,
  ) {
    const age = new AgeClock(surroundings.clock, WALL_EVERY_MS);
    const startedAt = ageAfter(work.age, Math.max(0, systemClock.wallMs() - work.at) / 1000);
    const { loop } = surroundings;
    this.turns = new Turns(loop);
    this.state = new SessionState(work.state);
    this.counts = new FrontCounts(work.counts, work.transport);
    const admission = new Admission(work.admission, () => Math.floor(systemClock.wallMs() / 1000));
    this.admission = admission;
    this.rules = new HttpsRules({
      mayAsk: address => this.mayAsk(address),
      get areGrouped() {
        return admission.areGrouped;
      },
    });
    this.rules.take(work.rules);
    this.front = new SessionFront({
      ...{ admission, counts: this.counts, state: this.state, loop },
      ready: new PacketReplies(
        new PacketCache(work.packets),
        () => ageAfter(startedAt, age.now()),
        () => age.wallSec,
      ),
      monotonicMs: () => systemClock.monotonicMs(),
      nowSec: () => processSecondsAt(surroundings.clock.monotonicMs()),
      send: (queries, transfer) => say({ at: 'queries', queries }, transfer),
    });
  }

  async take(message: ToSessions): Promise<void> {
    switch (message.at) {
      case 'listener': {
        const { call, task } = message;
        const error = await this.perform(task);
        this.say({ at: 'done', call, listening: this.listening, ...(error && { error }) });
        break;
      }
      case 'rules':
        this.rules.take(message.rules);
        break;
      case 'replies':
        this.front.take(message.replies);
        break;
      case 'taken':
        this.front.taken();
        break;
      case 'end':
        return end();
      case 'work':
    }
  }

  /** @returns the error of the system if an address cannot be bound, and of OpenSSL if it refuses a certificate */
  private async perform(task: ListenerTask): Promise<ErrorFields | undefined> {
    const { listener } = this;
    switch (task.at) {
      case 'make':
        // It was given up.
        listener?.destroy();
        this.listener = await this.listenerFor(withBuffers(task.credentials));
        break;
      case 'set':
        try {
          await listener?.set(task.addresses);
        } catch (error) {
          if (!isSystemError(error)) throw error;
          return errorFields(error);
        }
        break;
      case 'keep':
        listener?.keep(task.addresses);
        break;
      case 'credentials':
        try {
          listener?.setCredentials(withBuffers(task.credentials));
        } catch (error) {
          return errorFields(error instanceof Error ? error : new Error(String(error)));
        }
        break;
      case 'close':
        listener?.close();
        break;
      case 'destroy':
        listener?.destroy();
    }
    return undefined;
  }

  private async listenerFor(credentials: ServerCredentials | undefined): Promise<StreamListener> {
    const { turns, memory, front, libc, rules, work, state, admission, counts } = this;
    const { clock, native } = this.surroundings;
    const observer: StreamObserver = { dropped: reason => counts.closed(reason) };
    const changed = (open: number, idleMs: number): void => state.note(open, idleMs);
    const table = new SessionTable({ ...work.table, clock, observer, changed });
    const mayAsk = (address: string): boolean => this.mayAsk(address);
    const sendsProxyHeader = (address: string): boolean => {
      const octets = addressOctets(address);
      return octets !== undefined && admission.sendsProxyHeader(octets);
    };
    const parts = { turns, memory, front, observer, table, mayAsk, sendsProxyHeader, libc, clock };
    const listenerFrom = async <C extends Connection>(streams: Streams<C>): Promise<StreamListener> =>
      work.transport === 'tls'
        ? listenerOver(streams, framedProtocol('tls', parts), parts, credentials)
        : listenerOver(
            streams,
            await rules.protocol(streams, parts),
            { ...parts, ...rules.forConnections },
            credentials,
          );
    return native === undefined ? listenerFrom(nodeStreams(libc)) : listenerFrom(nativeStreams({ libc, ...native }));
  }

  private get listening(): Listening {
    const { bound = [], unopened = [] } = this.listener ?? {};
    return { bound, unopened: unopened.map(({ at, error }) => ({ at, error: errorFields(error) })) };
  }

  private mayAsk(address: string): boolean {
    const octets = addressOctets(address);
    return octets !== undefined && this.admission.mayAsk(octets);
  }
}

/** Buffers that went from thread to thread have become plain arrays of octets. */
const withBuffers = (credentials: ServerCredentials | undefined): ServerCredentials | undefined =>
  credentials && { cert: Buffer.from(credentials.cert), key: Buffer.from(credentials.key) };

/**
 * How often Node.js's own loop has a turn, ms: V8 collects a part of its garbage there. After some turns without any
 * event there is none left, and the thread sleeps.
 */
const TURN_MS = 1000;
const QUIET_TURNS = 16;

/** Runs a loop that waits in the kernel. */
class NativeLoop {
  private readonly state: SessionState;
  /** Whether promises may have been made that Node.js must keep. */
  private leaves = false;
  /** Turns of Node.js's loop since there was an event. */
  private quiet = 0;

  constructor(
    private readonly work: SessionWork,
    private readonly libc: Libc,
    private readonly loop: EventLoop,
    private readonly port: MessagePort,
    private readonly take: (message: ToSessions) => void,
  ) {
    this.state = new SessionState(work.state);
    if (!loop.watch(work.wakeFd, { isNew: false, use: 0, ready: () => this.awake() }, LINUX.EPOLLIN))
      throw new Error('the session thread cannot wait for messages: no memory');
  }

  /** Runs rounds until Node.js's own loop needs a turn, and comes back after it. */
  readonly run = (): void => {
    const { loop } = this;
    this.leaves = false;
    this.quiet++;
    const until = loop.monotonicMs() + TURN_MS;
    try {
      do if (loop.runRound(this.quiet < QUIET_TURNS ? TURN_MS : -1) > 0) this.quiet = 0;
      while (this.staysUntil(until));
    } finally {
      // Also after an exception, which is told of meanwhile.
      if (!this.state.isStopped) setImmediate(this.run);
    }
  };

  private staysUntil(ms: number): boolean {
    return !this.leaves && this.loop.guests === 0 && this.loop.roundMs < ms;
  }

  /** There are messages, or it is the end. */
  private awake(): void {
    this.libc.awake(this.work.wakeFd);
    if (this.state.isStopped) this.leaves = true;
    // Before the end, too: the last one may be to close all sessions.
    for (;;) {
      const received = receiveMessageOnPort(this.port) as { readonly message: ToSessions } | undefined;
      if (received === undefined) return;
      if (received.message.at === 'listener') this.leaves = true;
      this.take(received.message);
    }
  }
}

/** Where sessions over a transport are, or why they are in the loop of Node.js. */
function surroundingsFor({ transport }: SessionWork, libc: Libc): Surroundings & { readonly unavailable?: string } {
  const ofNode = { loop: { soon: setImmediate }, clock: systemClock };
  const openssl = loadOpenSsl(transport === 'tls' ? DOT_ALPN : HTTPS_ALPN);
  if ('unavailable' in openssl) return { ...ofNode, ...openssl };
  try {
    const loop = new EventLoop(libc);
    return { loop, clock: loop, native: { loop, openssl } };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return { ...ofNode, unavailable: error.message };
  }
}

function work(work: SessionWork, libc: Libc, port: MessagePort, say: Say): void {
  const surroundings = surroundingsFor(work, libc);
  const sessions = new Sessions(work, libc, surroundings, say);
  // Told at once: Node.js tells of rejections in its own loop, which may have no turn for long.
  const take = (message: ToSessions): void =>
    void sessions.take(message).catch((error: unknown) => say({ at: 'uncaught', ...uncaughtOf(error) }));
  port.on('message', take);
  const { unavailable, native } = surroundings;
  say({ at: 'working', waits: native !== undefined, ...(unavailable !== undefined && { unavailable }) });
  if (native !== undefined) setImmediate(new NativeLoop(work, libc, native.loop, port, take).run);
}

/** Ends the thread, which no code of C libraries is busy for now. */
const end = (): never => process.exit();

const uncaughtOf = (error: unknown): Pick<Extract<FromSessions, { at: 'uncaught' }>, 'error' | 'fields'> => ({
  error,
  fields: isSystemError(error) ? errorFields(error) : undefined,
});

if (parentPort !== null) {
  const port = parentPort;
  // Loaded before there is work: it takes as long as the rest of the start.
  const libc = loadLibcInThread();
  const say: Say = (message, transfer = []) => port.postMessage(message, [...transfer]);
  // The main thread decides what becomes of the daemon, and has its log.
  const uncaught = (error: unknown): void => say({ at: 'uncaught', ...uncaughtOf(error) });
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', uncaught);
  port.once('message', (first: ToSessions) => {
    if (first.at === 'end') end();
    if (first.at !== 'work') throw new Error(`the session thread has no work for ${first.at}`);
    work(first.work, libc, port, say);
  });
  say({ at: 'started' });
}
