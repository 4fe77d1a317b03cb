// Discovery of Designated Resolvers (RFC 9462): a resolver that is only known by its address is asked where it speaks DNS
// over TLS. What it says is only followed to a server whose certificate also holds the address that was asked (§4.2), so
// that forging the answer gains nothing.

import type { Clock } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import { type Designations, readDesignations } from '../wire/designation.js';
import { nameFromText, ROOT } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { bootstrap } from './bootstrap.js';
import { askOwn, type OwnQuestionPorts, type PlainServer, questionFor, whenDone } from './own-question.js';

/** A place to connect to. */
export interface Designated {
  readonly address: string;
  readonly port: number;
  readonly name: string;
  /** The address of the resolver that named it. */
  readonly by: string;
}

/** What one resolver said, and for how long. */
interface Discovered {
  readonly designated: readonly Designated[];
  readonly ttlSec: number;
}

const SENDS = 2;
const QUESTION = questionFor(nameFromText('_dns.resolver.arpa') ?? ROOT, TYPE.SVCB);
// RFC 9462 §4: what was said holds for its TTL. A resolver that did not answer, or said no, is asked again now and then.
const HOLDS_LEAST_MS = 60_000;
const HOLDS_MOST_MS = 3_600_000;
/** In place of the time of the next one, while one is under way. */
const UNDER_WAY = monoMs(Infinity);

/** Asks a server's addresses where they speak DNS over TLS, again and again. */
export class Discovery {
  private nextAtMs: MonoMs = monoMs(-Infinity);
  /** The one under way; `isOver`: its result is wanted no more. */
  private current = { isOver: true };
  private isClosed = false;

  /** @param done told of all that are designated now */
  constructor(
    private readonly ports: OwnQuestionPorts & { readonly clock: Clock },
    private readonly resolvers: readonly PlainServer[],
    private readonly done: (designated: readonly Designated[]) => void,
  ) {}

  /** Asks, if it is time. */
  refresh(nowMs: MonoMs): void {
    if (this.isClosed || nowMs < this.nextAtMs) return;
    this.nextAtMs = UNDER_WAY;
    const current = { isOver: false };
    this.current = current;
    const isOver = (): boolean => current.isOver;
    whenDone(Promise.all(this.resolvers.map(async at => discover(this.ports, at, isOver))), found => {
      if (isOver()) return;
      current.isOver = true;
      const holdsMs = Math.min(...found.map(said => (said?.ttlSec ?? 0) * 1000));
      const nextInMs = Math.min(Math.max(holdsMs, HOLDS_LEAST_MS), HOLDS_MOST_MS);
      this.nextAtMs = monoAfter(this.ports.clock.monotonicMs(), nextInMs);
      this.done(found.flatMap(said => said?.designated ?? []));
    });
  }

  /** What was said was another network's. */
  forget(): void {
    this.current.isOver = true;
    this.nextAtMs = monoMs(-Infinity);
  }

  close(): void {
    this.isClosed = true;
    this.current.isOver = true;
  }
}

/** Asks the resolver at an address; undefined: it did not answer. Never rejects. */
async function discover(
  ports: OwnQuestionPorts,
  at: PlainServer,
  isOver: () => boolean,
): Promise<Discovered | undefined> {
  const found = await ask(ports, at, isOver);
  if (found === undefined) return undefined;
  const designated: Designated[] = [];
  for (const { name, port, addresses } of found.designations) {
    let known = addresses;
    if (known.length === 0) {
      const looked = await bootstrap(ports, name, [at], isOver);
      known = looked.at === 'found' ? looked.addresses : [];
    }
    designated.push(...known.map(address => ({ address, port, name, by: at.address })));
  }
  return { designated, ttlSec: found.ttlSec };
}

async function ask(ports: OwnQuestionPorts, at: PlainServer, isOver: () => boolean): Promise<Designations | undefined> {
  for (let sends = 0; sends < SENDS; sends++) {
    const reply = await askOwn(ports, at, QUESTION, 'probe', isOver);
    if (reply !== undefined) return readDesignations(reply);
  }
  return undefined;
}
