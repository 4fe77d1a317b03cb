// The parts that a daemon is made from, and its interface.

import type { Overview, Surroundings } from '../base/overview.js';
import type { Clock, Random } from '../base/ports.js';
import type { WallSec } from '../base/time.js';
import type { ConfigCheck } from '../config/check.js';
import type { ControlReply } from '../control/protocol.js';
import type { ConfigurableLog } from '../observe/log.js';
import type { PassedSockets } from '../os/activation.js';
import type { Announced } from './announced.js';
import type { ConfigurationSource } from './configuration.js';

/** The parts that a daemon is made from. */
export interface DaemonParts {
  /** The configuration to start with. */
  readonly config: Extract<ConfigCheck, { ok: true }>['config'];
  /** The source from which the configuration is read again. */
  readonly source: ConfigurationSource;
  readonly version: string;
  /** When this version was built. */
  readonly built: WallSec;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ConfigurableLog;
  /**
   * Facts about the machine: its network as a text, which is the same whenever the machine is there, its resolvers, the
   * search domains of their network, and what the network has announced; and whom the programs of the machine ask, which is not told if it is left out.
   */
  readonly system: {
    network(): string;
    resolvers(): readonly string[];
    searchDomains(): readonly string[];
    announced(): Announced;
    surroundings?(): Surroundings;
  };
  /** Takes the lines of the query log if no file is configured. `unwritten`: a sentence while lines are lost. */
  readonly output: { readonly write: (line: string) => void; readonly unwritten: string | undefined };
  /** Sockets that are open already, used instead of the configured addresses. */
  readonly sockets?: PassedSockets | undefined;
  /** Stops the process, as a signal would. */
  readonly stopProcess: () => void;
  /** Called before each question to servers. */
  readonly asked?: () => void;
}

/** A running daemon. */
export interface Daemon {
  /** Its state. */
  overview(): Overview;
  /** Where it listens. An overview says it as well, but its first one takes milliseconds. */
  listening(): Overview['listening'];
  /** Resolved when front threads have taken over UDP, if there are to be any. */
  readonly settled: Promise<void>;
  /** The address of metrics and status page; undefined: none. */
  readonly web: { readonly address: string; readonly port: number } | undefined;
  /** Reads the configuration again, which takes effect as a whole or not at all. The result is logged, too. */
  reload(): Promise<ControlReply>;
  /** Opens the query log again, after its file was moved. */
  reopenLogs(): void;
  /** Answers queries in flight, and closes everything. May be called twice. */
  stop(): Promise<void>;
}
