// Connections by system calls and OpenSSL, in an event loop of their own (event-loop).

import { unmappedText } from '../base/address.js';
import { Beginnings } from '../base/octets.js';
import type { Cancel } from '../base/ports.js';
import { isSystemError, SystemError } from '../base/system-error.js';
import { NAME_BYTES, portOf, SCOPE_AT } from '../os/datagrams.js';
import { type Libc, LINUX } from '../os/libc.js';
import { type ListenAddress, zoneOfScope } from '../os/listen-address.js';
import type { OpenSsl, TlsContext } from '../os/openssl.js';
import { boundRoom, openTcp } from '../os/stream-socket.js';
import { ConnectionDuplex } from './connection-duplex.js';
import type { Door, DoorEvents, Streams, TlsServer, TlsServerOptions } from './connection.js';
import type { EventLoop, Watcher } from './event-loop.js';
import { type Ends, NativeConnection, type NativeParts } from './native-connection.js';

/** Connections that the kernel keeps until they are accepted; it cuts this to net.core.somaxconn. */
const BACKLOG = 511;
/** Connections that are accepted in a round of the loop. */
const MOST_ACCEPTED = 16;
/** How long none are accepted when there are no descriptors, ms: until then, they wait in the kernel. */
const FULL_MS = 100;
/** The largest record of TLS is 16 KiB; a first record is looked at with its header. */
const ROOM_BYTES = 1 << 15;
/** Room is lacking for one more connection. */
const FULL: ReadonlySet<number> = new Set([-LINUX.EMFILE, -LINUX.ENFILE, -LINUX.ENOBUFS, -LINUX.ENOMEM]);

/** The parts of connections in a loop. */
export interface NativeStreamsParts {
  readonly libc: Libc;
  readonly loop: EventLoop;
  readonly openssl: OpenSsl;
}

/** Connections in a loop. */
export function nativeStreams({ libc, loop, openssl }: NativeStreamsParts): Streams<NativeConnection> {
  const room = libc.room(ROOM_BYTES);
  const parts = { libc, loop, room, beginnings: new Beginnings(room.octets) };
  return {
    // What is thrown is a rejection, as everywhere else.
    open: async (at, events) =>
      Promise.resolve(new NativeDoor(openListening(libc, at), at.fd !== undefined, parts, events)),
    readFirst: (connection, first) => connection.readFirst(first),
    isSecured: connection => connection.isSecured,
    asDuplex: connection => loop.serve(new ConnectionDuplex(connection)),
    tlsServer: options => new NativeTlsServer(openssl, options),
  };
}

/** A socket that listens. One that is open there already is not closed here: it is a duplicate. @throws SystemError */
function openListening(libc: Libc, at: ListenAddress): number {
  const there = at.fd ?? at.from;
  const fd = there === undefined ? openTcp(libc, at) : libc.dup(there);
  if (fd < 0) throw new SystemError('fcntl', fd, at);
  libc.setNonblocking(fd);
  // Accepted connections inherit it.
  libc.setsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_NODELAY, 1);
  // Urgent data is data: otherwise what comes before it is read alone, and what comes behind it is reported.
  libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_OOBINLINE, 1);
  const result = libc.listen(fd, BACKLOG);
  if (result >= 0) return fd;
  libc.close(fd);
  throw new SystemError('listen', result, at);
}

/** A socket at which connections arrive. */
class NativeDoor implements Door, Watcher {
  readonly isNew = true;
  use = 0;
  readonly port: number;
  private isClosed = false;
  private retry: Cancel | undefined = undefined;
  private readonly remote = Buffer.alloc(NAME_BYTES);
  private readonly local = Buffer.alloc(NAME_BYTES);

  /** @throws SystemError without memory */
  constructor(
    private readonly fd: number,
    /** Whether the service manager has opened it. */
    private readonly isPassed: boolean,
    private readonly parts: NativeParts,
    private readonly events: DoorEvents<NativeConnection>,
  ) {
    this.port = portOf(parts.libc, fd);
    if (parts.loop.watch(fd, this, LINUX.EPOLLIN)) return;
    parts.libc.close(fd);
    throw new SystemError('epoll_ctl', -LINUX.ENOMEM, { address: '', port: this.port });
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.retry?.();
    this.parts.loop.forget(this.fd, true);
    this.parts.libc.close(this.fd);
  }

  ready(): void {
    for (let accepted = 0; accepted < MOST_ACCEPTED && !this.isClosed; accepted++) {
      const fd = this.parts.libc.accept(this.fd, this.remote);
      if (fd === -LINUX.EAGAIN) return;
      if (FULL.has(fd)) return this.wait();
      // Others are of a connection that is gone already.
      if (fd >= 0) this.accept(fd);
    }
  }

  private accept(fd: number): void {
    if (this.isPassed) boundRoom(this.parts.libc, fd);
    const connection = new NativeConnection(fd, this.endsOf(fd), this.parts);
    if (connection.begin()) this.events.accept(connection);
    else this.events.lost();
  }

  /** There are no descriptors: they would be asked for in each round. */
  private wait(): void {
    const { loop } = this.parts;
    this.events.lost();
    loop.change(this.fd, 0);
    this.retry = loop.after(FULL_MS, () => loop.change(this.fd, LINUX.EPOLLIN));
  }

  private endsOf(fd: number): Ends {
    const { remote, local, parts } = this;
    const isKnown = parts.libc.getsockname(fd, local) >= 0;
    return {
      ...{ address: addressIn(remote), port: remote.readUInt16BE(2) },
      ...{ localAddress: isKnown ? addressIn(local) : '', localPort: isKnown ? local.readUInt16BE(2) : this.port },
    };
  }
}

/** The address in a struct sockaddr_in or sockaddr_in6, link-local ones with their zone. */
function addressIn(name: Buffer): string {
  if (name.readUInt16LE(0) === LINUX.AF_INET) return unmappedText(name.subarray(4, 8));
  const text = unmappedText(name.subarray(8, 24));
  const scope = name.readUInt32LE(SCOPE_AT);
  return scope === 0 ? text : `${text}%${zoneText(scope)}`;
}

/** The name of an interface, or its index: without descriptors, names are not told. */
function zoneText(scope: number): string {
  try {
    return zoneOfScope(scope) ?? String(scope);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return String(scope);
  }
}

/** Handshakes by OpenSSL. It owns a context. */
class NativeTlsServer implements TlsServer<NativeConnection> {
  private context: TlsContext;
  private isClosed = false;

  constructor(
    private readonly openssl: OpenSsl,
    private readonly options: TlsServerOptions<NativeConnection>,
  ) {
    this.context = openssl.context(options);
  }

  setCredentials(credentials: TlsServerOptions<NativeConnection>['credentials']): void {
    const { ticketKey } = this.options;
    const next = this.openssl.context({ credentials, ticketKey });
    this.context.free();
    this.context = next;
    if (this.isClosed) next.free();
  }

  handshake(connection: NativeConnection): void {
    connection.secure(this.context, this.options.secured);
  }

  close(): void {
    this.isClosed = true;
    this.context.free();
  }
}
