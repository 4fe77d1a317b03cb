// Listeners for TCP, TLS and HTTPS. A reload changes their addresses in two steps: it opens the new ones, then closes
// the old ones.

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

  /**
   * @param option the option with the addresses
   * @param make makes the listener, once there are addresses
   */
  constructor(
    private readonly transport: StreamTransport,
    private readonly option: string,
    private readonly make: (credentials: ServerCredentials | undefined) => StreamListener | Promise<StreamListener>,
  ) {}

  /** Where it listens. */
  get bound(): readonly ListenAddress[] {
    return this.listener?.bound ?? [];
  }

  /** The addresses that wait. */
  get unopened(): readonly Unopened[] {
    return this.listener?.unopened ?? [];
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
    const { transport, option, addresses: before } = this;
    if (addresses.length > 0) this.listener ??= await this.make(credentials);
    const { listener } = this;
    if (listener === undefined) return NOTHING;
    // A wildcard cannot be open at the same time as one of the addresses that it covers.
    const both = [...addresses, ...before.filter(old => !addresses.some(at => overlap(at, old)))];
    await listening(transport.toUpperCase(), option, async () => listener.set(both));
    return {
      commit: () => {
        this.addresses = addresses;
        // In this order: where it does not listen any more, nobody is served in cleartext.
        listener.keep(addresses);
        listener.setCredentials(credentials);
      },
      settled: async () => void (await listener.settled?.()),
      abandon: () => void listener.set(before),
    };
  }

  /** Accepts no new sessions; open ones are answered. */
  finish(): void {
    this.listener?.close();
  }

  /** Closes all sessions at once. */
  destroy(): void {
    this.listener?.destroy();
  }
}

const NOTHING: Prepared = { commit: () => undefined, abandon: () => undefined };
