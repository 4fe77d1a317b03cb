// Discovery of Designated Resolvers (RFC 9462): asks a resolver that is known only by its address where it offers DNS
// over TLS and DNS over HTTPS. A designated server is used only if its certificate also holds the address that was asked
// (§4.2), so a forged answer gains nothing.

import { onLinkOf } from '../base/address.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import { questionOf } from '../wire/compose.js';
import { type Designations, readDesignations } from '../wire/designation.js';
import { nameFromText, ROOT } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { bootstrap } from './bootstrap.js';
import { Doubt } from './doubt.js';
import { askOwn, keptForMs, type OwnQuestionPorts, type PlainServer, SENDS, whenDone } from './own-question.js';

/** The address of a designated resolver. */
export interface Designated {
  readonly address: string;
  /** The port of DNS over TLS; undefined: it offers only HTTPS. */
  readonly port: number | undefined;
  readonly name: string;
  /** The address of the resolver that designated it. */
  readonly by: string;
  /** Where DNS over HTTPS is offered, for when the port of DNS over TLS cannot be reached. */
  readonly https: DesignatedHttps | undefined;
}

/** Where a resolver designated DNS over HTTPS. */
export interface DesignatedHttps {
  readonly address: string;
  readonly port: number;
  readonly path: string;
  readonly name: string;
}

/** The answer of one resolver, and how long it holds. */
interface Discovered {
  readonly designated: readonly Designated[];
  readonly ttlSec: number;
}

const QUESTION = questionOf(nameFromText('_dns.resolver.arpa') ?? ROOT, TYPE.SVCB);
// RFC 9462 §4: an answer holds for its TTL. A resolver without an answer, or without designations, is asked again
// later.
const HOLDS_MOST_MS = 3_600_000;
/** In place of the time of the next discovery, while one is running. */
const UNDER_WAY = monoMs(Infinity);

/** Asks a server's addresses where they offer DNS over TLS and over HTTPS, and repeats that. */
export class Discovery {
  private nextAtMs: MonoMs = monoMs(-Infinity);
  private readonly doubts = new Doubt();
  /** The discovery that is running; `isOver`: its result is not needed any more. */
  private current = { isOver: true };
  private isClosed = false;

  /**
   * @param done called with all designated resolvers
   */
  constructor(
    private readonly ports: OwnQuestionPorts,
    private readonly resolvers: readonly PlainServer[],
    private readonly done: (designated: readonly Designated[]) => void,
  ) {}

  /** Starts a discovery if it is due. */
  refresh(nowMs: MonoMs): void {
    if (this.isClosed || nowMs < this.nextAtMs) return;
    this.nextAtMs = UNDER_WAY;
    const current = { isOver: false };
    this.current = current;
    const isOver = (): boolean => current.isOver;
    whenDone(Promise.all(this.resolvers.map(async at => discover(this.ports, at, isOver))), found => {
      if (isOver()) return;
      current.isOver = true;
      const ttlSec = Math.min(...found.map(said => said?.ttlSec ?? 0));
      this.nextAtMs = monoAfter(this.ports.clock.monotonicMs(), keptForMs(ttlSec, HOLDS_MOST_MS));
      this.done(found.flatMap(said => said?.designated ?? []));
    });
  }

  /** None of the designated resolvers is reached: they may have moved. */
  doubt(nowMs: MonoMs): void {
    if (this.nextAtMs === UNDER_WAY || !this.doubts.arises(nowMs)) return;
    this.nextAtMs = nowMs;
    this.refresh(nowMs);
  }

  /** A designated resolver was reached. */
  confirm(): void {
    this.doubts.ends();
  }

  /** Forgets all answers: they belong to another network. */
  forget(): void {
    this.doubts.ends();
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
  const overTls: Omit<Designated, 'https'>[] = [];
  const overHttps: DesignatedHttps[] = [];
  const looked = new Map<string, readonly string[]>();
  for (const { name, port, https, addresses } of found.designations) {
    let known = addresses.length > 0 ? addresses.map(address => onLinkOf(at.address, address)) : looked.get(name);
    if (known === undefined) {
      const result = await bootstrap(ports, name, [at], isOver);
      known = result.at === 'found' ? result.addresses : [];
      looked.set(name, known);
    }
    for (const address of known) {
      if (port !== undefined) overTls.push({ address, port, name, by: at.address });
      if (https !== undefined) overHttps.push({ address, name, ...https });
    }
  }
  return { designated: together(overTls, overHttps, at.address), ttlSec: found.ttlSec };
}

/** HTTPS is used only where DNS over TLS does not work, so it is an addition to each address of that, if there is one. */
function together(
  overTls: readonly Omit<Designated, 'https'>[],
  overHttps: readonly DesignatedHttps[],
  by: string,
): Designated[] {
  if (overTls.length === 0)
    return overHttps.map(https => ({ address: https.address, port: undefined, name: https.name, by, https }));
  return overTls.map(each => ({
    ...each,
    https: overHttps.find(({ address }) => address === each.address) ?? overHttps[0],
  }));
}

async function ask(ports: OwnQuestionPorts, at: PlainServer, isOver: () => boolean): Promise<Designations | undefined> {
  for (let sends = 0; sends < SENDS; sends++) {
    const reply = await askOwn(ports, at, QUESTION, 'probe', sends === 0, isOver);
    if (reply !== undefined) return readDesignations(reply);
  }
  return undefined;
}
