// A connection to Redis or Valkey. The package is loaded when a store is configured. This is its only importer.

import type { createClient as CreateClient } from '@redis/client';

import type { OpenStore, SharedStore, StoreEvents, StoreReply } from '../base/ports.js';
import { wordsFor } from '../base/system-error.js';

/** Where the store is, and how to be let in. */
export interface StoreAddress {
  /** An IP address and a port, or the path of a Unix socket. Names are never looked up. */
  readonly at: { readonly address: string; readonly port: number } | { readonly path: string };
  readonly database: number;
  readonly password: string | undefined;
}

/** A connection that is not there after so long is given up, milliseconds. Whoever opens it gives up earlier. */
const CONNECT_MS = 5000;

/** Opens stores at an address. */
export const openRedis =
  (address: StoreAddress): OpenStore =>
  events =>
    new RedisStore(address, events);

type Client = ReturnType<typeof clientFor>;

/** One connection. */
class RedisStore implements SharedStore {
  /** Undefined until the package has been loaded. */
  private loaded: { readonly client: Client; readonly isErrorReply: (error: unknown) => boolean } | undefined;
  private isClosed = false;

  constructor(
    address: StoreAddress,
    private readonly events: StoreEvents,
  ) {
    void this.open(address);
  }

  read(key: Buffer, mostBytes: number, take: (reply: StoreReply) => void): void {
    // Not GET: who can write the store must not choose how much is read.
    this.send(['GETRANGE', key, '0', String(mostBytes - 1)], take);
  }

  write(key: Buffer, octets: Buffer, seconds: number, take: (reply: StoreReply) => void): void {
    this.send(['SET', key, octets, 'EX', String(seconds)], take);
  }

  close(): void {
    this.isClosed = true;
    if (this.loaded?.client.isOpen === true) this.loaded.client.destroy();
  }

  private async open(address: StoreAddress): Promise<void> {
    const { createClient, ErrorReply } = await import('@redis/client');
    // It was closed meanwhile.
    if (this.isClosed) return;
    const client = clientFor(createClient, address);
    this.loaded = { client, isErrorReply: error => error instanceof ErrorReply };
    client.on('error', (error: unknown) => this.lost(error));
    client.on('end', () => this.lost(new Error('the connection has ended')));
    try {
      await client.connect();
    } catch (error) {
      this.lost(error);
    }
    this.send(['PING'], reply => {
      if (reply.at === 'octets') this.events.opened();
      else this.lost(new Error(reply.words));
    });
  }

  private send(command: (string | Buffer)[], take: (reply: StoreReply) => void): void {
    if (this.loaded === undefined || this.isClosed) return;
    const { client, isErrorReply } = this.loaded;
    void client.sendCommand(command, { typeMapping: { [BLOB_STRING]: Buffer } }).then(
      reply => {
        if (!this.isClosed) take({ at: 'octets', octets: Buffer.isBuffer(reply) ? reply : NOTHING });
      },
      (error: unknown) => {
        if (!isErrorReply(error)) this.lost(error);
        else if (!this.isClosed) take({ at: 'refused', words: `it refuses: ${wordsFor(error)}` });
      },
    );
  }

  private lost(error: unknown): void {
    if (this.isClosed) return;
    this.close();
    this.events.closed(wordsFor(error));
  }
}

const NOTHING = Buffer.alloc(0);
/** RESP: the first octet of a string (RESP_TYPES.BLOB_STRING, which is not loaded yet). */
const BLOB_STRING = 36;

function clientFor(createClient: typeof CreateClient, { at, database, password }: StoreAddress) {
  // Whoever opens stores decides when to try again.
  const common = { connectTimeout: CONNECT_MS, reconnectStrategy: false } as const;
  return createClient({
    socket: 'path' in at ? { ...common, tls: false, path: at.path } : { ...common, host: at.address, port: at.port },
    database,
    ...(password === undefined ? {} : { password }),
    // Every version of Redis and Valkey speaks this one.
    RESP: 2,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  });
}
