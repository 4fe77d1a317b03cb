// System calls that Node.js does not offer: batches of datagrams, the address that a datagram was sent to, and waiting
// for many descriptors in a thread of its own. A buffer must stay referenced for as long as C code may use its address.

import { type Koffi, type Library, type Native, type Unavailable, withKoffi } from './koffi.js';

/**
 * Memory that calls write into again and again: to find the address of a buffer takes as long as the rest of a call. It
 * stays where it is for as long as the object is referenced.
 */
export interface Room {
  readonly octets: Buffer;
  /** That of the first octet: a number if that is exact, which costs less. */
  readonly address: number | bigint;
  readonly bytes: number;
}

/** The system calls. Results below 0 are `-errno`. */
export interface Libc {
  /** Octets of a pointer and of size_t. */
  readonly pointerBytes: 4 | 8;
  /** The address of a buffer's first octet, in the form that C code reads from memory. */
  address(buffer: Buffer): bigint;
  room(bytes: number): Room;
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: number): number;
  /** Reads an option that is an int. */
  getsockopt(fd: number, level: number, name: number): number;
  bind(fd: number, address: Buffer): number;
  connect(fd: number, address: Buffer): number;
  /** Writes a struct sockaddr. */
  getsockname(fd: number, address: Buffer): number;
  listen(fd: number, backlog: number): number;
  /**
   * Takes a connection that waits, without waiting for one. The new descriptor is closed in other programs, and does not
   * wait either. @param address gets the struct sockaddr of the client
   */
  accept(fd: number, address: Buffer): number;
  /** Ends sending: the peer reads an end. */
  endSending(fd: number): number;
  /** From then on, calls for this descriptor do not wait. It has no other flags afterwards. */
  setNonblocking(fd: number): number;
  /** Makes another descriptor of the same socket. */
  dup(fd: number): number;
  /** Sends this process SIGIO whenever there is something to read, and makes reading not wait (fcntl(2), O_ASYNC). */
  signalInput(fd: number): number;
  /** Reads one datagram, or octets of a stream, without waiting for them. */
  receive(fd: number, into: Buffer): number;
  /** Writes octets to a stream, as far as there is room. */
  send(fd: number, octets: Buffer): number;
  /** The same as `receive`, but what is read stays there. */
  peek(fd: number, into: Buffer): number;
  /** The index of an interface; 0: there is none of this name. Below 0: `-errno`, for example without descriptors. */
  interfaceIndex(name: string): number;
  recvmmsg(fd: number, messages: Buffer, count: number, flags: number): number;
  sendmmsg(fd: number, messages: Buffer, count: number, flags: number): number;
  /** poll(2); `timeoutMs` -1 waits for ever. */
  poll(fds: Buffer, count: number, timeoutMs: number): number;
  /** epoll(7). */
  epoll(): number;
  /** Adds, changes or removes a descriptor; `event` is a struct epoll_event. */
  epollControl(epoll: number, operation: number, fd: number, event: Buffer): number;
  /** Waits for events; `timeoutMs` -1 waits for ever. @param events gets at most `count` structs epoll_event */
  epollWait(epoll: number, events: Room, count: number, timeoutMs: number): number;
  /** A descriptor that becomes readable when its time has come (timerfd_create(2), monotonic clock). */
  timerfd(): number;
  /** Sets its time, from now on. @param ms above 0 */
  setTimer(fd: number, ms: number): void;
  eventfd(): number;
  /** Makes an eventfd readable, which wakes the threads that poll it. */
  wake(fd: number): void;
  /** Makes an eventfd or a timerfd that is readable unreadable again. */
  awake(fd: number): void;
  close(fd: number): void;
  /** Sends one datagram to a Unix socket. */
  sendTo(address: Buffer, message: Buffer): number;
  /**
   * Asks the scheduler to run the calling thread soon after it wakes, for a short time: the same share of the CPU in
   * smaller slices (Linux 6.12 and later; no effect elsewhere).
   */
  preferPromptness(): void;
  /** Whether the kernel's clock is synchronised (adjtimex(2)); undefined: not known. */
  clockIsSet(): boolean | undefined;
  /** Gives freed memory back to the kernel (malloc_trim(3)). Musl has no such function, and keeps little. */
  trimMemory(): void;
}

/** Linux constants. They are the same on all machines that Node.js supports, except those that `loadLibc` refuses. */
export const LINUX = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  AF_NETLINK: 16,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_CLOEXEC: 0o2000000,
  SOCK_NONBLOCK: 0o4000,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_OOBINLINE: 10,
  SO_REUSEPORT: 15,
  SO_RCVLOWAT: 18,
  IPPROTO_IP: 0,
  IP_PKTINFO: 8,
  IP_FREEBIND: 15,
  IPPROTO_IPV6: 41,
  IPPROTO_TCP: 6,
  IPPROTO_UDP: 17,
  UDP_SEGMENT: 103,
  TCP_NODELAY: 1,
  TCP_QUICKACK: 12,
  IPV6_V6ONLY: 26,
  IPV6_RECVPKTINFO: 49,
  F_SETFL: 4,
  F_SETOWN: 8,
  F_DUPFD_CLOEXEC: 1030,
  O_NONBLOCK: 0o4000,
  O_ASYNC: 0o20000,
  MSG_PEEK: 2,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  SHUT_WR: 1,
  EPOLL_CLOEXEC: 0o2000000,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLL_CTL_MOD: 3,
  EPOLLIN: 1,
  EPOLLOUT: 4,
  EPOLLERR: 8,
  EPOLLHUP: 16,
  EPOLLRDHUP: 0x2000,
  POLLIN: 1,
  POLLOUT: 4,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOSYS: 38,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENOBUFS: 105,
  CLOCK_MONOTONIC: 1,
} as const;

// Most C libraries have no function for sched_getattr and sched_setattr: their system call numbers, by machine.
const SCHED_SYSCALLS: Readonly<Record<string, readonly [set: number, get: number]>> = {
  x64: [314, 315],
  ia32: [351, 352],
  arm: [380, 381],
  arm64: [274, 275],
  riscv64: [274, 275],
  loong64: [274, 275],
  ppc64: [355, 356],
};
/** struct sched_attr: size u32, policy u32, flags u64, nice i32, priority u32, runtime u64 (the slice, ns), and two more. */
const SCHED_ATTR_BYTES = 48;
const SCHED_POLICY_AT = 4;
const SCHED_RUNTIME_AT = 24;
/** The shortest slice that the kernel accepts. */
const SHORT_SLICE_NS = 100_000n;

/** The descriptors before it are standard input, output and error. */
const FIRST_OWN_FD = 3;
/** At least as large as struct timex is on any machine. */
const TIMEX_BYTES = 256;
const TIME_ERROR = 5;

/** The functions in the form that koffi calls. */
const nativeFunctions = (library: Library) =>
  ({
    socket: library.func('int socket(int, int, int)'),
    setsockopt: library.func('int setsockopt(int, int, int, void *, unsigned int)'),
    getsockopt: library.func('int getsockopt(int, int, int, void *, void *)'),
    bind: library.func('int bind(int, void *, unsigned int)'),
    connect: library.func('int connect(int, void *, unsigned int)'),
    getsockname: library.func('int getsockname(int, void *, void *)'),
    listen: library.func('int listen(int, int)'),
    accept4: library.func('int accept4(int, void *, void *, int)'),
    shutdown: library.func('int shutdown(int, int)'),
    // Declared variadic in C, but on these machines its arguments are passed like any function's.
    fcntl: library.func('int fcntl(int, int, int)'),
    recvmmsg: library.func('int recvmmsg(int, void *, unsigned int, int, void *)'),
    sendmmsg: library.func('int sendmmsg(int, void *, unsigned int, int)'),
    recv: library.func('long recv(int, void *, size_t, int)'),
    send: library.func('long send(int, void *, size_t, int)'),
    // Takes a text that ends with a zero octet.
    if_nametoindex: library.func('unsigned int if_nametoindex(void *)'),
    poll: library.func('int poll(void *, unsigned long, int)'),
    epoll_create1: library.func('int epoll_create1(int)'),
    epoll_ctl: library.func('int epoll_ctl(int, int, int, void *)'),
    epoll_wait: library.func('int epoll_wait(int, uintptr_t, int, int)'),
    timerfd_create: library.func('int timerfd_create(int, int)'),
    timerfd_settime: library.func('int timerfd_settime(int, int, void *, void *)'),
    eventfd: library.func('int eventfd(unsigned int, int)'),
    read: library.func('long read(int, void *, size_t)'),
    write: library.func('long write(int, void *, size_t)'),
    close: library.func('int close(int)'),
    sendto: library.func('long sendto(int, void *, size_t, int, void *, unsigned int)'),
    adjtimex: library.func('int adjtimex(void *)'),
    // As fcntl.
    syscall: library.func('long syscall(long, int, void *, unsigned int, unsigned int)'),
  }) as const;

/** The function for `trimMemory`. */
function trimmer(library: Library): () => void {
  let trim: Native;
  try {
    trim = library.func('int malloc_trim(size_t)');
  } catch {
    return () => undefined;
  }
  return () => void trim(0);
}

/** The calls that tell of interfaces and their changes. */
function networkCalls(
  koffi: Koffi,
  native: ReturnType<typeof nativeFunctions>,
): Pick<Libc, 'signalInput' | 'receive' | 'interfaceIndex'> {
  const checked = (result: number): number => (result < 0 ? -koffi.errno() : result);
  return {
    signalInput(fd) {
      const owned = checked(native.fcntl(fd, LINUX.F_SETOWN, process.pid));
      return owned < 0 ? owned : checked(native.fcntl(fd, LINUX.F_SETFL, LINUX.O_ASYNC | LINUX.O_NONBLOCK));
    },
    receive: (fd, into) => checked(native.recv(fd, into, into.length, LINUX.MSG_DONTWAIT)),
    interfaceIndex(name) {
      const index = native.if_nametoindex(Buffer.from(`${name}\0`));
      if (index > 0) return index;
      const failed = koffi.errno();
      return failed === LINUX.ENODEV || failed === LINUX.ENXIO ? 0 : -failed;
    },
  };
}

/** The calls for streams, and for waiting for many of them. */
function streamCalls(
  koffi: Koffi,
  native: ReturnType<typeof nativeFunctions>,
): Pick<
  Libc,
  | 'listen'
  | 'accept'
  | 'send'
  | 'endSending'
  | 'setNonblocking'
  | 'peek'
  | 'epoll'
  | 'epollControl'
  | 'epollWait'
  | 'awake'
  | 'timerfd'
  | 'setTimer'
> {
  const checked = (result: number): number => (result < 0 ? -koffi.errno() : result);
  const length = Buffer.alloc(4);
  const value = Buffer.alloc(8);
  const wordBytes = koffi.sizeof('long');
  // struct itimerspec: an interval, which stays 0, and the first time, each in seconds and nanoseconds.
  const time = Buffer.alloc(4 * wordBytes);
  return {
    listen: (fd, backlog) => checked(native.listen(fd, backlog)),
    accept(fd, address) {
      length.writeUInt32LE(address.length);
      return checked(native.accept4(fd, address, length, LINUX.SOCK_CLOEXEC | LINUX.SOCK_NONBLOCK));
    },
    endSending: fd => checked(native.shutdown(fd, LINUX.SHUT_WR)),
    setNonblocking: fd => checked(native.fcntl(fd, LINUX.F_SETFL, LINUX.O_NONBLOCK)),
    send: (fd, octets) => checked(native.send(fd, octets, octets.length, LINUX.MSG_DONTWAIT | LINUX.MSG_NOSIGNAL)),
    peek: (fd, into) => checked(native.recv(fd, into, into.length, LINUX.MSG_DONTWAIT | LINUX.MSG_PEEK)),
    epoll: () => checked(native.epoll_create1(LINUX.EPOLL_CLOEXEC)),
    epollControl: (epoll, operation, fd, event) => checked(native.epoll_ctl(epoll, operation, fd, event)),
    epollWait: (epoll, { address }, count, timeoutMs) => checked(native.epoll_wait(epoll, address, count, timeoutMs)),
    awake: fd => void native.read(fd, value, 8),
    timerfd: () => checked(native.timerfd_create(LINUX.CLOCK_MONOTONIC, LINUX.SOCK_CLOEXEC | LINUX.SOCK_NONBLOCK)),
    setTimer(fd, ms) {
      const seconds = Math.floor(ms / 1000);
      time.writeUInt32LE(seconds, 2 * wordBytes);
      // 0 would stop it.
      time.writeUInt32LE(Math.max(1, Math.floor((ms - 1000 * seconds) * 1e6)), 3 * wordBytes);
      native.timerfd_settime(fd, 0, time, null);
    },
  };
}

/**
 * Loads it in a thread, which is only started if the main thread could load it.
 * @throws an error of the system if it cannot be loaded now: descriptors may have run out
 */
export function loadLibcInThread(): Libc {
  const libc = loadLibc();
  if ('unavailable' in libc) throw Object.assign(new Error(libc.unavailable), { code: 'ERR_WORKER_INIT_FAILED' });
  return libc;
}

/** Loads the C library, or says why it cannot be used. */
export const loadLibc = (): Libc | Unavailable => withKoffi(koffi => libcOf(koffi, openLibrary(koffi)));

function libcOf(koffi: Koffi, library: Library): Libc {
  const pointerBytes = koffi.sizeof('void *') === 4 ? 4 : 8;

  const native = nativeFunctions(library);
  const checked = (result: number): number => (result < 0 ? -koffi.errno() : result);
  const one = Buffer.alloc(8);
  one.writeUInt32LE(1);
  const option = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  return {
    pointerBytes,
    address: buffer => koffi.address(buffer),
    room(bytes) {
      const octets = Buffer.alloc(bytes);
      const address = koffi.address(octets);
      return { octets, address: address <= Number.MAX_SAFE_INTEGER ? Number(address) : address, bytes };
    },
    socket: (domain, type, protocol) => checked(native.socket(domain, type, protocol)),
    setsockopt(fd, level, name, value) {
      option.writeInt32LE(value);
      return checked(native.setsockopt(fd, level, name, option, 4));
    },
    getsockopt(fd, level, name) {
      length.writeUInt32LE(4);
      const result = checked(native.getsockopt(fd, level, name, option, length));
      return result < 0 ? result : option.readInt32LE();
    },
    getsockname(fd, address) {
      length.writeUInt32LE(address.length);
      return checked(native.getsockname(fd, address, length));
    },
    dup: fd => checked(native.fcntl(fd, LINUX.F_DUPFD_CLOEXEC, FIRST_OWN_FD)),
    ...networkCalls(koffi, native),
    ...streamCalls(koffi, native),
    bind: (fd, address) => checked(native.bind(fd, address, address.length)),
    connect: (fd, address) => checked(native.connect(fd, address, address.length)),
    recvmmsg: (fd, messages, count, flags) => checked(native.recvmmsg(fd, messages, count, flags, null)),
    sendmmsg: (fd, messages, count, flags) => checked(native.sendmmsg(fd, messages, count, flags)),
    poll: (fds, count, timeoutMs) => checked(native.poll(fds, count, timeoutMs)),
    eventfd: () => checked(native.eventfd(0, LINUX.SOCK_CLOEXEC)),
    wake: fd => void native.write(fd, one, 8),
    close: fd => void native.close(fd),
    sendTo(address, message) {
      const fd = checked(native.socket(LINUX.AF_UNIX, LINUX.SOCK_DGRAM | LINUX.SOCK_CLOEXEC, 0));
      if (fd < 0) return fd;
      const sent = checked(native.sendto(fd, message, message.length, LINUX.MSG_DONTWAIT, address, address.length));
      native.close(fd);
      return sent;
    },
    trimMemory: trimmer(library),
    clockIsSet() {
      // Modes 0 only reads. TIME_ERROR means not synchronised.
      const state = native.adjtimex(Buffer.alloc(TIMEX_BYTES));
      return state < 0 ? undefined : state !== TIME_ERROR;
    },
    preferPromptness() {
      const [set, get] = SCHED_SYSCALLS[process.arch] ?? [];
      if (set === undefined || get === undefined) return;
      const attributes = Buffer.alloc(SCHED_ATTR_BYTES);
      // A real-time policy is not changed.
      if (
        native.syscall(get, 0, attributes, SCHED_ATTR_BYTES, 0) !== 0 ||
        attributes.readUInt32LE(SCHED_POLICY_AT) !== 0
      )
        return;
      attributes.writeBigUInt64LE(SHORT_SLICE_NS, SCHED_RUNTIME_AT);
      native.syscall(set, 0, attributes, 0, 0);
    },
  };
}

/** glibc, or musl under the name that it has for this machine. */
function openLibrary(koffi: Koffi): Library {
  try {
    return koffi.load('libc.so.6');
  } catch {
    return koffi.load('libc.so');
  }
}
