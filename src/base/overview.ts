// How the daemon is doing, at one moment: the one snapshot that status, top, the page, STATUS=, readiness and every gauge are
// read from. `run/overview` takes it when somebody asks; nothing here is kept up to date.

import type { UpstreamState } from './observer.js';

/** The privacy profile (RFC 8310 §5). */
export type Mode = 'off' | 'opportunistic' | 'encrypted' | 'strict';
export const MODES: readonly Mode[] = ['off', 'opportunistic', 'encrypted', 'strict'];

/** Which servers are asked: those of `upstream`, of an entry of `routes`, or the network's own while a portal window is open. */
export type Purpose = 'main' | 'route' | 'portal';

/** How one address of a server is doing. */
export interface AddressOverview {
  /** Undefined: it is being looked for, or was not found. */
  readonly address: string | undefined;
  /** Of DNS over TLS. */
  readonly port: number;
  /** `looking`: the address is not known. */
  readonly state: UpstreamState | 'looking';
  /** Where a query would go now. */
  readonly path: 'tls' | 'cleartext' | 'refuse';
  /** It has proved who it is. */
  readonly authenticated: boolean;
  /** Over TLS, open or opening. */
  readonly connections: number;
  readonly rttMs: number | undefined;
  /** How long a connection may be idle; undefined while there is no address. */
  readonly idleLimitMs: number | undefined;
  /** When the certificate that it last showed expires, milliseconds since 1970. */
  readonly certificateEndsMs: number | undefined;
  /** Why it is not reached, in words. */
  readonly failure: string | undefined;
}

/** How one server is doing. */
export interface ServerOverview {
  /** Told apart from all other servers of this process by it. */
  readonly id: number;
  /** For people, and the metric label; two servers may share one. */
  readonly label: string;
  readonly purpose: Purpose;
  /** Whether it passes DNSSEC signatures on. */
  readonly dnssec: 'ok' | 'strips' | 'unknown';
  readonly addresses: readonly AddressOverview[];
}

/** How the daemon is doing. */
export interface Overview {
  readonly version: string;
  /** Milliseconds since it started. */
  readonly upMs: number;
  readonly mode: Mode;
  readonly dnssec: 'require' | 'prefer' | 'trust_ad' | 'off';
  readonly servers: readonly ServerOverview[];
  /** Octets; `zones`: of how many names keys and proofs are known. */
  readonly cache: {
    readonly entries: number;
    readonly bytes: number;
    readonly limitBytes: number;
    readonly failures: number;
    readonly zones: number;
  };
  /** Queries of clients that wait for an answer. */
  readonly inflight: number;
  /** Open sessions of clients. */
  readonly sessions: { readonly tcp: number; readonly tls: number };
  readonly listening: readonly {
    readonly transport: 'udp' | 'tcp' | 'tls';
    readonly address: string;
    readonly port: number;
  }[];
  /** Milliseconds that the portal window is still open; 0: it is closed. */
  readonly portalMs: number;
  readonly trustAnchors: readonly { readonly tag: number; readonly state: string }[];
  /** False: the system says that nobody keeps its clock right; undefined: it does not say. */
  readonly clockIsSet: boolean | undefined;
  /** It is being taken out of service. */
  readonly draining: boolean;
  /** The configuration file when it was last read: taken over or not, and when the one in force was taken over. */
  readonly reload: { readonly taken: boolean; readonly takenMs: number };
  /** Options that were changed and wait for a restart. */
  readonly waiting: readonly string[];
  /** What could not be written and will be tried again, a sentence each. */
  readonly unwritten: readonly string[];
}
