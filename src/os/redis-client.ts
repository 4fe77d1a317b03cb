// The client of Redis and Valkey. This is the only importer of the package, which is large: it is loaded when a store is
// configured.

import { createClient, ErrorReply, RESP_TYPES } from '@redis/client';

/** Where the store is, and how to be let in. */
export interface StoreAddress {
  /** An IP address and a port, or the path of a Unix socket. Names are never looked up. */
  readonly at: { readonly address: string; readonly port: number } | { readonly path: string };
  readonly database: number;
  readonly password: string | undefined;
}

/** A connection that is not there after so long is given up, milliseconds. Whoever opens it gives up earlier. */
const CONNECT_MS = 5000;

/** A client. Its connection ends with the first error. */
export interface RedisClient {
  connect(): Promise<unknown>;
  /** Sends a command. Strings come as octets. */
  send(command: readonly (string | Buffer)[]): Promise<unknown>;
  /** Called with each error. */
  onError(then: (error: unknown) => void): void;
  close(): void;
}

/** Whether an error is an answer of the store, and not a problem of the connection. */
export const isErrorReply = (error: unknown): boolean => error instanceof ErrorReply;

/** Makes a client, which is not connected yet. */
export function redisClient({ at, database, password }: StoreAddress): RedisClient {
  // Whoever opens stores decides when to try again.
  const common = { connectTimeout: CONNECT_MS, reconnectStrategy: false } as const;
  const client = createClient({
    socket: 'path' in at ? { ...common, tls: false, path: at.path } : { ...common, host: at.address, port: at.port },
    database,
    ...(password === undefined ? {} : { password }),
    // Every version of Redis and Valkey speaks this one.
    RESP: 2,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  });
  return {
    connect: async () => client.connect(),
    send: async command => client.sendCommand(command, { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } }),
    onError: then => void client.on('error', then).on('end', () => then(new Error('the connection has ended'))),
    close() {
      if (client.isOpen) client.destroy();
    },
  };
}
