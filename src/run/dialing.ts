// How servers are connected to: the roots and the certificate of a plan, the clock that certificates are checked with,
// and the lookup of TLSA records.

import type { Clock, Dial, Log, Random } from '../base/ports.js';
import { type Libc, LINUX } from '../os/libc.js';
import { daneDial } from '../upstream/dane-dial.js';
import type { ProvenLookup } from '../upstream/dane-lookup.js';
import { dialer } from '../upstream/dial.js';
import type { Network } from './network.js';
import type { UpstreamPlan } from './plan.js';

/** The parts that it uses. */
export interface DialingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly libc: Libc | undefined;
  /** Looks records up and validates them. */
  readonly proven: ProvenLookup;
}

/** Makes the Dial port for a plan. */
export const dialerFor =
  ({ clock, random, log, libc, proven }: DialingParts, network: Network) =>
  ({ roots, client, requirePq }: UpstreamPlan): Dial =>
    daneDial(
      dialer({
        ca: roots?.octets.toString('latin1'),
        client: client && { cert: client.certificate.octets, key: client.key.octets },
        requirePq,
        clock,
        clockIsBehind: () => network.clockIsBehind,
        ...(libc === undefined
          ? {}
          : { acknowledge: fd => void libc.setsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_QUICKACK, 1) }),
      }),
      { clock, random, log, memory: network.memory, lookup: proven },
    );
