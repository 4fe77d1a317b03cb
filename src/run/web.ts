// The HTTP side: metrics, health and the status page, if the plan has them.

import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';

import type { Clock, Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import type { History } from '../observe/history.js';
import type { HttpParts } from '../observe/http.js';
import type { HttpListener } from '../observe/http-server.js';
import { isAnyAddress } from '../base/address.js';
import type { Libc } from '../os/libc.js';
import { type ListenAddress, overlap, placeText, type Unopened, unopened, withScope } from '../os/listen-address.js';
import { openTcp } from '../os/stream-socket.js';
import { dependsOnMachine, type Follower, isServed } from './following.js';
import type { Listen, Plan } from './plan.js';
import { type Prepared, ready } from './reload.js';
import { listening } from './start-error.js';
import { absentWords, unopenedWords } from './unserved.js';

/** The data that it shows. */
export interface WebParts extends Pick<HttpParts, 'metrics' | 'notReady' | 'status' | 'maxConnections'> {
  readonly clock: Clock;
  readonly log: Log;
  /** Undefined: system calls cannot be made. */
  readonly libc?: Libc | undefined;
  /** Sums since the start, for the page's charts. */
  readonly sums: () => readonly number[];
}

/** A listener, and where. */
interface OpenWeb {
  readonly at: ListenAddress;
  readonly listener: HttpListener;
}

const isOpen = (web: OpenWeb | Unopened | undefined): web is OpenWeb => web !== undefined && 'listener' in web;

const OPTION = 'metrics.listen';

/** The HTTP listener. */
export class Web implements Follower {
  static readonly options = [OPTION, 'metrics.hosts'];
  readonly options = Web.options;
  /** Open, or waiting for its address; undefined: the plan has none. */
  private web: OpenWeb | Unopened | undefined;
  /** Names under which it is asked, beside local ones. */
  private hosts: readonly string[] = [];
  /** Takes samples of the sums, for as long as there is a page to show them. */
  private remembered: History | undefined;

  constructor(private readonly parts: WebParts) {}

  /** The address that it listens on; undefined: none. */
  get at(): Listen | undefined {
    return isOpen(this.web) ? { address: this.web.at.address, port: this.web.listener.port } : undefined;
  }

  get waits(): boolean {
    return this.web !== undefined && !isOpen(this.web);
  }

  get follows(): boolean {
    return this.web !== undefined && dependsOnMachine(this.web.at);
  }

  get unserved(): readonly string[] {
    const { web } = this;
    const { libc } = this.parts;
    if (web === undefined) return [];
    if (isOpen(web)) return libc === undefined || isServed(libc, web.at) ? [] : [absentWords(web.at, OPTION)];
    return [unopenedWords(web, 'HTTP', OPTION)].filter(words => words !== undefined);
  }

  /** Opens the first listener. */
  async start(plan: Plan): Promise<this> {
    (await this.prepare(plan)).commit();
    return this;
  }

  isOutdated({ listeners: { metrics: at } }: Plan): boolean {
    return this.waits || (at !== undefined && !this.isAt(withScope(at, this.parts.libc)));
  }

  async prepare({ listeners: { metrics, metricsHosts } }: Plan): Promise<Prepared> {
    const before = this.web;
    const at = metrics && (await listening('HTTP', OPTION, () => withScope(metrics, this.parts.libc)));
    const hosts = [hostname().toLowerCase(), ...metricsHosts];
    if (at !== undefined && this.isAt(at)) return ready(() => (this.hosts = hosts));
    // A wildcard cannot be open beside an address that it stands for.
    const inTheWay = isOpen(before) && at !== undefined && overlap(before.at, at) ? before : undefined;
    inTheWay?.listener.close();
    let next: Web['web'];
    try {
      next = at && (await this.listen(at));
    } catch (error) {
      await this.reopen(inTheWay?.at);
      throw error;
    }
    return {
      commit: () => {
        this.web = next;
        this.hosts = hosts;
        if (isOpen(before) && before !== inTheWay) before.listener.close();
        this.forgetUnlessOpen();
      },
      abandon: async () => {
        if (isOpen(next)) next.listener.close();
        await this.reopen(inTheWay?.at);
      },
    };
  }

  /** Closes it. */
  close(): void {
    if (isOpen(this.web)) this.web.listener.close();
    this.web = undefined;
    this.forget();
  }

  private isAt(at: ListenAddress): boolean {
    return isOpen(this.web) && placeText(this.web.at) === placeText(at);
  }

  /** @throws StartError, if the address cannot be opened and does not wait */
  private async listen(at: ListenAddress): Promise<OpenWeb | Unopened> {
    const waiting = (error: unknown): Unopened => unopened(at, error);
    const opening = listening('HTTP', OPTION, async () => this.open(at).catch(waiting));
    opening.catch(() => this.forgetUnlessOpen());
    return opening;
  }

  /** @throws the error of the system */
  private async open(at: ListenAddress): Promise<OpenWeb> {
    // Loaded when queries are answered already.
    const [{ listenHttp }, { history }] = await Promise.all([
      import('../observe/http.js'),
      import('../observe/history.js'),
    ]);
    const { clock, log, sums, metrics, notReady, status, maxConnections } = this.parts;
    const remembered = (this.remembered ??= history(clock, sums));
    const listener = await listenHttp(this.bound(at), {
      metrics,
      notReady,
      status,
      maxConnections,
      hosts: () => this.hosts,
      clock,
      log,
      pageDirectory: fileURLToPath(new URL('./page/', import.meta.url)),
      history: () => ({ samples: remembered.samples() }),
    });
    return { at, listener };
  }

  /** With a socket where system calls can be made. A wildcard is left to Node.js, which takes IPv4 on `::`, too. */
  private bound(at: ListenAddress): ListenAddress {
    const { libc } = this.parts;
    return libc === undefined || isAnyAddress(at.address) ? at : { ...at, fd: openTcp(libc, at) };
  }

  private forgetUnlessOpen(): void {
    if (!isOpen(this.web)) this.forget();
  }

  /** Listens again where it did, if it had to stop for a plan that did not come into force. If it cannot, that waits. */
  private async reopen(at: ListenAddress | undefined): Promise<void> {
    if (at === undefined) {
      this.forgetUnlessOpen();
      return;
    }
    this.web = await this.open(at).catch((error: unknown) => {
      if (!isSystemError(error)) throw error;
      return { at, error };
    });
    this.forgetUnlessOpen();
  }

  private forget(): void {
    this.remembered?.close();
    this.remembered = undefined;
  }
}
