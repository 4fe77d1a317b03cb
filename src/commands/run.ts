// `dotstub run`: the daemon as a process, with its log, signals and service manager.

import { isAnyAddress } from '../base/address.js';
import { DNS_PORT } from '../base/port-numbers.js';
import type { Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { wallSec } from '../base/time.js';
import { type ConfigCheck, checkConfig, type GoodConfig, problemText } from '../config/check.js';
import { loadConfig, problemReport } from '../config/load.js';
import { withProvider } from '../config/provider.js';
import { systemNetwork as networkOfSystem, type SystemNetwork } from '../config/system.js';
import { logger } from '../observe/log.js';
import { StandardOutput } from '../observe/standard-output.js';
import { statusLine } from '../control/status.js';
import { forgetActivation, type PassedSockets, passedSockets } from '../os/activation.js';
import { ANNOUNCED_DIRECTORIES, announcementReader } from '../os/announced.js';
import { systemClock, systemRandom } from '../os/clock.js';
import { type Libc, loadLibc } from '../os/libc.js';
import { expand, type ListenAddress, listenText, reachable } from '../os/listen-address.js';
import { Heartbeat, serviceManager, type ServiceManager } from '../os/notify.js';
import { systemNetwork } from '../os/network.js';
import { readSurroundings } from '../os/surroundings.js';
import { YoungSpace } from '../os/young-space.js';
import { handleProcessErrors } from '../os/process-errors.js';
import { type Announced, announcedFrom } from '../run/announced.js';
import { type ConfigurationSource, placed } from '../run/configuration.js';
import { startDaemon } from '../run/daemon.js';
import type { Daemon } from '../run/parts.js';
import { StartError } from '../run/start-error.js';
import { BUILT_SEC, version } from '../version.js';
import { SELF_QUERY } from './alive.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { takeSignals } from './early-signals.js';
import { hasStarted } from './started.js';

export const runCommand: Command = {
  name: 'run',
  usage: 'run [--config FILE] [PROVIDER]',
  summary: 'run the daemon',
  details: `PROVIDER is a host name as in Android's Private DNS setting, e.g. dns.quad9.net: strict mode with that server,
whose address is looked up through the resolvers that the system has.

Without FILE and PROVIDER: the resolvers that the system has (/etc/resolv.conf), over TLS where that works, else in
cleartext; queries are taken on 127.0.0.1:5300 and [::1]:5300.

Options:
  --config FILE    configuration (YAML); "dotstub check-config FILE" checks it

Signals: SIGTERM and SIGINT answer what is in flight and stop. What takes longer than 5 s, or 200 ms at sockets of the
service manager, is answered with SERVFAIL. SIGHUP reads FILE again, with the certificates, keys and ca_file that it
names. A reload brings every option into force but those that need a restart (dotstub.yaml(5)); those are named. The
cache stays, and so do connections to servers that stay. A FILE with errors changes nothing. SIGUSR1 opens
log.query_file again.
Exit code: 0 stopped, 1 could not start, 2 bad usage or configuration.`,
  async run(args) {
    const {
      positionals: [provider],
      value,
    } = parseArguments(args, { config: { type: 'string' } }, 1);
    const file = value('config');
    const source = new CommandLineSource(file, provider);
    const checked = source.load();
    if (!checked.ok) {
      console.error(problemReport(file ?? '', checked.problems));
      return 2;
    }
    const sockets = passedSockets(process.env, process.pid, loadLibc);
    forgetActivation(process.env);
    if (typeof sockets === 'string') {
      console.error(`dotstub run: ${sockets}`);
      return 1;
    }
    const { listen } = checked.config;
    source.listening = () => (sockets === undefined || sockets.udp.length === 0 ? listen : sockets.udp);
    source.check(checked.config);
    return serve(source, checked, sockets);
  },
};

/** The source of the configuration: a file or the defaults, with PROVIDER applied. */
class CommandLineSource implements ConfigurationSource {
  /** Our own listeners: a resolver at one of these addresses is this daemon, and asking it would be a loop. */
  listening: () => readonly ListenAddress[] = () => [];

  constructor(
    readonly file: string | undefined,
    private readonly provider: string | undefined,
  ) {}

  /** Reads and checks it. */
  load(): ConfigCheck {
    const checked = this.file === undefined ? checkConfig('') : loadConfig(this.file);
    if (!checked.ok || this.provider === undefined) return checked;
    const config = withProvider(checked.config, this.provider);
    if (typeof config === 'string') throw new UsageError(`PROVIDER ${config}`);
    // The warnings are about the servers of the file, which do not count.
    return { ...checked, config, warnings: [] };
  }

  /** The system's resolvers, without this daemon. */
  readonly resolvers = (): string[] => this.readNetwork().resolvers;

  /** The search domains that stand beside them. */
  readonly searchDomains = (): readonly string[] => this.readNetwork().search;

  private readNetwork(): SystemNetwork {
    return networkOfSystem(address => this.listening().some(at => at.port === DNS_PORT && standsFor(at, address)));
  }

  private readonly readAnnouncements = announcementReader(ANNOUNCED_DIRECTORIES);

  /** What the network has announced, without this daemon. */
  readonly announced = (): Announced =>
    announcedFrom(this.readAnnouncements(), (address, port) =>
      this.listening().some(at => at.port === port && standsFor(at, address)),
    );

  /** @throws UsageError where the address of PROVIDER cannot be found */
  check({ upstream: { bootstrap } }: GoodConfig['config']): void {
    if (this.provider === undefined || bootstrap.length > 0 || this.resolvers().length > 0) return;
    const why = '/etc/resolv.conf names no resolver but this one';
    throw new UsageError(
      `the address of ${this.provider} cannot be looked up: ${why}; use --config with upstream.servers and their addresses`,
    );
  }
}

/** Whether a listener receives queries to an address. */
function standsFor(at: ListenAddress, address: string): boolean {
  if (at.address === address) return true;
  return isAnyAddress(at.address) && (address.startsWith('127.') || expand(at).some(each => each.address === address));
}

/** When servers were connected to and the first questions answered: code for that is to be kept, too. */
const SETTLED_MS = 3000;

/** The end of a start. */
class Settling {
  private isAsked = false;
  /** Whether nothing had been asked after some seconds. */
  private isIdle = false;

  constructor(private readonly youngSpace: YoungSpace) {}

  /** The daemon runs. */
  began(): void {
    setTimeout(() => {
      if (this.isAsked) return this.settled();
      hasStarted();
      this.isIdle = true;
    }, SETTLED_MS).unref();
  }

  /** To be called with each question to servers. */
  asked(): void {
    this.youngSpace.asked();
    if (this.isAsked) return;
    this.isAsked = true;
    if (this.isIdle) setTimeout(() => this.settled(), SETTLED_MS).unref();
  }

  /** The first questions were answered. In this order: V8 takes no code that was kept with other flags. */
  private settled(): void {
    hasStarted();
    this.youngSpace.bound();
  }
}

/** Loaded only if there is a service manager to notify, because loading takes time. */
function libcFor({ NOTIFY_SOCKET: socket }: NodeJS.ProcessEnv): Libc | undefined {
  const libc = socket === undefined ? undefined : loadLibc();
  return libc === undefined || 'unavailable' in libc ? undefined : libc;
}

/** For a service without the right to listen on port 53: systemd was to open it. */
const NO_SOCKETS =
  'systemd has passed no sockets: "systemctl status dotstub.socket" says why port 53 is not open; "systemctl restart dotstub.socket" opens it';

async function serve(
  source: CommandLineSource,
  checked: GoodConfig,
  sockets: PassedSockets | undefined,
): Promise<number> {
  const { config } = checked;
  const output = new StandardOutput(process.stdout, systemClock, (words, lost) => log.warn({ lost }, words));
  const log = logger(config.log, output);
  handleProcessErrors({ log });
  // Before anything that takes time: a service manager may stop the daemon right after the start.
  const stopAsked = new Promise<NodeJS.Signals>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  const settling = new Settling(new YoungSpace());
  try {
    introduce(log, source, checked, sockets);
    const daemon = await startDaemon({
      config,
      source,
      version,
      built: wallSec(BUILT_SEC),
      clock: systemClock,
      random: systemRandom(),
      log,
      system: {
        network: systemNetwork,
        resolvers: source.resolvers,
        searchDomains: source.searchDomains,
        announced: source.announced,
        surroundings: () => readSurroundings(),
      },
      output,
      sockets,
      stopProcess: () => process.kill(process.pid, 'SIGTERM'),
      asked: () => settling.asked(),
    });
    source.listening = () => daemon.listening();
    tellAddresses(log, daemon);
    settling.began();
    const manager = serviceManager(process.env, process.pid, libcFor(process.env), log);
    const alive = supervise(log, daemon, manager);
    const signal = await stopAsked;
    manager?.tell('STOPPING=1');
    alive?.close();
    log.info({ signal }, 'stopping');
    await daemon.stop();
    log.info({}, 'stopped');
    return 0;
  } catch (error) {
    if (isSystemError(error)) return failedBySystem(log, error);
    if (!(error instanceof StartError)) throw error;
    for (const each of placed(checked, error))
      log.error({}, each.path === '' ? each.words : problemText(source.file ?? 'the defaults', each));
    if (error.lacks === 'right' && sockets === undefined && process.env['NOTIFY_SOCKET'] !== undefined)
      log.error({}, NO_SOCKETS);
    return error.exitCode;
  } finally {
    await output.flush();
  }
}

/** Thrown on, the error would be one that a running daemon outlives, and the process would end as if it had been stopped. */
function failedBySystem(log: Log, { code, syscall, stack, message }: NodeJS.ErrnoException): number {
  log.error({ code, syscall, stack }, `a failure of the system that nothing expected ends the daemon: ${message}`);
  return 1;
}

/** Logs the start. */
function introduce(
  log: Log,
  { file, resolvers, announced }: CommandLineSource,
  {
    config: {
      upstream: { servers, mode },
      dnssec,
    },
    warnings,
  }: GoodConfig,
  sockets: PassedSockets | undefined,
): void {
  log.info({ version, node: process.versions.node, config: file ?? 'embedded defaults' }, `dotstub ${version} starts`);
  if (sockets !== undefined)
    log.info({}, 'the service manager has opened the sockets: the addresses in listen are not used');
  if (servers.length === 0) {
    const known = [...resolvers(), ...announced().resolvers.map(({ name }) => name)];
    const words =
      known.length === 0
        ? 'no server is configured, and /etc/resolv.conf names none: every query will fail until one is'
        : "no server is configured: using the system's resolvers, over TLS where it works, in cleartext where it does not";
    log.warn({ resolvers: known.join(' ') }, words);
  } else {
    const names = servers.map(({ name, addresses }) => name ?? addresses[0]?.address ?? '').join(' ');
    log.info({ servers: names }, `upstream mode ${mode ?? 'strict'}`);
  }
  if (dnssec.mode === 'off') log.warn({}, 'answers are not validated (dnssec.mode off)');
  if (dnssec.mode === 'trust_ad')
    log.warn(
      {},
      'answers are not validated here: servers that have proved who they are are believed (dnssec.mode trust_ad)',
    );
  for (const each of warnings) log.warn({}, problemText(file ?? '', each));
}

/** Logs the addresses. */
function tellAddresses(log: Log, daemon: Daemon): void {
  for (const { transport, ...at } of daemon.listening()) {
    const address = listenText(at);
    log.info({ transport, address }, `listening on ${address} (${transport.toUpperCase()})`);
  }
  if (daemon.web !== undefined) log.info({}, `status page and metrics on http://${listenText(daemon.web)}/`);
}

/** Notifies the service manager, and handles signals. */
function supervise(log: Log, daemon: Daemon, manager: ServiceManager | undefined): { close(): void } | undefined {
  const status = (): string => `STATUS=${statusLine(daemon.overview())}`;
  const at = (): readonly ListenAddress[] =>
    daemon
      .listening()
      .filter(({ transport }) => transport === 'udp')
      .map(reachable);
  const alive =
    manager &&
    new Heartbeat({
      manager,
      at,
      query: Buffer.from(SELF_QUERY),
      clock: systemClock,
      log,
      beat: () => manager.tell(status()),
    });
  manager?.tell('READY=1', status());
  takeSignals({
    SIGHUP() {
      manager?.tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
      void daemon.reload().finally(() => manager?.tell('READY=1', status()));
    },
    SIGUSR1() {
      log.info({}, 'opening the query log anew');
      daemon.reopenLogs();
    },
  });
  return alive;
}
