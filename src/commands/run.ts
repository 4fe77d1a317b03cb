// `dotstub run`: the daemon.

import { setFlagsFromString } from 'node:v8';

import type { Log } from '../base/ports.js';
import { modeOf } from '../config/combinations.js';
import { checkConfig, problemText } from '../config/check.js';
import { hostName } from '../config/kinds.js';
import type { Config } from '../config/schema.js';
import { systemResolvers } from '../config/system.js';
import { type Daemon, startDaemon } from '../daemon.js';
import { StartError } from '../files.js';
import { logger } from '../observe/log.js';
import { type LogFile, logFile } from '../observe/log-file.js';
import { forgetActivation, type PassedSockets, passedSockets } from '../os/activation.js';
import { systemClock, systemRandom } from '../os/clock.js';
import { type Libc, loadLibc } from '../os/libc.js';
import { watchFile } from '../os/file-watch.js';
import { heartbeat, serviceManager } from '../os/notify.js';
import { systemNetwork } from '../os/network.js';
import { listenText, reachable } from '../listen/addresses.js';
import { drainCommand } from '../control/drain.js';
import { logCommand } from '../control/log.js';
import type { ControlReply } from '../control/protocol.js';
import { BUILT_SEC, version } from '../version.js';
import { SELF_QUERY } from './alive.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { loadConfig, problemReport } from '../config/load.js';

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

Signals: SIGTERM and SIGINT answer what is in flight and stop. SIGHUP reads FILE again: servers, mode, access, TTL limits,
negative trust anchors and the log level are exchanged at once; the cache is kept, and so are connections to servers that stay. What
else has changed is named, and waits for a restart. A bad FILE changes nothing. SIGUSR1 opens log.query_file anew.
Exit code: 0 stopped, 1 could not start, 2 bad usage or configuration.`,
  async run(args) {
    const {
      positionals: [provider],
      value,
    } = parseArguments(args, { config: { type: 'string' } }, 1);
    const file = value('config');
    const checked = file === undefined ? checkConfig('') : loadConfig(file);
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
    const taken = sockets === undefined || sockets.udp.length === 0 ? checked.config.listen : sockets.udp;
    const ours = new Set(taken.filter(({ port }) => port === 53).map(({ address }) => address));
    const resolvers = (): string[] => systemResolvers(address => ours.has(address));
    const known = resolvers();
    const config = provider === undefined ? checked.config : withProvider(checked.config, provider, known);
    const reread = (): ReturnType<typeof loadConfig> => {
      const again = file === undefined ? checkConfig('') : loadConfig(file);
      return again.ok && provider !== undefined
        ? { ...again, config: withProvider(again.config, provider, resolvers()) }
        : again;
    };
    return serve({ config, notBuilt: checked.notBuilt, resolvers, file, reread, sockets });
  },
};

/**
 * V8 doubles the space for new objects when many survive a collection, up to 32 MB and more. Ours die young: collecting a small
 * space often costs no more CPU, takes less time at a time, and leaves the memory to others. Read when V8 is about to double;
 * nothing else hangs on it. Not before the daemon has started: what is made until then stays, and would be copied again and
 * again (a tenth of the time that it takes to start).
 */
const keepYoungSpaceSmall = (): void => setFlagsFromString('--semi-space-growth-factor=1');

/** Only where there is somebody to tell: loading it takes time. */
function libcFor({ NOTIFY_SOCKET: socket }: NodeJS.ProcessEnv): Libc | undefined {
  const libc = socket === undefined ? undefined : loadLibc();
  return libc === undefined || 'unavailable' in libc ? undefined : libc;
}

/** The configuration with PROVIDER as its only server. */
function withProvider(config: Config, provider: string, known: readonly string[]): Config {
  const read = hostName.read(provider);
  if (!read.ok)
    throw new UsageError(
      `PROVIDER ${JSON.stringify(provider)} is not allowed (${read.problem}). Allowed: ${hostName.allowed}`,
    );
  if (known.length === 0 && config.upstream.bootstrap.length === 0) {
    throw new UsageError(
      `the address of ${read.value} can't be looked up: /etc/resolv.conf names no resolver but this one; use --config with upstream.servers and their addresses`,
    );
  }
  return {
    ...config,
    upstream: {
      ...config.upstream,
      mode: 'strict',
      servers: [{ name: read.value, addresses: [], port: 853, pins: [], pin_policy: 'pin_and_pkix' }],
    },
  };
}

interface ServeParts {
  readonly config: Config;
  readonly notBuilt: readonly string[];
  readonly resolvers: () => string[];
  readonly file: string | undefined;
  readonly reread: () => ReturnType<typeof loadConfig>;
  readonly sockets: PassedSockets | undefined;
}

async function serve({ config, notBuilt, resolvers, file, reread, sockets }: ServeParts): Promise<number> {
  const log = logger(config.log, process.stdout);
  // Whoever read the log has gone: that is no reason to answer no more.
  process.stdout.on('error', () => undefined);
  // Before anything that takes time: whoever starts us may also stop us at once.
  const stopAsked = new Promise<NodeJS.Signals>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });

  const mode = modeOf(config);
  const known = resolvers();
  const { servers } = config.upstream;
  log.info({ version, node: process.versions.node, config: file ?? 'embedded defaults' }, `dotstub ${version} starts`);
  if (sockets !== undefined)
    log.info({}, 'the service manager has opened the sockets: the addresses in listen are not used');
  if (servers.length === 0) {
    log.warn(
      { mode, resolvers: known.join(' ') },
      known.length === 0
        ? 'no server is configured, and /etc/resolv.conf names none: every query will fail until one is'
        : `no server is configured: using the system's resolvers, over TLS where it works, in cleartext where it does not`,
    );
  } else
    log.info(
      { mode, servers: servers.map(({ name, addresses }) => name ?? addresses[0]?.address ?? '').join(' ') },
      `upstream mode ${mode}`,
    );
  if (config.dnssec.mode === 'off' || config.dnssec.mode === 'trust_ad') {
    log.warn(
      {},
      config.dnssec.mode === 'off'
        ? 'answers are not validated (dnssec.mode off)'
        : 'answers are not validated here: servers that have proved who they are are believed (dnssec.mode trust_ad)',
    );
  }
  if (notBuilt.length > 0)
    log.warn({ options: notBuilt.join(' ') }, `not built yet, without effect: ${notBuilt.join(', ')}`);

  try {
    const state: { running?: Daemon } = {};
    const again = (): ControlReply =>
      state.running === undefined
        ? { ok: false, problem: 'it is only just starting' }
        : reload(state.running, reread(), file, log);
    const lines = queryLines(config, log);
    const drain = drainCommand(forMs => {
      log.info(
        { seconds: forMs / 1000 },
        `being taken out of service: not ready from now on, stopping in ${forMs / 1000} s`,
      );
      state.running?.drain();
      setTimeout(() => process.kill(process.pid, 'SIGTERM'), forMs);
    });
    const daemon = await startDaemon({
      commands: { reload: { run: again }, log: logCommand(log), drain },
      config,
      version,
      builtSec: BUILT_SEC,
      clock: systemClock,
      random: systemRandom(),
      log,
      systemResolvers: resolvers,
      network: systemNetwork,
      sockets,
      queryLine: lines.write,
    });
    for (const { transport, at } of daemon.listening)
      log.info({ transport, address: listenText(at) }, `listening on ${listenText(at)} (${transport.toUpperCase()})`);
    if (daemon.metricsPort !== undefined && config.metrics.listen !== 'off') {
      log.info(
        {},
        `status page and metrics on http://${listenText({ ...config.metrics.listen, port: daemon.metricsPort })}/`,
      );
    }
    state.running = daemon;
    keepYoungSpaceSmall();
    const status = (): string => `STATUS=${daemon.statusLine()}`;
    const manager = serviceManager(process.env, process.pid, libcFor(process.env), log);
    process.on('SIGHUP', () => {
      manager?.tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
      again();
      manager?.tell('READY=1', status());
    });
    if (file !== undefined && config.reload_on_change) {
      watchFile(file, again, error =>
        log.warn({ file }, `${file} is not watched for changes (${error.message}); SIGHUP and "dotstub reload" work`),
      );
    }
    process.on('SIGUSR1', () => {
      log.info({}, 'opening the query log anew');
      lines.reopen();
    });
    const ourselves = daemon.listening.find(({ transport }) => transport === 'udp')?.at;
    const alive =
      manager === undefined || ourselves === undefined
        ? undefined
        : heartbeat(manager, reachable(ourselves), Buffer.from(SELF_QUERY), systemClock, log, () =>
            manager.tell(status()),
          );
    manager?.tell('READY=1', status());
    const signal = await stopAsked;
    manager?.tell('STOPPING=1');
    alive?.close();
    log.info({ signal }, 'stopping');
    await daemon.stop();
    log.info({}, 'stopped');
    return 0;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    log.error({}, error.message);
    return error.exitCode;
  }
}

/** Where the query log goes. */
function queryLines({ log: { query_file: file } }: Config, log: Log): LogFile {
  if (file === undefined) return { write: line => void process.stdout.write(line), reopen: () => undefined };
  let lost = 0;
  return logFile(
    file,
    () => {
      // Said once, and again whenever it has become ten times as many.
      lost++;
      if (Number.isInteger(Math.log10(lost)))
        log.warn({ file, lost }, `${file} is not written quickly enough: ${lost} lines of the query log are lost`);
    },
    error => log.error({ file }, `${file}: ${error.message} (log.query_file)`),
  );
}

/** SIGHUP, or "dotstub reload": the file as it is now, or nothing. What is said is in the log, too. */
function reload(
  daemon: Daemon,
  checked: ReturnType<typeof loadConfig>,
  file: string | undefined,
  log: ReturnType<typeof logger>,
): ControlReply {
  if (file === undefined) {
    const problem = 'nothing to reload: the daemon runs without a configuration file';
    log.info({}, problem);
    return { ok: false, problem };
  }
  if (!checked.ok) {
    daemon.reloadFailed();
    const problems = checked.problems.map(problem => problemText(file, problem));
    for (const each of problems) log.error({ file }, each);
    const words = `${file} was not taken over (${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}): the configuration that runs stays`;
    log.error({ file, problems: problems.length }, words);
    return { ok: false, problem: [words, ...problems].join('\n') };
  }
  const { now, later } = daemon.reload(checked.config);
  log.level = checked.config.log.level;
  const words = `${file} taken over${now.length === 0 ? '' : `: ${now.join(', ')}`}`;
  log.info({ file, options: now.join(' ') }, words);
  const waits = later.length === 0 ? undefined : `changed, but only in force after a restart: ${later.join(', ')}`;
  if (waits !== undefined) log.warn({ options: later.join(' ') }, waits);
  return {
    ok: true,
    text: [words, ...(waits === undefined ? [] : [waits])].join('\n'),
    data: { file, changed: now, after_restart: later },
  };
}
