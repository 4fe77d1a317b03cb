// TCP and DNS-over-TLS listeners, one per address, so that a reload opens those that came and closes those that went.

import type { Observer } from '../base/observer.js';
import type { Front } from '../front/front.js';
import { type Credentials, listenStream, type SessionTable, type StreamListener } from '../listen/stream.js';
import { type ListenAddress, listenText } from '../os/listen-address.js';
import { listening } from './start-error.js';

/** What they are made from. */
export interface StreamsParts {
  readonly transport: 'tcp' | 'tls';
  /** Where the addresses stand. */
  readonly option: string;
  readonly front: Front;
  readonly observer: Observer;
  readonly sessions: SessionTable;
}

/** What a set of addresses comes to, opened and not yet in force. */
interface NextStreams {
  readonly open: ReadonlyMap<string, StreamListener>;
  readonly credentials: Credentials | undefined;
}

/** The listeners of one transport. */
export class Streams {
  private open: ReadonlyMap<string, StreamListener> = new Map();
  /** Listeners of addresses that went, while they have sessions. */
  private leaving: StreamListener[] = [];

  constructor(private readonly parts: StreamsParts) {}

  /** Where they listen. */
  get bound(): readonly ListenAddress[] {
    return [...this.open.values()].flatMap(each => each.bound);
  }

  /**
   * Opens what is new among addresses.
   * @throws StartError; nothing of it is open then
   */
  async prepare(addresses: readonly ListenAddress[], credentials: Credentials | undefined): Promise<NextStreams> {
    const { option, transport, front, observer, sessions } = this.parts;
    const open = new Map<string, StreamListener>();
    const next: NextStreams = { open, credentials };
    try {
      for (const at of addresses) {
        const text = listenText(at);
        const before = this.open.get(text);
        const opening = before ?? listenStream([at], credentials, front, observer, sessions);
        open.set(text, await listening(transport.toUpperCase(), option, Promise.resolve(opening)));
      }
    } catch (error) {
      this.abandon(next);
      throw error;
    }
    return next;
  }

  /** Brings them into force. Sessions of addresses that went are answered to their end. */
  commit({ open, credentials }: NextStreams): void {
    const before = this.open;
    this.open = open;
    for (const [text, listener] of before) {
      if (open.has(text)) {
        if (credentials !== undefined) listener.setCredentials(credentials);
      } else {
        listener.close();
        this.leaving.push(listener);
      }
    }
  }

  /** Closes what was opened and is not in force. */
  abandon({ open }: NextStreams): void {
    for (const [text, listener] of open) if (!this.open.has(text)) listener.destroy();
  }

  /** Takes no new sessions; those that are there are answered. */
  finish(): void {
    for (const each of this.open.values()) each.close();
  }

  /** Cuts all sessions. */
  destroy(): void {
    for (const each of [...this.open.values(), ...this.leaving]) each.destroy();
  }
}
