// Listeners for TCP, TLS and HTTPS. A reload changes their addresses in two steps: it opens the new ones, then closes
// the old ones. It may also have other threads than before: then another listener takes the sockets over. As it has a
// table of its own, for as many sessions, those of before end after their last reply; clients come back to the thread.

import { isSystemError } from '../base/system-error.js';
import type { StreamListener } from '../listen/stream.js';
import type { StreamTransport } from '../listen/sessions.js';
import type { ServerCredentials } from '../os/openssl.js';
import { type ListenAddress, overlap, placeText, type Unopened } from '../os/listen-address.js';
import type { Prepared } from './reload.js';
import { listening } from './start-error.js';

/** The listener of one transport. */
export class Streams {
  private listener: StreamListener | undefined;
  private addresses: readonly ListenAddress[] = [];
  /** Whether the listener is in a thread of its own, where it stays. */
  private isInThread = false;
  /** The listener of before that, with the sessions whose last reply has not left. */
  private former: StreamListener | undefined;
  /** Where it could not listen again after a plan that did not come into force. */
  private lost: readonly Unopened[] = [];

  /**
   * @param option the option with the addresses
   * @param make makes the listener, once there are addresses
   * @param makeInThread makes it in a thread of its own; undefined: none is needed now, or there is none
   */
  constructor(
    private readonly transport: StreamTransport,
    private readonly option: string,
    private readonly make: (credentials: ServerCredentials | undefined) => StreamListener | Promise<StreamListener>,
    private readonly makeInThread?: (credentials: ServerCredentials | undefined) => Promise<StreamListener | undefined>,
  ) {}

  /** Where it listens. */
  get bound(): readonly ListenAddress[] {
    return this.listener?.bound ?? [];
  }

  /** The addresses that wait. */
  get unopened(): readonly Unopened[] {
    return [...(this.listener?.unopened ?? []), ...this.lost];
  }

  /** Whether it would listen elsewhere if these addresses were opened now. */
  isOutdated(addresses: readonly ListenAddress[]): boolean {
    const texts = (all: readonly ListenAddress[]): string => all.map(placeText).join('\n');
    return this.unopened.length > 0 || texts(addresses) !== texts(this.addresses);
  }

  /**
   * Opens the new addresses, and keeps the old ones open.
   * @param credentials undefined: in cleartext @throws StartError; then it listens where it did before
   */
  async prepare(addresses: readonly ListenAddress[], credentials: ServerCredentials | undefined): Promise<Prepared> {
    const { transport, option, addresses: before, listener: present } = this;
    const inThread = addresses.length > 0 && !this.isInThread ? await this.makeInThread?.(credentials) : undefined;
    const listener = present ?? inThread ?? (addresses.length > 0 ? await this.make(credentials) : undefined);
    if (listener === undefined) return NOTHING;
    const next = inThread ?? listener;
    this.listener = listener;
    this.isInThread ||= listener === inThread;
    // A wildcard cannot be open at the same time as one of the addresses that it covers.
    const both = [...addresses, ...before.filter(old => !addresses.some(at => overlap(at, old)))];
    const giveUp = (): void => {
      if (next !== listener) next.destroy();
    };
    const abandon = async (): Promise<void> => {
      giveUp();
      await this.goBack(listener, before);
    };
    const open = async (
      by: StreamListener,
      at: readonly ListenAddress[],
      otherwise: () => void | Promise<void>,
    ): Promise<void> =>
      listening(transport.toUpperCase(), option, async () => by.set(at)).catch(async (error: unknown) => {
        await otherwise();
        throw error;
      });
    // If it cannot, it listens where it did before.
    await open(listener, both, giveUp);
    if (next !== listener) await open(next, withSockets(addresses, listener), abandon);
    return {
      commit: () => {
        this.addresses = addresses;
        this.lost = [];
        // In this order: where it does not listen any more, nobody is served in cleartext.
        next.keep(addresses);
        next.setCredentials(credentials);
        if (next === listener) return;
        this.listener = next;
        this.isInThread = true;
        this.former = listener;
        listener.close();
      },
      settled: async () => void (await next.settled?.()),
      abandon,
    };
  }

  /** Listens where it did before a plan that does not come into force. What it does not get back waits. */
  private async goBack(listener: StreamListener, addresses: readonly ListenAddress[]): Promise<void> {
    try {
      await listener.set(addresses);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      const bound = new Set(listener.bound.map(placeText));
      this.lost = addresses.filter(at => !bound.has(placeText(at))).map(at => ({ at, error }));
    }
  }

  /** Accepts no new sessions; open ones are answered. */
  finish(): void {
    this.listener?.close();
  }

  /** Closes all sessions at once. */
  destroy(): void {
    this.former?.destroy();
    this.listener?.destroy();
  }
}

/** Addresses with the sockets that a listener has there. */
const withSockets = (addresses: readonly ListenAddress[], listener: StreamListener): readonly ListenAddress[] =>
  addresses.map(at => {
    const from = listener.socketAt?.(at);
    return from === undefined ? at : { ...at, from };
  });

const NOTHING: Prepared = { commit: () => undefined, abandon: () => undefined };
