// The session thread: sessions of clients over TLS and HTTPS, whose handshakes would keep all other work waiting. It has
// an event loop of its own, and the listeners in it are those of the main thread.

import { parentPort } from 'node:worker_threads';

import { addressOctets } from '../base/address.js';
import { ageClock } from '../base/age-clock.js';
import { FrontCounts } from '../base/front-counts.js';
import type { StreamObserver } from '../base/observer.js';
import { isSystemError } from '../base/system-error.js';
import { ageAfter } from '../base/time.js';
import { PacketCache } from '../fastpath/packet-cache.js';
import { PacketReplies } from '../fastpath/ready-replies.js';
import { Memory } from '../listen/memory.js';
import { SessionTable } from '../listen/sessions.js';
import { framedProtocol, streamListener, type StreamListener } from '../listen/stream.js';
import type { ServerCredentials } from '../listen/tls-acceptor.js';
import { Turns } from '../listen/turns.js';
import { processSeconds, systemClock } from '../os/clock.js';
import { type Libc, loadLibc } from '../os/libc.js';
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
  type ThreadTransport,
  type ToSessions,
} from './session-messages.js';

type Say = (message: FromSessions, transfer?: readonly ArrayBuffer[]) => void;

/** The sessions. */
class Sessions {
  private readonly listeners = new Map<ThreadTransport, StreamListener>();
  private readonly turns = new Turns();
  private readonly memory = new Memory();
  private readonly state: SessionState;
  private readonly counts: Readonly<Record<ThreadTransport, FrontCounts>>;
  private readonly admission: Admission;
  private readonly rules: HttpsRules;
  private readonly front: SessionFront;

  constructor(
    private readonly work: SessionWork,
    private readonly libc: Libc,
    private readonly say: Say,
  ) {
    const age = ageClock(systemClock);
    const startedAt = ageAfter(work.age, Math.max(0, systemClock.wallMs() - work.at) / 1000);
    this.state = new SessionState(work.state);
    this.counts = {
      tls: new FrontCounts(work.counts.tls, 'tls'),
      https: new FrontCounts(work.counts.https, 'https'),
    };
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
      ...{ admission, counts: this.counts, state: this.state, nowSec: processSeconds },
      ready: new PacketReplies(new PacketCache(work.packets), () => ageAfter(startedAt, age())),
      monotonicMs: () => systemClock.monotonicMs(),
      send: (queries, transfer) => say({ at: 'queries', queries }, transfer),
    });
  }

  async take(message: ToSessions): Promise<void> {
    switch (message.at) {
      case 'listener': {
        const { call, transport, task } = message;
        const error = await this.perform(transport, task);
        this.say({ at: 'done', call, listening: this.listening(transport), ...(error && { error }) });
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
      case 'work':
    }
  }

  /** @returns the error of the system if an address cannot be bound */
  private async perform(transport: ThreadTransport, task: ListenerTask): Promise<ErrorFields | undefined> {
    const listener = this.listeners.get(transport);
    switch (task.at) {
      case 'make':
        await this.make(transport, withBuffers(task.credentials));
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
        listener?.setCredentials(withBuffers(task.credentials));
        break;
      case 'close':
        listener?.close();
        break;
      case 'destroy':
        listener?.destroy();
    }
    return undefined;
  }

  private async make(transport: ThreadTransport, credentials: ServerCredentials | undefined): Promise<void> {
    const { turns, memory, front, libc, rules, work, state, admission } = this;
    const counts = this.counts[transport];
    const observer: StreamObserver = { dropped: reason => counts.closed(reason) };
    const changed = (open: number, idleMs: number): void => state.note(transport, open, idleMs);
    const table = new SessionTable({ ...work.tables[transport], clock: systemClock, observer, changed });
    const mayAsk = (address: string): boolean => this.mayAsk(address);
    const sendsProxyHeader = (address: string): boolean => {
      const octets = addressOctets(address);
      return octets !== undefined && admission.sendsProxyHeader(octets);
    };
    const parts = { turns, memory, front, observer, table, mayAsk, sendsProxyHeader, libc, clock: systemClock };
    const listener =
      transport === 'tls'
        ? streamListener(framedProtocol(transport, parts), parts, credentials)
        : streamListener(await rules.protocol(parts), { ...parts, ...rules.forConnections }, credentials);
    this.listeners.set(transport, listener);
  }

  private listening(transport: ThreadTransport): Listening {
    const { bound = [], unopened = [] } = this.listeners.get(transport) ?? {};
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

if (parentPort !== null) {
  const port = parentPort;
  // Loaded before there is work: it takes as long as the rest of the start.
  const libc = loadLibc();
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  const say: Say = (message, transfer = []) => port.postMessage(message, [...transfer]);
  // The main thread decides what becomes of the daemon, and has its log.
  const uncaught = (error: unknown): void =>
    say({ at: 'uncaught', error, fields: isSystemError(error) ? errorFields(error) : undefined });
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', uncaught);
  port.once('message', (first: ToSessions) => {
    if (first.at !== 'work') throw new Error(`the session thread has no work for ${first.at}`);
    const sessions = new Sessions(first.work, libc, say);
    port.on('message', (message: ToSessions) => void sessions.take(message));
    say({ at: 'working' });
  });
  say({ at: 'started' });
}
