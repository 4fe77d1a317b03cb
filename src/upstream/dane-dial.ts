// Authenticates servers by TLSA records (RFC 8310 §8.2, RFC 7671), between the dialer and its user, who sees only a
// handshake that takes longer.
//
//   unproved ──records are kept, and match───────────────────────▶ proved
//      │                                                             ▲
//      └─ none are kept, or none matches ──asks over this stream ────┴─▶ refused
//
// Kept records are refreshed before their time is over, as long as a stream to their server is open, over a short
// stream of their own.

import { failure } from '../base/outcome.js';
import type {
  Cancel,
  Clock,
  Dial,
  DialTarget,
  Log,
  Random,
  Stream,
  StreamEvents,
  UnprovedPeer,
} from '../base/ports.js';
import { type WallMs, wallMs } from '../base/time.js';
import { type DaneVerdict, judgeByTlsa } from './dane.js';
import { lookUpTlsa, type ProvenLookup, type TlsaFound, tlsaOwner } from './dane-lookup.js';
import { type KeptTlsa, type Memory, TLSA_MOST_MS } from './memory.js';
import { keptForMs } from './own-question.js';
import type { ServerName } from './pool.js';
import { UnprovedQuestions } from './unproved.js';

/** The parts that it uses. */
export interface DaneParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where proven records are kept, over restarts, too. */
  readonly memory: Pick<Memory, 'tlsa' | 'keepTlsa'>;
  readonly lookup: ProvenLookup;
}

/** How long before their end records are asked for again, and the shortest time until then. */
const REFRESH_BEFORE_MS = 15_000;
const REFRESH_LEAST_MS = 30_000;
/** How long a refresh may take. */
const REFRESH_MS = 5000;

/** A target whose server must be proved by TLSA records. */
type DaneTarget = DialTarget & { readonly security: { readonly at: 'dane' } };

/** Makes a Dial port that serves the security `dane`, of one that calls `unproved` for it. */
export function daneDial(dial: Dial, parts: DaneParts): Dial {
  const refresher = new Refresher(dial, parts);
  return (target, events) =>
    isDane(target) ? new ProvedStream(dial, parts, refresher, target, events) : dial(target, events);
}

const isDane = (target: DialTarget): target is DaneTarget => target.security.at === 'dane';
/** The server as its questions name it. It is the only one that they can go to. */
const serverOf = ({ security }: DaneTarget): ServerName => ({ id: 1, label: security.name });
const ownerOf = ({ security, port }: DaneTarget): string => tlsaOwner(security.name, port);

/** Looks the records of a target up, and keeps them if they are proven. */
function ask(
  { lookup, clock, memory }: DaneParts,
  questions: UnprovedQuestions,
  target: DaneTarget,
  take: (found: TlsaFound, untilMs: WallMs) => void,
): void {
  lookUpTlsa(lookup, questions, { name: target.security.name, port: target.port }, found => {
    if (found.at === 'refused') return take(found, wallMs(0));
    const { names, records } = found.set;
    const untilMs = wallMs(clock.wallMs() + keptForMs(found.ttlSec, TLSA_MOST_MS));
    memory.keepTlsa(ownerOf(target), { names, records, untilMs });
    take(found, untilMs);
  });
}

/** A stream whose user hears of it only when its server is proved. */
class ProvedStream implements Stream {
  private readonly inner: Stream;
  /** The questions on this stream; undefined: there are none any more, and octets pass as they are. */
  private questions: UnprovedQuestions | undefined = undefined;
  /** `proved`: the user was told of the connection. */
  private phase: 'proving' | 'proved' | 'over' = 'proving';

  constructor(
    dial: Dial,
    private readonly parts: DaneParts,
    private readonly refresher: Refresher,
    private readonly target: DaneTarget,
    private readonly events: StreamEvents,
  ) {
    // Sessions are resumed only while the records are kept that their servers were proved by.
    const withoutResumption = parts.memory.tlsa(ownerOf(target)) === undefined;
    this.inner = dial(withoutResumption ? { ...target, withoutResumption } : target, {
      unproved: peer => this.unproved(peer),
      connected: info => {
        this.phase = 'proved';
        refresher.opened(target);
        events.connected(info);
      },
      bytes: chunk => this.received(chunk),
      closed: why => {
        this.ended();
        events.closed(why);
      },
    });
  }

  send(bytes: Buffer): void {
    this.inner.send(bytes);
  }

  acknowledge(): void {
    this.inner.acknowledge();
  }

  close(): void {
    this.ended();
    this.inner.close();
  }

  destroy(): void {
    this.ended();
    this.inner.destroy();
  }

  private unproved(peer: UnprovedPeer): void {
    const { parts, target } = this;
    const owner = ownerOf(target);
    const kept = parts.memory.tlsa(owner);
    if (kept !== undefined && this.judge(peer, owner, kept).at === 'proved') return peer.accept(kept.untilMs);
    // No records are kept, or the server has another key now: the records of now decide.
    const questions = new UnprovedQuestions(parts.random, serverOf(target), peer.send);
    this.questions = questions;
    ask(parts, questions, target, (found, untilMs) => {
      if (this.phase === 'over') return;
      if (found.at === 'refused') return peer.refuse(found.detail);
      const verdict = this.judge(peer, found.set.owner, found.set);
      if (verdict.at === 'proved') peer.accept(untilMs);
      else peer.refuse(verdict.detail);
    });
  }

  private judge(peer: UnprovedPeer, owner: string, { names, records }: Omit<KeptTlsa, 'untilMs'>): DaneVerdict {
    return judgeByTlsa(peer, { owner, names, records }, this.parts.clock.wallMs());
  }

  private received(chunk: Buffer): void {
    const { questions } = this;
    if (questions === undefined) return this.events.bytes(chunk);
    questions.received(chunk, frame => {
      // Before the proof nobody has asked for it.
      if (this.phase === 'proved') this.events.bytes(frame);
    });
    if (this.phase === 'proved' && questions.isIdle) this.questions = undefined;
  }

  private ended(): void {
    const before = this.phase;
    this.phase = 'over';
    this.questions?.end(failure('closed'));
    if (before === 'proved') this.refresher.closed(this.target);
  }
}

/** Records that are refreshed. */
interface Refreshed {
  readonly target: DaneTarget;
  /** Streams to their server. */
  streams: number;
  cancel: Cancel;
}

/** Refreshes kept records before their time is over, as long as streams to their server are open. */
class Refresher {
  /** By owner. Bounded by the servers that are configured. */
  private readonly owners = new Map<string, Refreshed>();

  constructor(
    private readonly dial: Dial,
    private readonly parts: DaneParts,
  ) {}

  opened(target: DaneTarget): void {
    const owner = ownerOf(target);
    const known = this.owners.get(owner);
    if (known !== undefined) {
      known.streams++;
      return;
    }
    const refreshed: Refreshed = { target, streams: 1, cancel: () => undefined };
    this.owners.set(owner, refreshed);
    this.schedule(owner, refreshed);
  }

  closed(target: DaneTarget): void {
    const owner = ownerOf(target);
    const known = this.owners.get(owner);
    if (known === undefined || --known.streams > 0) return;
    known.cancel();
    this.owners.delete(owner);
  }

  private schedule(owner: string, refreshed: Refreshed): void {
    const { clock } = this.parts;
    const waitMs = Math.max(this.dueInMs(owner) ?? 0, REFRESH_LEAST_MS);
    refreshed.cancel = clock.after(waitMs, () => {
      // Another stream may have brought newer records meanwhile.
      const dueInMs = this.dueInMs(owner);
      if (dueInMs !== undefined && dueInMs <= 0) this.refresh(refreshed.target);
      this.schedule(owner, refreshed);
    });
  }

  /** Undefined: no records are kept, so the next handshake asks for them. */
  private dueInMs(owner: string): number | undefined {
    const { clock, memory } = this.parts;
    const kept = memory.tlsa(owner);
    return kept && kept.untilMs - clock.wallMs() - REFRESH_BEFORE_MS;
  }

  /** Asks over a stream of its own, which is closed then. */
  private refresh(target: DaneTarget): void {
    const { parts } = this;
    let questions: UnprovedQuestions | undefined;
    let isOver = false;
    const end = (stream: Stream): void => {
      isOver = true;
      questions?.end(failure('timeout'));
      cancel();
      stream.close();
    };
    const begin = (send: (bytes: Buffer) => void): void => {
      const asked = new UnprovedQuestions(parts.random, serverOf(target), send);
      questions = asked;
      ask(parts, asked, target, found => {
        if (found.at === 'refused')
          parts.log.debug({ upstream: target.security.name }, `refreshing TLSA records: ${found.detail}`);
        if (!isOver) end(opened);
      });
    };
    const opened: Stream = this.dial(target, {
      unproved: peer => begin(bytes => peer.send(bytes)),
      // A TLS session was resumed.
      connected: () => begin(bytes => opened.send(bytes)),
      bytes: chunk => questions?.received(chunk, () => undefined),
      closed: () => {
        if (!isOver) end(opened);
      },
    });
    const cancel = parts.clock.after(REFRESH_MS, () => {
      if (!isOver) end(opened);
    });
  }
}
