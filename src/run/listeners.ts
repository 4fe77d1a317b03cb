// Where queries are taken: UDP, TCP and DNS over TLS, at the addresses of the plan, or at sockets that are open already.

import type { Observer } from '../base/observer.js';
import type { Overview } from '../base/overview.js';
import type { Clock, Log } from '../base/ports.js';
import type { AgeSec } from '../base/time.js';
import { type DatagramHost, openDatagramHost, threadsNeeded } from '../fastpath/datagram-host.js';
import type { FrontCounts } from '../base/front-counts.js';
import { FrontWorkers } from '../fastpath/threads.js';
import type { Front } from '../front/front.js';
import { SessionTable, StreamListeners } from '../listen/stream.js';
import type { PassedSockets } from '../os/activation.js';
import type { Libc } from '../os/libc.js';
import { isAnyAddress, type ListenAddress, listenText } from '../os/listen-address.js';
import type { Clients } from './clients.js';
import type { Plan } from './plan.js';
import type { Live, Prepared } from './reload.js';
import { listening, StartError } from './start-error.js';
