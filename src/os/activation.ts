// Sockets that the service manager has opened for us (sd_listen_fds(3)). With them, port 53 needs no privileges, and
// queries wait in the sockets during a start instead of being refused.

import { addressText } from '../base/address.js';
import { u16At } from '../base/octets.js';
import { SCOPE_AT } from './datagrams.js';
import { type Libc, LINUX } from './libc.js';
import { zoneOfScope } from './listen-address.js';
import { boundRoom } from './stream-socket.js';

/** A socket that is open and bound. */
export interface PassedSocket {
  readonly fd: number;
  readonly address: string;
  readonly port: number;
}

/** All passed sockets, by purpose. */
export interface PassedSockets {
  readonly udp: readonly PassedSocket[];
  readonly tcp: readonly PassedSocket[];
  readonly tls: readonly PassedSocket[];
  readonly https: readonly PassedSocket[];
}

/** The environment variables that the service manager sets. */
export interface ActivationEnvironment {
  LISTEN_PID?: string | undefined;
  LISTEN_FDS?: string | undefined;
  LISTEN_FDNAMES?: string | undefined;
}

/** FileDescriptorName= of sockets for DNS over TLS and DNS over HTTPS; all others are for UDP and TCP. */
const NAMES: ReadonlyMap<string, 'tls' | 'https'> = new Map([
  ['dot', 'tls'],
  ['doh', 'https'],
]);
const FIRST_FD = 3;
const MAX_FDS = 256;
const ADDRESS_BYTES = 28;

/**
 * The sockets that were passed to this process.
 * @returns undefined: none; a text: why they cannot be used
 */
export function passedSockets(
  { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names = '' }: ActivationEnvironment,
  pid: number,
  libc: () => Libc | { readonly unavailable: string },
): PassedSockets | string | undefined {
  if (forPid === undefined || count === undefined || Number(forPid) !== pid) return undefined;
  const fds = Number(count);
  if (!Number.isInteger(fds) || fds < 1 || fds > MAX_FDS)
    return `LISTEN_FDS ${JSON.stringify(count)} is no number of sockets from 1 to ${MAX_FDS}`;
  const calls = libc();
  if ('unavailable' in calls)
    return `the service manager has passed sockets, but system calls are not available (${calls.unavailable}): disable the socket unit`;
  const none = (): PassedSocket[] => [];
  const found = { udp: none(), tcp: none(), tls: none(), https: none() };
  const named = names.split(':');
  for (let i = 0; i < fds; i++) {
    const fd = FIRST_FD + i;
    const name = named[i] ?? '';
    const at = boundAddress(calls, fd);
    if (typeof at === 'string') return `socket ${i + 1} of the socket unit (${name}): ${at}`;
    const stream = calls.getsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_TYPE) === LINUX.SOCK_STREAM;
    const secure = NAMES.get(name);
    if (secure !== undefined && !stream)
      return `socket ${i + 1} of the socket unit is named ${name} and takes datagrams: DNS over ${secure.toUpperCase()} needs ListenStream=`;
    if (stream) boundRoom(calls, fd);
    found[secure ?? (stream ? 'tcp' : 'udp')].push({ fd, ...at });
  }
  return found;
}

/** The address that a socket is bound to, or the problem with it. */
function boundAddress(libc: Libc, fd: number): { readonly address: string; readonly port: number } | string {
  const octets = Buffer.alloc(ADDRESS_BYTES);
  if (libc.getsockname(fd, octets) < 0) return 'is no socket';
  const family = octets.readUInt16LE(0);
  if (family !== LINUX.AF_INET && family !== LINUX.AF_INET6) return 'is neither IPv4 nor IPv6';
  const six = family === LINUX.AF_INET6;
  const bare = addressText(octets, six ? 8 : 4, six ? 16 : 4);
  const zone = six ? zoneOfScope(octets.readUInt32LE(SCOPE_AT)) : undefined;
  const address = zone === undefined ? bare : `${bare}%${zone}`;
  // IPv4 clients would have mapped IPv6 addresses (::ffff:…), which access.allow does not match.
  if (address === '::' && libc.getsockopt(fd, LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY) !== 1)
    return 'takes IPv4 on an IPv6 address: add BindIPv6Only=ipv6-only, and an IPv4 address beside it';
  return { address, port: u16At(octets, 2) };
}

/** Removes the variables, so that child processes do not use the sockets. */
export function forgetActivation(environment: ActivationEnvironment): void {
  delete environment.LISTEN_PID;
  delete environment.LISTEN_FDS;
  delete environment.LISTEN_FDNAMES;
}
