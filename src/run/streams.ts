// Listeners for TCP or DNS over TLS, exchanged by a reload in two steps: what comes is opened, then what goes is closed.

import {
  type ServerCredentials,
  type StreamListener,
  type StreamParts,
  tcpListener,
  tlsListener,
} from '../listen/stream.js';
import { type ListenAddress, overlap } from '../os/listen-address.js';
import type { Prepared } from './reload.js';
import { listening } from './start-error.js';

/** The listener of one transport. */
export class Streams {
  private listener: StreamListener | undefined;
  private addresses: readonly ListenAddress[] = [];

  /** @param option where the addresses stand */
  constructor(
    private readonly transport: 'tcp' | 'tls',
    private readonly option: string,
    private readonly parts: StreamParts,
  ) {}

  /** Where it listens. */
  get bound(): readonly ListenAddress[] {
    return this.listener?.bound ?? [];
  }

  /**
   * Opens what is new among addresses, and goes on at the old ones.
   * @param credentials of TLS
   * @throws StartError; it listens where it did then
   */
  async prepare(addresses: readonly ListenAddress[], credentials: ServerCredentials | undefined): Promise<Prepared> {
    const { parts, transport, option, addresses: before } = this;
    if (addresses.length > 0)
      this.listener ??= credentials === undefined ? tcpListener(parts) : tlsListener(parts, credentials);
    const { listener } = this;
    if (listener === undefined) return NOTHING;
    // A wildcard cannot be open beside one of the addresses that it stands for.
    const both = [...addresses, ...before.filter(old => !addresses.some(at => overlap(at, old)))];
    await listening(transport.toUpperCase(), option, listener.set(both));
    return {
      commit: () => {
        this.addresses = addresses;
        if (credentials !== undefined) listener.setCredentials(credentials);
        void listener.set(addresses);
      },
      abandon: () => void listener.set(before),
    };
  }

  /** Takes no new sessions; those that are there are answered. */
  finish(): void {
    this.listener?.close();
  }

  /** Cuts all sessions. */
  destroy(): void {
    this.listener?.destroy();
  }
}

const NOTHING: Prepared = { commit: () => undefined, abandon: () => undefined };
