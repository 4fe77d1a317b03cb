// What a daemon is made from, and what it is to those who have started it.

import type { Overview } from '../base/overview.js';
import type { Clock, Random } from '../base/ports.js';
import type { WallSec } from '../base/time.js';
import type { ConfigCheck } from '../config/check.js';
import type { ControlReply } from '../control/protocol.js';
import type { ConfigurableLog } from '../observe/log.js';
import type { PassedSockets } from '../os/activation.js';
import type { ConfigurationSource } from './configuration.js';

/** What it is made from. */
export interface DaemonParts {
  /** The configuration to start with. */
  readonly config: Extract<ConfigCheck, { ok: true }>['config'];
  /** Where it is read from again. */
  readonly source: ConfigurationSource;
  readonly version: string;
  /** When this version was made. */
  readonly built: WallSec;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ConfigurableLog;
  /** What the machine says: what its network looks like, the same text whenever we are there; and the resolvers that it has. */
  readonly system: { network(): string; resolvers(): readonly string[] };
  /** Takes the lines of the query log, where no file is configured. */
  readonly print: (line: string) => void;
  /** Sockets that are open already, in place of the addresses of the configuration. */
  readonly sockets?: PassedSockets | undefined;
  /** Has the process stop, as a signal would. */
  readonly stopProcess: () => void;
}

/** A running daemon. */
export interface Daemon {
  /** How it is doing. */
  overview(): Overview;
  /** Where metrics and the status page are; undefined: nowhere. */
  readonly web: { readonly address: string; readonly port: number } | undefined;
  /** Reads the configuration again, and takes it over as a whole or not at all. What came of it is in the log, too. */
  reload(): Promise<ControlReply>;
  /** Has the query log opened anew, where its file was moved away. */
  reopenLogs(): void;
  /** Answers what is in flight, closes everything. May be called twice. */
  stop(): Promise<void>;
}
