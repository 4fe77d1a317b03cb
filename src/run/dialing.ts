// How servers are connected to: the roots and the certificate of a plan, and the clock that certificates are checked
// with.

import type { Clock, Dial } from '../base/ports.js';
import { type Libc, LINUX } from '../os/libc.js';
import { dialer } from '../upstream/dial.js';
import type { Network } from './network.js';
import type { UpstreamPlan } from './plan.js';

/** Makes the Dial port for a plan. */
export const dialerFor =
  ({ clock, libc }: { readonly clock: Clock; readonly libc: Libc | undefined }, network: Network) =>
  ({ roots, client, requirePq }: UpstreamPlan): Dial =>
    dialer({
      ca: roots?.octets.toString('latin1'),
      client: client && { cert: client.certificate.octets, key: client.key.octets },
      requirePq,
      clock,
      clockIsBehind: () => network.clockIsBehind,
      ...(libc === undefined
        ? {}
        : { acknowledge: fd => void libc.setsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_QUICKACK, 1) }),
    });
