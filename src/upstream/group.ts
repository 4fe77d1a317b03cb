// The servers that a pool asks: made from the specification, kept over a change of it as far as they stay, and told when
// the network is another. Servers that were taken out stay here until their last connection is closed.

import type { CleartextReason } from '../base/observer.js';
import type { Failure } from '../base/outcome.js';
import type { Mode, ServerOverview } from '../base/overview.js';
import type { MonoMs } from '../base/time.js';
import type { Endpoint, EndpointEvents, ServerName, UpstreamPorts } from './endpoint.js';
import type { Waiter } from './inflight.js';
import type { PlainServer } from './own-question.js';
import type { Candidates, Policy } from './selection.js';
import { Server, serverKey, type ServerSetting, type ServerSpec } from './server.js';

/** What a pool is made from. */
export interface PoolSpec {
  readonly mode: Mode;
  /** What cleartext queries are counted as, where it is not the mode's own. */
  readonly reason?: CleartextReason;
  readonly policy: Policy;
  readonly servers: readonly ServerSpec[];
  /** Asked for anew at each search: those of the system change with the network. */
  readonly bootstrapServers: () => readonly PlainServer[];
  /**
   * A text that is another when servers are verified against other roots, or are shown another certificate of ours: then
   * none keeps the connections that were made before.
   */
  readonly trust?: string;
  /** Port of cleartext DNS; 53 but in tests. */
  readonly plainPort?: number;
}

const PLAIN_PORT = 53;

/** The servers of one pool. */
export class Group<T extends Waiter> implements Candidates<Endpoint<T>> {
  private spec: PoolSpec;
  private servers: readonly Server<T>[] = [];
  /** Those that were taken out, until their last connection is closed. */
  private readonly leaving = new Set<Server<T>>();
  /** Of all servers. Looked at for every question, so it is only made anew when it changes. */
  private all: readonly Endpoint<T>[] = [];

  /** @param changed called when the endpoints are others, or when the search for them has failed */
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

  /** There is no server, and the last connection of those that were taken out is closed. */
  get isDrained(): boolean {
    return this.isEmpty && this.leaving.size === 0;
  }

  /** At least one server has no address yet, and is looking for one. */
  get isSearching(): boolean {
    return this.servers.some(each => each.isSearching);
  }

  /** Takes another specification over: servers that stay as they are keep their connections and all that was learned. */
  configure(spec: PoolSpec): void {
    this.spec = spec;
    const { reason = spec.mode === 'off' ? 'off' : 'opportunistic', plainPort = PLAIN_PORT, trust = '' } = spec;
    const setting: ServerSetting = {
      mode: spec.mode,
      reason,
      plainPort,
      trust,
      bootstrapServers: () => this.spec.bootstrapServers(),
    };
    // Each serves one entry: two entries that are alike are two servers.
    const before = [...this.servers];
    const kept = spec.servers.map(entry => {
      const at = before.findIndex(({ key }) => key === serverKey(entry, setting));
      return at === -1 ? undefined : before.splice(at, 1)[0];
    });
    const labels = new Set(kept.flatMap(each => (each === undefined ? [] : [each.name.label])));
    this.servers = spec.servers.map((entry, i) => {
      const label = kept[i]?.name.label ?? freeLabel(entry, labels);
      labels.add(label);
      return kept[i] ?? this.server(entry, label, setting);
    });
    this.collect();
    for (const each of before) this.leave(each);
    for (const each of this.servers) each.bootstrapChanged();
    this.refresh(this.ports.clock.monotonicMs());
  }

  /** Starts the searches that are due. */
  refresh(nowMs: MonoMs): void {
    for (const each of this.servers) each.refresh(nowMs);
  }

  /** Connects ahead of the first question, and starts the searches that are due. */
  prepare(nowMs: MonoMs): void {
    this.refresh(nowMs);
    for (const each of this.all) each.prepare(nowMs);
  }

  /** The network is another, or the machine has slept: told to those that are leaving, too. */
  reset(what: 'network' | 'resume'): void {
    for (const each of [...this.servers, ...this.leaving]) each.reset(what);
    this.collect();
  }

  /** Asks nobody any more; what is in flight is finished. */
  close(): void {
    const { servers } = this;
    this.servers = [];
    this.collect();
    for (const each of servers) this.leave(each);
  }

  /** Cuts. */
  destroy(): void {
    const all = [...this.servers, ...this.leaving];
    this.servers = [];
    this.collect();
    for (const each of all) each.destroy();
    this.leaving.clear();
  }

  /** How the servers are doing. */
  overview(nowMs: MonoMs): readonly Omit<ServerOverview, 'dnssec' | 'purpose'>[] {
    return this.servers.map(each => ({ ...each.name, addresses: each.overview(nowMs) }));
  }

  /** Why nobody could be asked: the first reason that a server gives. */
  whyNobody(): Failure | undefined {
    for (const each of this.servers) {
      const why = each.failure ?? each.endpoints.find(one => one.lastFailure !== undefined)?.lastFailure;
      if (why !== undefined) return why;
    }
    return undefined;
  }

  private server(entry: ServerSpec, label: string, setting: ServerSetting): Server<T> {
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

/** The label of an entry, told apart from those of the others by its first address, and by a number if need be. */
function freeLabel({ label, addresses: [first] }: ServerSpec, taken: ReadonlySet<string>): string {
  if (!taken.has(label)) return label;
  const where = first === undefined ? '' : first.address;
  for (let i = 1; ; i++) {
    const inner = [where, i === 1 ? '' : String(i)].filter(each => each !== '').join(', ');
    const candidate = inner === '' ? label : `${label} (${inner})`;
    if (!taken.has(candidate)) return candidate;
  }
}
