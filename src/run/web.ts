// The HTTP side: metrics, health and the status page, where the plan wants them.

import { fileURLToPath } from 'node:url';

import type { Clock, Log } from '../base/ports.js';
import type { History } from '../observe/history.js';
import type { HttpListener, HttpParts } from '../observe/http.js';
import type { Listen, Plan } from './plan.js';
import type { Live, Prepared } from './reload.js';
import { listening } from './start-error.js';

/** What it shows. */
export interface WebParts extends Pick<HttpParts, 'metrics' | 'notReady' | 'status' | 'maxConnections'> {
  readonly clock: Clock;
  readonly log: Log;
  /** Sums since the start, for the page's charts. */
  readonly sums: () => readonly number[];
}

/** The HTTP listener. */
export class Web implements Live {
  static readonly options = ['metrics.listen'];
  readonly options = Web.options;
  private open: { readonly at: Listen; readonly listener: HttpListener } | undefined;
  /** Looks now and then at sums, for as long as there is a page to show them. */
  private remembered: History | undefined;

  constructor(private readonly parts: WebParts) {}

  /** Where it listens; undefined: nowhere. */
  get at(): Listen | undefined {
    return this.open && { address: this.open.at.address, port: this.open.listener.port };
  }

  /** Opens the first listener. */
  async start(plan: Plan): Promise<this> {
    (await this.prepare(plan)).commit();
    return this;
  }

  async prepare({ listeners: { metrics: at } }: Plan): Promise<Prepared> {
    const same = at?.address === this.open?.at.address && at?.port === this.open?.at.port;
    const next = same ? this.open : at && { at, listener: await this.listen(at) };
    return {
      commit: () => {
        const before = this.open;
        this.open = next;
        if (!same) before?.listener.close();
        if (next === undefined) this.forget();
      },
      abandon: () => {
        if (!same) next?.listener.close();
        this.forgetUnlessOpen();
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
    // Loaded when queries are being answered already.
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

  private forget(): void {
    this.remembered?.close();
    this.remembered = undefined;
  }
}
