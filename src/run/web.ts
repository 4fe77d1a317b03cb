// The HTTP side: metrics, health and the status page, if the plan has them.

import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';

import type { Clock, Log } from '../base/ports.js';
import type { History } from '../observe/history.js';
import type { HttpListener, HttpParts } from '../observe/http.js';
import { overlap } from '../os/listen-address.js';
import type { Listen, Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';
import { listening, StartError } from './start-error.js';

/** The data that it shows. */
export interface WebParts extends Pick<HttpParts, 'metrics' | 'notReady' | 'status' | 'maxConnections'> {
  readonly clock: Clock;
  readonly log: Log;
  /** Sums since the start, for the page's charts. */
  readonly sums: () => readonly number[];
}

/** The HTTP listener. */
export class Web implements Live {
  static readonly options = ['metrics.listen', 'metrics.hosts'];
  readonly options = Web.options;
  private open: { readonly at: Listen; readonly listener: HttpListener } | undefined;
  /** Names under which it is asked, beside local ones. */
  private hosts: readonly string[] = [];
  /** Takes samples of the sums, for as long as there is a page to show them. */
  private remembered: History | undefined;

  constructor(private readonly parts: WebParts) {}

  /** The address that it listens on; undefined: none. */
  get at(): Listen | undefined {
    return this.open && { address: this.open.at.address, port: this.open.listener.port };
  }

  /** Opens the first listener. */
  async start(plan: Plan): Promise<this> {
    (await this.prepare(plan)).commit();
    return this;
  }

  async prepare({ listeners: { metrics: at, metricsHosts } }: Plan): Promise<Prepared> {
    const before = this.open;
    const hosts = [hostname().toLowerCase(), ...metricsHosts];
    if (at?.address === before?.at.address && at?.port === before?.at.port) return ready(() => (this.hosts = hosts));
    // A wildcard cannot be open beside an address that it stands for.
    const inTheWay = before !== undefined && at !== undefined && overlap(before.at, at) ? before : undefined;
    inTheWay?.listener.close();
    let next: Web['open'];
    try {
      next = at && { at, listener: await this.listen(at) };
    } catch (error) {
      await this.reopen(inTheWay?.at);
      throw error;
    }
    return {
      commit: () => {
        this.open = next;
        this.hosts = hosts;
        if (before !== inTheWay) before?.listener.close();
        if (next === undefined) this.forget();
      },
      abandon: () => {
        next?.listener.close();
        void this.reopen(inTheWay?.at);
      },
    };
  }

  /** Closes it. */
  close(): void {
    this.open?.listener.close();
    this.open = undefined;
    this.forget();
  }

  private async listen(at: Listen): Promise<HttpListener> {
    // Loaded when queries are answered already.
    const [{ listenHttp }, { history }] = await Promise.all([
      import('../observe/http.js'),
      import('../observe/history.js'),
    ]);
    const { clock, log, sums, metrics, notReady, status, maxConnections } = this.parts;
    const remembered = (this.remembered ??= history(clock, sums));
    const opening = listening(
      'HTTP',
      'metrics.listen',
      listenHttp(at, {
        metrics,
        notReady,
        status,
        maxConnections,
        hosts: () => this.hosts,
        clock,
        log,
        pageDirectory: fileURLToPath(new URL('./page/', import.meta.url)),
        history: () => ({ samples: remembered.samples() }),
      }),
    );
    opening.catch(() => this.forgetUnlessOpen());
    return opening;
  }

  private forgetUnlessOpen(): void {
    if (this.open === undefined) this.forget();
  }

  /** Listens again where it did, if it had to stop for a plan that did not come into force. */
  private async reopen(at: Listen | undefined): Promise<void> {
    if (at === undefined) {
      this.forgetUnlessOpen();
      return;
    }
    this.open = undefined;
    try {
      this.open = { at, listener: await this.listen(at) };
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.parts.log.error({}, error.message);
    }
  }

  private forget(): void {
    this.remembered?.close();
    this.remembered = undefined;
  }
}
