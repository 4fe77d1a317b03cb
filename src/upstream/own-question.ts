// A query of our own in cleartext: for the address of a server, or for its designated resolvers. It goes over UDP, and
// over TCP where the answer is truncated, or where UDP gets none. And for how long such answers are used.

import type { CleartextReason, Observer } from '../base/observer.js';
import type { Clock, Dial, DialDatagram, Random } from '../base/ports.js';
import { frameReader, framed } from '../wire/frame.js';
import { FLAG, flagsOf } from '../wire/header.js';
import {
  answersQuery,
  isErrorWithoutQuestion,
  repeatsCase,
  upstreamQuery,
  withRandomCase,
} from '../wire/upstream-query.js';
import { sendDatagram } from './datagram.js';
import { blamesForm } from './edns-forms.js';

/** The ports that it uses. */
export interface OwnQuestionPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  /** Whether the letter case of names is random over UDP. */
  readonly randomizesCase: () => boolean;
}

/** A resolver to ask: its address and port. */
export interface PlainServer {
  readonly address: string;
  readonly port: number;
}

const TIMEOUT_MS = 1000;

/** Each query is sent up to this many times, first with EDNS: one lost datagram must not delay the start. */
export const SENDS = 2;

/**
 * Sends the query once over UDP, and where that is not enough, once over TCP.
 * @param edns whether to use EDNS, and a name in random letter case, which the answer must repeat (0x20). Where that gets
 * no usable answer, it must be asked again without, because some home routers drop queries with an OPT. Without EDNS it
 * goes over TCP at the same time: some networks let only that through.
 * @param isOver whether the result is not needed any more; then nothing is sent, and no answer is used
 * @returns the reply; undefined: there was none
 */
export async function askOwn(
  ports: OwnQuestionPorts,
  server: PlainServer,
  question: Buffer,
  reason: CleartextReason,
  edns: boolean,
  isOver: () => boolean,
): Promise<Buffer | undefined> {
  if (isOver()) return undefined;
  const { random, dialDatagram, observer } = ports;
  const id = random.uint16();
  const isMixed = edns && ports.randomizesCase();
  const sent = isMixed ? withRandomCase(question, random) : question;
  const query = upstreamQuery(
    id,
    { question: sent, dnssecOk: false, checkingDisabled: false },
    edns ? { pad: false, keepalive: false, hideSubnet: true } : undefined,
  );
  const accept = (message: Buffer): boolean =>
    answersQuery(message, id, question) && (!isMixed || isErrorWithoutQuestion(message) || repeatsCase(message, sent));
  return new Promise(resolve => {
    let waiting = 0;
    const take = (reply: Buffer | undefined): void => {
      waiting--;
      const isUsable = reply !== undefined && !isOver() && !(edns && blamesForm(reply));
      if (isUsable || waiting === 0) resolve(isUsable ? reply : undefined);
    };
    const overStream = (): void => {
      waiting++;
      observer.cleartext(reason);
      sendOverStream(ports, server, query, accept, isOver, take);
    };
    waiting++;
    observer.cleartext(reason);
    sendDatagram(dialDatagram, server, query, accept, TIMEOUT_MS, result => {
      const reply = typeof result === 'string' ? undefined : result;
      const isTruncated = reply !== undefined && (flagsOf(reply) & FLAG.TC) !== 0;
      if (isTruncated && edns && !isOver()) overStream();
      take(isTruncated ? undefined : reply);
    });
    if (!edns && !isOver()) overStream();
  });
}

/** Sends a query over a TCP connection of its own, and calls `then` once with the response, or with nothing. */
function sendOverStream(
  { clock, dial }: Pick<OwnQuestionPorts, 'clock' | 'dial'>,
  { address, port }: PlainServer,
  query: Buffer,
  accept: (message: Buffer) => boolean,
  isOver: () => boolean,
  then: (reply: Buffer | undefined) => void,
): void {
  const frames = frameReader();
  let isDone = false;
  const finish = (reply: Buffer | undefined): void => {
    if (isDone) return;
    isDone = true;
    cancel();
    stream.destroy();
    then(reply);
  };
  const stream = dial(
    { address, port, security: { at: 'cleartext' } },
    {
      connected: () => (isOver() ? finish(undefined) : stream.send(framed(query))),
      bytes: chunk =>
        frames.push(chunk, message => {
          // The memory is reused after this call.
          if (!isDone && accept(message)) finish(Buffer.from(message));
        }),
      closed: () => finish(undefined),
    },
  );
  const cancel = clock.after(TIMEOUT_MS, () => finish(undefined));
}

/** The shortest time for which answers to questions of our own are used: a TTL of 0 must not make us ask all the time. */
const KEPT_LEAST_MS = 60_000;

/** For how long an answer with this TTL is used; at least a minute, at most `mostMs`. */
export const keptForMs = (ttlSec: number, mostMs: number): number =>
  Math.min(Math.max(ttlSec * 1000, KEPT_LEAST_MS), mostMs);

/**
 * Calls `then` with the result of `work`, which must not reject. If it rejects, or if `then` throws, that is a fault in
 * the program, and becomes an uncaught exception of the process.
 */
export function whenDone<V>(work: Promise<V>, then: (value: V) => void): void {
  work.then(
    value => queueMicrotask(() => then(value)),
    (error: unknown) =>
      queueMicrotask(() => {
        throw error;
      }),
  );
}
