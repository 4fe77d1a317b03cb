// UDP for clients, in one of three ways: front threads that serve batches, batches on the main thread, or node:dgram. A
// host can take over the sockets of the host that it replaces, so that a reload loses no datagram.

import type { Socket } from 'node:dgram';

import { isAnyAddress } from '../base/address.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { Observer } from '../base/observer.js';
import type { Log } from '../base/ports.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import type { Front } from '../front/front.js';
import type { AdmissionMemory } from '../policy/admission.js';
import { isSystemError } from '../base/system-error.js';
import { type Libc, LINUX } from '../os/libc.js';
import { type ListenAddress, listenText, placeText, type Unopened } from '../os/listen-address.js';
import { DgramHost } from './dgram.js';
import { InlineHost } from './inline.js';
import { perInterface } from './places.js';
import { FrontWorkers, ThreadHost } from './threads.js';

/** A UDP socket of a host. */
export interface OpenSocket {
  /** Where it is bound. */
  readonly at: ListenAddress;
  readonly fd: number;
  /** Only for node:dgram: gives the socket away. The host neither reads nor closes it from then on. */
  readonly release?: () => Socket;
}

/** Serves UDP at some addresses. */
export interface DatagramHost {
  /** Whether it has a socket for each address that a wildcard stands for. */
  readonly isPerInterface: boolean;
  /** The addresses that it was opened for. */
  readonly wanted: readonly ListenAddress[];
  /** Those of them that could not be bound, and wait. */
  readonly unopened: readonly Unopened[];
  /** Where it listens; port 0 is resolved. */
  readonly bound: readonly ListenAddress[];
  readonly sockets: readonly OpenSocket[];
  /** The counts since the last call, for each thread. After `close`, one more call returns the last counts. */
  counted(): readonly FrontCounts[];
  /**
   * Stops reading from sockets that were passed to this process: what waits in them is for the process that gets them
   * next. Resolved when all that was read before is with the front. Other sockets are read until `close`.
   */
  leave(): Promise<void>;
  /**
   * Serves the datagrams that wait in the sockets, but for those that were passed, stops reading, sends the replies that
   * are still to come, and closes. May be called twice.
   * @param graceMs how long it waits for those replies
   */
  close(graceMs?: number): Promise<void>;
}

/** The parts of a host. */
export interface DatagramParts {
  readonly addresses: readonly ListenAddress[];
  /** `front.io` of the configuration: `dgram` asks for node:dgram. */
  readonly io: 'auto' | 'dgram';
  /** `front.threads`. */
  readonly threads: number;
  /** Undefined: system calls are not available, so node:dgram is used. */
  readonly libc: Libc | undefined;
  /** Threads that were started in advance, `threadsNeeded` of them; undefined: they are started here. */
  readonly workers?: FrontWorkers | undefined;
  readonly admission: AdmissionMemory;
  /** Memory of the PacketCache. */
  readonly packets: SharedArrayBuffer;
  readonly front: Front;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  readonly monotonicMs: () => MonoMs;
  /** The wall clock, whole seconds since 1970. */
  readonly wallSec: () => number;
  readonly log: Log;
  /**
   * The host whose sockets are taken over at addresses that stay. It goes on serving, and the caller closes it
   * afterwards.
   */
  readonly replaces?: DatagramHost | undefined;
}

/**
 * How many front threads serve these addresses. A wildcard socket of the service manager needs at least one: it cannot
 * be replaced by one socket per address, and only batches show which address a datagram was sent to.
 */
export function threadsNeeded({ addresses, io, threads }: Pick<DatagramParts, 'addresses' | 'io' | 'threads'>): number {
  if (io === 'dgram') return 0;
  return addresses.some(({ address, fd }) => fd !== undefined && isAnyAddress(address))
    ? Math.max(1, threads)
    : threads;
}

/**
 * Opens a host.
 * @throws an error with `code`, `address` and `port`, if an address cannot be bound that must not wait; nothing is open then,
 * and `replaces` is as it was
 */
export async function openDatagramHost(parts: DatagramParts): Promise<DatagramHost> {
  const { libc, log } = parts;
  const threads = threadsNeeded(parts);
  // Sockets of node:dgram do not share their port by themselves.
  for (const { fd } of parts.replaces?.sockets ?? []) libc?.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_REUSEPORT, 1);
  if (libc !== undefined && threads > 0) {
    const workers = parts.workers ?? new FrontWorkers(threads);
    if (await haveStarted(workers, log)) return ThreadHost.open({ ...parts, libc }, workers);
  } else await parts.workers?.close();

  // On the main thread, a wildcard is bound interface by interface: Node.js reads the first datagram of several, and
  // does not say which address it was sent to.
  const addresses = perInterface(parts.addresses, libc, parts.replaces?.wanted ?? []);
  const onMain = { ...parts, addresses };
  if (libc === undefined || parts.io === 'dgram') return DgramHost.open(onMain);
  return InlineHost.open({ ...onMain, libc });
}

/** Whether the threads can be used. If the system has none left, that is logged, and UDP is served without them. */
async function haveStarted(workers: FrontWorkers, log: Log): Promise<boolean> {
  try {
    await workers.started;
    return true;
  } catch (error) {
    await workers.close();
    if (!isSystemError(error)) throw error;
    log.error({}, `front threads cannot be started (${error.message}): UDP is served on the main thread, slower`);
    return false;
  }
}

/** Whether a socket was passed to this process: somebody else holds it, and what it does not read stays in it. */
export const isPassed = ({ at }: { readonly at: ListenAddress }): boolean => at.fd !== undefined;

/** The sockets of `replaces` that are bound where `at` wants to be. */
export function socketsAt(replaces: DatagramHost | undefined, at: ListenAddress): readonly OpenSocket[] {
  const wanted = placeText(at);
  return at.fd !== undefined || replaces === undefined
    ? []
    : replaces.sockets.filter(open => placeText(open.at) === wanted);
}

/** The sockets of `replaces` at single addresses that a wildcard among `addresses` stands for. */
export function socketsWithin(
  replaces: DatagramHost | undefined,
  addresses: readonly ListenAddress[],
): readonly OpenSocket[] {
  const wanted = new Set(addresses.map(listenText));
  const wildcards = addresses.filter(({ address, fd }) => fd === undefined && isAnyAddress(address));
  return (replaces?.sockets ?? []).filter(
    ({ at }) =>
      !wanted.has(listenText(at)) &&
      wildcards.some(({ address, port }) => port === at.port && address.includes(':') === at.address.includes(':')),
  );
}
