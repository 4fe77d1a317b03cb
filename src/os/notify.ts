// Tells the service manager how we are doing (sd_notify(3)): that we are ready, reload or stop, a line for people, and that we
// are alive. Node.js cannot send datagrams to Unix sockets, the C library can.

import { createSocket } from 'node:dgram';

import type { Clock, Log } from '../base/ports.js';
import { monoMs } from '../base/time.js';
import { type Libc, LINUX } from './libc.js';

/** A service manager that wants to know. */
export interface ServiceManager {
  /** Says something, a line each, such as `READY=1`. */
  tell(...lines: readonly string[]): void;
  /** It restarts us when it has not heard `WATCHDOG=1` for so long; undefined: it does not watch. */
  readonly watchdogMs: number | undefined;
}

/** What it is about: environment variables, and our process id. */
export interface ServiceEnvironment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

/** struct sockaddr_un: family u16, path. */
const PATH_AT = 2;
const MAX_PATH_BYTES = 107;

/** The address of a socket as NOTIFY_SOCKET has it; a leading `@` stands for the abstract namespace. Undefined: it is none. */
export function unixAddress(path: string): Buffer | undefined {
  const octets = Buffer.from(path);
  if ((!path.startsWith('/') && !path.startsWith('@')) || octets.length < 2 || octets.length > MAX_PATH_BYTES)
    return undefined;
  if (path.startsWith('@')) octets[0] = 0;
  const address = Buffer.alloc(PATH_AT + octets.length);
  address.writeUInt16LE(LINUX.AF_UNIX, 0);
  octets.copy(address, PATH_AT);
  return address;
}

/** The service manager that has started us; undefined: none did, or it does not want to know. */
export function serviceManager(
  { NOTIFY_SOCKET: path, WATCHDOG_USEC: usec, WATCHDOG_PID: watched }: ServiceEnvironment,
  pid: number,
  libc: Libc | undefined,
  log: Log,
): ServiceManager | undefined {
  if (path === undefined || path === '') return undefined;
  const address = unixAddress(path);
  if (address === undefined || libc === undefined) {
    log.warn(
      { socket: path },
      address === undefined
        ? `NOTIFY_SOCKET ${path} is no address: the service manager is told nothing`
        : 'the service manager is told nothing: system calls are not available; use Type=exec, and no WatchdogSec',
    );
    return undefined;
  }
  const watchdogUsec = Number(usec);
  return {
    watchdogMs:
      watchdogUsec > 0 && (watched === undefined || Number(watched) === pid) ? watchdogUsec / 1000 : undefined,
    tell(...lines) {
      const result = libc.sendTo(address, Buffer.from(lines.join('\n')));
      if (result < 0) log.debug({ errno: -result }, 'the service manager could not be told something');
    },
  };
}

/** Within this time our own answer has to come. */
const ALIVE_MS = 1000;
/** Queries to ourselves within the watchdog's time: one lost datagram must not cause a restart. */
const BEATS = 4;

/**
 * Feeds the watchdog as long as a query to ourselves is answered: a process that runs may still not answer.
 * @param at where we take queries over UDP
 * @param query octets of one that needs nobody else
 * @param beat called after each answer
 */
export function heartbeat(
  manager: ServiceManager,
  at: { readonly address: string; readonly port: number },
  query: Buffer,
  clock: Clock,
  log: Log,
  beat: () => void,
): { close(): void } {
  const { watchdogMs } = manager;
  if (watchdogMs === undefined) return { close: () => undefined };
  const socket = createSocket(at.address.includes(':') ? 'udp6' : 'udp4');
  let askedAt = monoMs(-Infinity);
  let silent = false;
  socket.on('error', error => log.debug({}, `the query to ourselves failed: ${error.message}`));
  socket.on('message', reply => {
    if (!reply.subarray(0, 2).equals(query.subarray(0, 2)) || clock.monotonicMs() - askedAt > ALIVE_MS) return;
    silent = false;
    manager.tell('WATCHDOG=1');
    beat();
  });
  function ask(): void {
    // The last query has had its time, and was not answered.
    if (silent)
      log.warn(
        {},
        `a query to ourselves (${at.address} port ${at.port}) was not answered within ${ALIVE_MS} ms: the watchdog is not fed`,
      );
    silent = true;
    askedAt = clock.monotonicMs();
    query.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
    socket.send(query, at.port, at.address);
  }
  ask();
  const timer = setInterval(ask, watchdogMs / BEATS);
  timer.unref();
  socket.unref();
  return {
    close() {
      clearInterval(timer);
      socket.close();
    },
  };
}
