// Questions of our own over the stream of a server that is not authenticated yet: for its TLSA records, and for the
// keys that prove them. Only such questions can be asked here, so that no name of a client can go there by mistake.

import { failure, type Failure } from '../base/outcome.js';
import type { Random } from '../base/ports.js';
import { typeOfQuestion } from '../wire/compose.js';
import { framed, frameReader } from '../wire/frame.js';
import { idOf } from '../wire/header.js';
import { TYPE } from '../wire/rrtype.js';
import { scanResponse } from '../wire/scan.js';
import { answersQuery, type Ask, upstreamFrame } from '../wire/upstream-query.js';
import type { ServerName, TakeReply, Upstream } from './pool.js';

/** The types of questions that authentication needs. */
const ALLOWED: ReadonlySet<number> = new Set([TYPE.TLSA, TYPE.CNAME, TYPE.DS, TYPE.DNSKEY]);
/** The most questions that wait at once. Validation asks for less (dnssec/budget). */
const MOST_WAITING = 128;
const OPTIONS = { pad: true, keepalive: false, hideSubnet: true } as const;

interface Waiting {
  readonly question: Buffer;
  readonly type: number;
  readonly take: TakeReply;
}

/** The questions of one stream. */
export class UnprovedQuestions implements Upstream {
  readonly servers: readonly ServerName[];
  private readonly waiting = new Map<number, Waiting>();
  private readonly frames = frameReader();
  /** Why nothing is asked any more. */
  private ended: Failure | undefined = undefined;

  constructor(
    private readonly random: Random,
    private readonly server: ServerName,
    private readonly send: (bytes: Buffer) => void,
  ) {
    this.servers = [server];
  }

  exchange(ask: Ask, type: number, take: TakeReply): void {
    if (this.ended !== undefined) return take(this.ended);
    // The type is that of the question, whatever the caller says.
    const { question } = ask;
    if (!ALLOWED.has(type) || typeOfQuestion(question) !== type)
      throw new TypeError(`a question of type ${type} before its server is authenticated`);
    if (this.waiting.size >= MOST_WAITING) return take(failure('overload'));
    let id = this.random.uint16();
    while (this.waiting.has(id)) id = (id + 1) & 0xffff;
    this.waiting.set(id, { question, type, take });
    this.send(upstreamFrame(id, ask, OPTIONS));
  }

  /**
   * Takes the next octets of the stream. All of them, from its first on, must come here until `isIdle`.
   * @param others called with messages that answer none of these questions, framed
   */
  received(chunk: Buffer, others: (frame: Buffer) => void): void {
    this.frames.push(chunk, message => {
      if (this.ended === undefined && !this.answered(message)) others(framed(message));
    });
  }

  /** Whether nothing is waited for, and the stream stands between two messages. */
  get isIdle(): boolean {
    return this.waiting.size === 0 && !this.frames.partial;
  }

  /** Ends all questions; later ones fail with the same reason. */
  end(why: Failure): void {
    this.ended ??= why;
    const all = [...this.waiting.values()];
    this.waiting.clear();
    for (const { take } of all) take(this.ended);
  }

  private answered(message: Buffer): boolean {
    const id = message.length < 2 ? -1 : idOf(message);
    const waiting = this.waiting.get(id);
    if (waiting === undefined || !answersQuery(message, id, waiting.question)) return false;
    this.waiting.delete(id);
    const scan = scanResponse(message, waiting.type);
    const { label } = this.server;
    if (scan === undefined) waiting.take(failure('parse', label));
    else waiting.take({ at: 'reply', message, scan, server: this.server, protocol: 'dot', authenticated: false });
    return true;
  }
}
