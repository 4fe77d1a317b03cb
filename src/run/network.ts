// Which network the machine is on, which resolvers the system has, and whether its clock can be right: what the world around the
// daemon is like, looked at when somebody asks, and what was learned about it, kept over restarts.

import type { Clock, Log } from '../base/ports.js';
import { timesyncHasSetClock } from '../os/clock.js';
import type { Libc } from '../os/libc.js';
import { type NetworkChange, type NetworkWatch, watchNetwork } from '../os/network.js';
import { type NetworkMemory, networkMemory } from '../upstream/memory.js';
