// The address of the running daemon, from a command's options.

import { DNS_PORT } from '../base/port-numbers.js';
import { parseAddressPort } from '../config/network-kinds.js';
import { problemReport } from '../config/load.js';
import { askStatus } from '../control/client.js';
import { type ListenAddress, reachable } from '../os/listen-address.js';
import { UsageError } from './command.js';
import { configurationOf } from './installed.js';

/** Where to ask, and what the daemon there says about itself. */
export interface FoundListener {
  readonly at: ListenAddress;
  /** The socket of the daemon that listens there; undefined: its address was given. */
  readonly socket: string | undefined;
}

/**
 * The address of `--server`; else the first one at which the daemon listens that runs with the file of `--config`, or
 * with the installed file; else the first one in that file, or the default.
 * @throws UsageError
 */
export async function findListener(server: string | undefined, file: string | undefined): Promise<FoundListener> {
  if (server !== undefined) {
    const parsed = parseAddressPort(server);
    if (parsed === undefined)
      throw new UsageError(
        `--server ${JSON.stringify(server)} is not allowed. Allowed: IP:PORT such as 127.0.0.1:5300`,
      );
    return { at: { address: parsed.address, port: parsed.port ?? DNS_PORT }, socket: undefined };
  }
  const checked = configurationOf(file);
  if (!checked.ok) throw new UsageError(problemReport(file ?? '', checked.problems));
  const { listen, control } = checked.config;
  // A service manager may have opened other addresses than those of the file.
  const first = (await listening(control.socket)) ?? listen[0];
  if (first === undefined)
    throw new UsageError(`${file ?? 'the configuration'} listens nowhere but over TLS; use --server`);
  return { at: reachable(first), socket: control.socket };
}

/** Where a running daemon takes queries over UDP; undefined: it cannot be asked. */
async function listening(socket: string): Promise<ListenAddress | undefined> {
  const reply = await askStatus(socket, { command: 'status', args: [] });
  return reply.ok ? listenersIn(reply.data).find(({ transport }) => transport === 'udp') : undefined;
}

/** Where a daemon listens, and for what. */
export interface DaemonListener extends ListenAddress {
  readonly transport: string;
}

/** The listeners in the data of a status; none if it has none. */
export function listenersIn(data: unknown): readonly DaemonListener[] {
  const listeners: unknown = isRecord(data) ? data['listeners'] : undefined;
  return Array.isArray(listeners) ? listeners.filter(isListener) : [];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const isListener = (value: unknown): value is DaemonListener =>
  isRecord(value) &&
  typeof value['transport'] === 'string' &&
  typeof value['address'] === 'string' &&
  typeof value['port'] === 'number';
