// A query of our own in cleartext: for the address of a server, or for its designated resolvers. And for how long such
// answers are used.

import type { CleartextReason, Observer } from '../base/observer.js';
import type { DialDatagram, Random } from '../base/ports.js';
import { answersQuery, upstreamQuery } from '../wire/upstream-query.js';
import { sendDatagram } from './datagram.js';
import { blamesForm } from './edns-forms.js';

/** The ports that it uses. */
export interface OwnQuestionPorts {
  readonly random: Random;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
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
 * Sends the query once.
 * @param edns whether to use EDNS; where that gets no usable answer, it must be asked again without, because some home
 * routers drop queries with an OPT
 * @param isOver whether the result is not needed any more; then nothing is sent, and no answer is used
 * @returns the reply; undefined: there was none
 */
export async function askOwn(
  { random, dialDatagram, observer }: OwnQuestionPorts,
  server: PlainServer,
  question: Buffer,
  reason: CleartextReason,
  edns: boolean,
  isOver: () => boolean,
): Promise<Buffer | undefined> {
  if (isOver()) return undefined;
  observer.cleartext(reason);
  const id = random.uint16();
  const query = upstreamQuery(
    id,
    { question, dnssecOk: false, checkingDisabled: false },
    edns ? { pad: false, keepalive: false, hideSubnet: true } : undefined,
  );
  return new Promise(resolve =>
    sendDatagram(
      dialDatagram,
      server,
      query,
      message => answersQuery(message, id, question),
      TIMEOUT_MS,
      result => resolve(typeof result === 'string' || isOver() || (edns && blamesForm(result)) ? undefined : result),
    ),
  );
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
