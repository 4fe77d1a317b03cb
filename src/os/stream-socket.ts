// TCP sockets that are bound here instead of by Node.js, which cannot bind an address that the machine does not have yet,
// and does not know the zones of all interface names.

import { SystemError } from '../base/system-error.js';
import { bindEvenAhead, type BindAddress } from './datagrams.js';
import { type Libc, LINUX } from './libc.js';

/** Opens and binds a TCP socket, which does not listen yet. @throws SystemError */
export function openTcp(libc: Libc, at: BindAddress): number {
  const six = at.address.includes(':');
  const fd = libc.socket(six ? LINUX.AF_INET6 : LINUX.AF_INET, LINUX.SOCK_STREAM | LINUX.SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', fd, at);
  libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_REUSEADDR, 1);
  const only = six ? libc.setsockopt(fd, LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY, 1) : 0;
  const bound = only < 0 ? only : bindEvenAhead(libc, fd, at);
  if (bound >= 0) return fd;
  libc.close(fd);
  throw new SystemError('bind', bound, at);
}
