// Notifies the service manager (sd_notify(3)): that the daemon is ready, reloads, stops or is alive, and a status line.
// Node.js cannot send datagrams to Unix sockets, but the C library can.

import { createSocket, type Socket } from 'node:dgram';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { visible } from '../base/visible.js';
import { type Libc, LINUX } from './libc.js';
import { type ListenAddress, listenText } from './listen-address.js';

/** A service manager that accepts notifications. */
export interface ServiceManager {
  /** Sends lines such as `READY=1`. */
  tell(...lines: readonly string[]): void;
  /** It restarts the daemon after this long without `WATCHDOG=1`; undefined: no watchdog. */
  readonly watchdogMs: number | undefined;
}

/** The environment variables and the process id that are needed. */
export interface ServiceEnvironment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

/** struct sockaddr_un: family u16, path. */
const PATH_AT = 2;
const MAX_PATH_BYTES = 107;

/** The socket address of NOTIFY_SOCKET; a leading `@` means the abstract namespace. Undefined: it is invalid. */
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

/** The service manager that started this process; undefined: none, or it accepts no notifications. */
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
      const result = libc.sendTo(address, Buffer.from(lines.map(visible).join('\n')));
      if (result < 0) log.debug({ errno: -result }, 'the service manager could not be told something');
    },
  };
}

/** Our own answer must arrive within this time. */
const ALIVE_MS = 1000;
/** How often the daemon queries itself within the watchdog's time: one lost datagram must not cause a restart. */
const BEATS = 4;

/** The parts of the heartbeat. */
export interface HeartbeatParts {
  readonly manager: ServiceManager;
  /** The addresses where queries are taken over UDP, which may change. */
  readonly at: () => readonly ListenAddress[];
  /** A query that the daemon answers without any server. Its id is changed. */
  readonly query: Buffer;
  readonly clock: Clock;
  readonly log: Log;
  /** Called after each answer. */
  readonly beat: () => void;
}

/** The queries of one beat. */
interface Round {
  readonly sockets: Socket[];
  readonly addresses: readonly ListenAddress[];
  /** Those that are asked if the first one does not answer. */
  rest: readonly ListenAddress[];
  readonly cancel: Cancel;
}

/**
 * Feeds the watchdog while the daemon answers queries to itself: a process that runs may still not answer. One address
 * that answers is enough: another one may have gone from this machine.
 */
export class Heartbeat {
  private readonly timer: NodeJS.Timeout | undefined;
  /** How long the first address has before the others are asked, ms. */
  private readonly patienceMs: number = ALIVE_MS;
  /** The queries in flight. */
  private round: Round | undefined;
  /** The address that answered last: it is asked first. */
  private answeredAt = '';

  constructor(private readonly parts: HeartbeatParts) {
    const { watchdogMs } = parts.manager;
    if (watchdogMs === undefined) return;
    const beatMs = watchdogMs / BEATS;
    this.patienceMs = Math.min(ALIVE_MS, beatMs / 2);
    this.timer = setInterval(() => this.ask(), beatMs).unref();
    this.ask();
  }

  /** Stops feeding the watchdog. */
  close(): void {
    clearInterval(this.timer);
    this.endRound();
  }

  private endRound(): void {
    this.round?.cancel();
    for (const socket of this.round?.sockets ?? []) socket.close();
    this.round = undefined;
  }

  private ask(): void {
    const { at, query, clock, log } = this.parts;
    // A query that was not answered since the last beat is late.
    if (this.round !== undefined) {
      const asked = this.round.addresses.map(each => `${each.address} port ${each.port}`).join(', ');
      log.warn({}, `a query to ourselves (${asked}) was not answered within ${ALIVE_MS} ms: the watchdog is not fed`);
      this.endRound();
    }
    const addresses = at();
    const first = addresses.find(each => listenText(each) === this.answeredAt) ?? addresses[0];
    if (first === undefined) return this.fed();
    query.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
    const cancel = clock.after(this.patienceMs, () => this.askRest());
    this.round = { sockets: [], addresses, rest: addresses.filter(each => each !== first), cancel };
    this.send(first, this.round);
  }

  private askRest(): void {
    const { round } = this;
    if (round === undefined) return;
    const { rest } = round;
    round.rest = [];
    for (const at of rest) this.send(at, round);
  }

  private send(at: ListenAddress, round: Round): void {
    const { query, clock, log } = this.parts;
    const since = clock.monotonicMs();
    // A socket for each query: a socket that has failed, or is of another address family, must not end the heartbeat.
    const socket = createSocket(at.address.includes(':') ? 'udp6' : 'udp4').unref();
    round.sockets.push(socket);
    socket.on('error', error => {
      log.debug({}, `the query to ourselves failed: ${error.message}`);
      if (this.round === round) this.askRest();
    });
    socket.on('message', reply => {
      if (this.round !== round || !reply.subarray(0, 2).equals(query.subarray(0, 2))) return;
      if (clock.monotonicMs() - since > ALIVE_MS) return;
      this.answeredAt = listenText(at);
      this.endRound();
      this.fed();
    });
    // From the address itself, which fails if this machine does not have it any more: another one could answer there.
    socket.bind({ port: 0, address: at.address, exclusive: true }, () => socket.send(query, at.port, at.address));
  }

  private fed(): void {
    this.parts.manager.tell('WATCHDOG=1');
    this.parts.beat();
  }
}
