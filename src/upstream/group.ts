// The servers of a pool. They are made from a specification; servers that stay the same in the next specification are
// kept. Removed servers stay here until their last connection has closed.

import type { CleartextReason } from '../base/observer.js';
import type { Failure } from '../base/outcome.js';
import type { Mode, ServerOverview } from '../base/overview.js';
import { DNS_PORT } from '../base/port-numbers.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import type { Endpoint, EndpointEvents, ServerName, UpstreamPorts } from './endpoint.js';
import type { Waiter } from './inflight.js';
import type { PlainServer } from './own-question.js';
import { type Candidates, isTlsOnly, type Policy } from './selection.js';
import { addressLabel, Server, serverKey, type GroupSettings, type ServerSpec } from './server.js';

/** The specification of a pool. */
export interface PoolSpec {
  readonly mode: Mode;
  /** The label that cleartext queries are counted under; undefined: the one of the mode. */
  readonly reason?: CleartextReason;
  readonly policy: Policy;
  readonly servers: readonly ServerSpec[];
  /** Called at each search, because the system's resolvers change with the network. */
  readonly bootstrapServers: () => readonly PlainServer[];
  /**
   * A text that differs for other trusted roots, and for another client certificate. When it changes, no server keeps
   * its connections.
   */
  readonly trust?: string;
  /** The port of cleartext DNS: 53 except in tests. */
  readonly plainPort?: number;
}

/** How often endpoints that are not in use are tried beside the queries. */
const TRY_REST_MS = 250;

/** The servers of one pool. */
export class Group<T extends Waiter> implements Candidates<Endpoint<T>> {
  private spec: PoolSpec;
  private servers: readonly Server<T>[] = [];
  /** Removed servers whose last connection has not closed yet. */
  private readonly leaving = new Set<Server<T>>();
  /** All endpoints. Read for every question, so it is rebuilt only when it changes. */
  private all: readonly Endpoint<T>[] = [];
  private tryRestAtMs: MonoMs = monoMs(0);

  /**
   * @param changed called when the endpoints have changed, or when the search for them has failed
   */
  constructor(
    private readonly ports: UpstreamPorts,
    spec: PoolSpec,
    private readonly events: EndpointEvents<T>,
    private readonly changed: () => void,
  ) {
    this.spec = spec;
    this.configure(spec);
  }

  get policy(): Policy {
    return this.spec.policy;
  }

  get mode(): Mode {
    return this.spec.mode;
  }

  /** The addresses that can be asked, in the order of the configuration. */
  get endpoints(): readonly Endpoint<T>[] {
    return this.all;
  }

  get names(): readonly ServerName[] {
    return this.servers.map(each => each.name);
  }

  get isEmpty(): boolean {
    return this.servers.length === 0;
  }

  /** Whether at least one server has no address yet and is searching for one. */
  get isSearching(): boolean {
    return this.servers.some(each => each.isSearching);
  }

  /**
   * Changes to another specification. Servers that stay the same keep their connections and everything learned about
   * them.
   */
  configure(spec: PoolSpec): void {
    this.spec = spec;
    const { reason = spec.mode === 'off' ? 'off' : 'opportunistic', plainPort = DNS_PORT, trust = '' } = spec;
    const setting: GroupSettings = {
      mode: spec.mode,
      reason,
      plainPort,
      trust,
      bootstrapServers: () => this.spec.bootstrapServers(),
    };
    // Each old server can serve one entry only: two equal entries are two servers.
    const before = [...this.servers];
    const kept = spec.servers.map(entry => {
      const at = before.findIndex(({ key }) => key === serverKey(entry, setting));
      return at === -1 ? undefined : before.splice(at, 1)[0];
    });
    const nowMs = this.ports.clock.monotonicMs();
    const labels = new Set(kept.flatMap(each => (each === undefined ? [] : [each.name.label])));
    this.servers = spec.servers.map((entry, i) => {
      const label = kept[i]?.name.label ?? freeLabel(entry, labels);
      labels.add(label);
      const known = kept[i];
      if (known !== undefined) return known;
      const made = this.server(entry, label, setting);
      made.replace(before, nowMs);
      return made;
    });
    this.collect();
    for (const each of before) this.leave(each);
    for (const each of this.servers) each.bootstrapChanged();
    this.refresh(nowMs);
  }

  /** Starts the searches that are due. */
  refresh(nowMs: MonoMs): void {
    for (const each of this.servers) each.refresh(nowMs);
  }

  /** Beside the queries, tries the endpoints that may work again. Called with every question. */
  tryRest(nowMs: MonoMs): void {
    if (nowMs < this.tryRestAtMs) return;
    this.tryRestAtMs = monoAfter(nowMs, TRY_REST_MS);
    // Without cleartext, as long as none works the queries themselves try one after the other.
    if (this.mode !== 'opportunistic' && !this.all.some(each => each.standing === 'works')) return;
    for (const each of this.all) each.tryBeside(nowMs);
  }

  /** If no name goes in cleartext any more, what was before does not count for how long they do. */
  reached(nowMs: MonoMs): void {
    if (isTlsOnly(this, nowMs)) for (const each of this.all) each.endCleartext();
  }

  /** An outage is over: tries all endpoints that have failed. */
  tryAgain(nowMs: MonoMs): void {
    for (const each of this.all) each.retrySoon(nowMs);
  }

  /** Connects before the first question, and starts the searches that are due. */
  prepare(nowMs: MonoMs): void {
    this.refresh(nowMs);
    for (const each of this.all) each.prepare(nowMs);
  }

  /** The network has changed, or the machine has slept. Removed servers are reset, too. */
  reset(what: 'network' | 'resume'): void {
    for (const each of [...this.servers, ...this.leaving]) each.reset(what);
    this.collect();
  }

  /** Sends nothing more. Queries in flight are finished. */
  close(): void {
    const { servers } = this;
    this.servers = [];
    this.collect();
    for (const each of servers) this.leave(each);
  }

  /** Closes all connections at once. */
  destroy(): void {
    const all = [...this.servers, ...this.leaving];
    this.servers = [];
    this.collect();
    for (const each of all) each.destroy();
    this.leaving.clear();
  }

  /** The state of all servers. */
  overview(nowMs: MonoMs): readonly Omit<ServerOverview, 'dnssec' | 'purpose'>[] {
    const tlsOnly = isTlsOnly(this, nowMs);
    return this.servers.map(each => ({ ...each.name, addresses: each.overview(nowMs, tlsOnly) }));
  }

  /** Why no server could be asked: the first reason among the servers. */
  whyNobody(): Failure | undefined {
    for (const each of this.servers) {
      const why = each.failure ?? each.endpoints.find(one => one.lastFailure !== undefined)?.lastFailure;
      if (why !== undefined) return why;
    }
    return undefined;
  }

  private server(entry: ServerSpec, label: string, setting: GroupSettings): Server<T> {
    const made: Server<T> = new Server<T>(this.ports, entry, label, setting, this.events, {
      changed: () => {
        this.collect();
        this.changed();
      },
      gone: () => void this.leaving.delete(made),
    });
    return made;
  }

  private leave(server: Server<T>): void {
    this.leaving.add(server);
    server.close();
  }

  private collect(): void {
    this.all = this.servers.flatMap(each => each.endpoints);
  }
}

/** The label of an entry. If it is taken, its first address is added, and a number if necessary. */
function freeLabel({ label, addresses: [first] }: ServerSpec, taken: ReadonlySet<string>): string {
  if (!taken.has(label)) return label;
  const where = first === undefined ? '' : addressLabel(first.address, first.port);
  for (let i = 1; ; i++) {
    const inner = [where, i === 1 ? '' : String(i)].filter(each => each !== '').join(', ');
    const candidate = inner === '' ? label : `${label} (${inner})`;
    if (!taken.has(candidate)) return candidate;
  }
}
