// A connection to Redis or Valkey. The client is loaded when a store is configured (os/redis-client).

import type { OpenStore, SharedStore, StoreEvents, StoreReply } from '../base/ports.js';
import { wordsFor } from '../base/system-error.js';
import type { RedisClient, StoreAddress } from './redis-client.js';

/** Opens stores at an address. */
export const openRedis =
  (address: StoreAddress): OpenStore =>
  events =>
    new RedisStore(address, events);

/** One connection. */
class RedisStore implements SharedStore {
  /** Undefined until the package has been loaded. */
  private loaded: { readonly client: RedisClient; readonly isErrorReply: (error: unknown) => boolean } | undefined;
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
    this.loaded?.client.close();
  }

  private async open(address: StoreAddress): Promise<void> {
    const { isErrorReply, redisClient } = await import('./redis-client.js');
    // It was closed meanwhile.
    if (this.isClosed) return;
    const client = redisClient(address);
    this.loaded = { client, isErrorReply };
    client.onError(error => this.lost(error));
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
    void client.send(command).then(
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
