// A snapshot of the daemon. Status, health, top, the page, the STATUS= line, readiness and every gauge are read from it. `run/overview`
// takes one at each request; a snapshot is never updated.

import type { UpstreamState } from './observer.js';
import type { FailureCode } from './outcome.js';
import type { WallMs } from './time.js';

/** The privacy profile (RFC 8310 §5). */
export type Mode = 'off' | 'opportunistic' | 'encrypted' | 'strict';
/** All modes, the least private first. */
export const MODES: readonly Mode[] = ['off', 'opportunistic', 'encrypted', 'strict'];

/** What a server is used for: `upstream`, an entry of `routes`, or the portal window (the network's own resolvers). */
export type Purpose = 'main' | 'route' | 'portal';

/** Where a server comes from: the configuration, the system's resolv.conf, or an announcement of the network (RFC 9463). */
export type Origin = 'configured' | 'system' | 'announced';
/** Over what queries go to an address. `none`: it is not asked now. */
export type UpstreamTransport = 'dot' | 'https' | 'cleartext' | 'none';

/** What the latest answers of an address have in common, as only those of a broken network do. */
export type AnswersAlike =
  /** All are errors. */
  | { readonly at: 'errors'; readonly rcode: number; readonly count: number }
  /** All say that the name does not exist. */
  | { readonly at: 'denials'; readonly count: number }
  /** All give the same address, in cleartext, for different names. */
  | { readonly at: 'one_address'; readonly address: string; readonly count: number };

/** One address of a server. */
export interface AddressOverview {
  /** Undefined: its lookup is not finished, or found none. */
  readonly address: string | undefined;
  /** The port for DNS over TLS. */
  readonly port: number;
  /** The port that a query would go to now: of DNS over TLS, of HTTPS, or of cleartext DNS. */
  readonly askedPort: number;
  /** `looking`: the address is not known yet. */
  readonly state: UpstreamState | 'looking';
  /** Where a query would go now. */
  readonly path: 'tls' | 'cleartext' | 'refuse';
  /**
   * For how many milliseconds queries have gone in cleartext although TLS would be used if it worked; undefined: they do
   * not.
   */
  readonly cleartextMs: number | undefined;
  /** Over what a query would go now. `https`: the server is asked over HTTPS, because `port` cannot be reached. */
  readonly transport: UpstreamTransport;
  /** Why queries do not go over DNS over TLS, in words, while they go over HTTPS. */
  readonly transportReason: string | undefined;
  /** Whether the server was authenticated. */
  readonly authenticated: boolean;
  /** Whether TLSA records, and not its certificate and pins, decide that. */
  readonly dane?: boolean;
  /** Connections over TLS that are open or opening. */
  readonly connections: number;
  readonly rttMs: number | undefined;
  /** How long a connection may stay idle. Undefined: there is no address yet. */
  readonly idleLimitMs: number | undefined;
  /** The version of TLS and the group of the key exchange of the last connection; undefined: there was none. */
  readonly tlsVersion: string | undefined;
  readonly tlsGroup: string | undefined;
  /** When the last certificate that it presented expires, milliseconds since 1970. */
  readonly certificateEndsMs: number | undefined;
  /** Why it is not reached, in words; undefined: it is reached. */
  readonly failure: string | undefined;
  /** What can be done about that. */
  readonly hint?: string | undefined;
  /** The same as `failure`, as a code. */
  readonly failureCode?: FailureCode | undefined;
  /** Whether it does not even answer a question that every resolver can answer. */
  readonly silent?: boolean;
  /** Undefined: nothing that is wrong. */
  readonly alike?: AnswersAlike | undefined;
  /** Whether the server has designated this address (RFC 9462). */
  readonly designated?: boolean;
}

/** One server. */
export interface ServerOverview {
  /** Unique among all servers of this process. */
  readonly id: number;
  /** The name for people and the metric label. Two servers may share one. */
  readonly label: string;
  readonly origin: Origin;
  readonly purpose: Purpose;
  /** The groups of clients that its route is for; undefined: it is for everybody, or not of a route. */
  readonly clients?: readonly string[] | undefined;
  /** Whether it returns DNSSEC signatures or strips them. */
  readonly dnssec: 'ok' | 'strips' | 'unknown';
  readonly addresses: readonly AddressOverview[];
}

/** An open portal window. */
export interface PortalOverview {
  /** Why it is open: by command, or because a captive portal was detected. */
  readonly by: 'command' | 'detected';
  /** The page of a detected portal, printable ASCII; undefined: it is not known. */
  readonly url: string | undefined;
  /** The page to open in a browser: `url`, or one in whose place the network shows its own. */
  readonly visit: string | undefined;
  /** For how many milliseconds it has been open, and for how many more it stays open. */
  readonly openMs: number;
  readonly leftMs: number;
}

/** What validation has found since the network or the servers last changed. */
export interface ValidationOverview {
  /** Whether an answer was secure. */
  readonly works: boolean;
  /** Bogus answers since the last secure one, if there were so many that their zones cannot be the reason. */
  readonly bogus:
    { readonly count: number; readonly upstream: string | undefined; readonly code: FailureCode } | undefined;
}

/** Questions of clients that were not answered from the cache, and how many of them failed, in the last minutes. */
export interface LatelyOverview {
  readonly minutes: number;
  readonly questions: number;
  readonly failed: number;
  /** The most frequent cause, in words without names that clients asked for. */
  readonly cause: string | undefined;
}

/** A file with names of the local network. */
export interface LocalFileOverview {
  readonly path: string;
  readonly format: 'hosts' | 'dnsmasq' | 'odhcpd' | 'kea' | 'isc';
  /** How many names it gives addresses. */
  readonly names: number;
  /** When what counts now was read; undefined: nothing was read so far. */
  readonly readMs: WallMs | undefined;
  /** Why it cannot be read, in words; undefined: it can. */
  readonly error: string | undefined;
  /** How many of its lines cannot be used, and the first of them in words, with file and line. */
  readonly problems: number;
  readonly firstProblem: string | undefined;
}

/** Names that are answered here. */
export interface LocalOverview {
  /** How many names have records; those of PTR records are not counted. */
  readonly names: number;
  readonly files: readonly LocalFileOverview[];
}

/** The system around the daemon: whom the programs of this machine ask for names (os/surroundings). */
export interface Surroundings {
  /** resolv.conf(5); undefined: there is none. */
  readonly resolvConf: ResolvConf | undefined;
  /** The services of the line `hosts` of nsswitch.conf(5), in their order; empty: it is missing. */
  readonly hosts: readonly string[];
  /** Undefined: it is not running. */
  readonly resolved: ResolvedOverview | undefined;
  /** How somebody here asks everybody on the local network for names: RFC 4795, RFC 6762, NetBIOS. */
  readonly neighbours: readonly ('LLMNR' | 'mDNS' | 'WINS')[];
  /** The addresses of this machine. */
  readonly addresses: readonly string[];
}

/** The part of a resolv.conf that tells where names go. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

/** systemd-resolved. */
export interface ResolvedOverview {
  /** Its servers, those of links included, and its search domains. */
  readonly servers: readonly string[];
  readonly search: readonly string[];
  /** Whether its own servers, and not those of links, are asked about all names that no domain of a link matches (`~.`). */
  readonly routesAll: boolean;
}

/** One list. */
export interface ListOverview {
  readonly name: string;
  readonly action: string;
  readonly rules: number;
  readonly sources: readonly {
    /** A path or a URL. */
    readonly source: string;
    readonly rules: number;
    /** Lines that are not used. */
    readonly skipped: readonly { readonly why: string; readonly count: number }[];
    /** For a URL: since when its server has not said that the copy is current; undefined: there is none. */
    readonly ageMs: number | undefined;
    /** Why it could not be read or fetched when that was last tried. */
    readonly problem: string | undefined;
  }[];
}

/** The lists. */
export interface ListsOverview {
  readonly lists: readonly ListOverview[];
  /** Pauses: of which group (undefined: everybody), and for how many milliseconds more. */
  readonly paused: readonly { readonly group: string | undefined; readonly leftMs: number }[];
  /** Memory of all rules, octets. */
  readonly bytes: number;
  /** Why they could not be compiled when that was last tried. */
  readonly problem: string | undefined;
}

/** The certificate that a listener shows. */
export interface CertificateOverview {
  readonly listener: 'tls' | 'https';
  /** Its file. */
  readonly path: string;
  /** For which DNS names and IP addresses it is. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  /** From when and until when it is valid, milliseconds since 1970. NaN: it does not say. */
  readonly startsMs: number;
  readonly endsMs: number;
  /** For how long it is still valid, ms; negative: it has expired. */
  readonly leftMs: number;
  /** `ends_soon`: it should have been renewed. `early`: it begins later. */
  readonly validity: 'valid' | 'ends_soon' | 'expired' | 'early';
  /** Why what its files hold now is not in force, in words; undefined: it is. */
  readonly refused: string | undefined;
}

/** What clients that ask in cleartext are told about listeners for private DNS (RFC 9462), or why they are told nothing. */
export type DesignationOverview =
  | {
      readonly at: 'announced';
      /** The names of the listeners, from their certificates. */
      readonly names: readonly string[];
      /** In words: protocol and port. */
      readonly services: readonly string[];
      /** Addresses at which clients ask, and which the certificate does not hold: verified discovery fails there (§4.2). */
      readonly unverified: readonly string[];
    }
  | { readonly at: 'nothing'; readonly why: string };

/** All findings that there may be. */
export const FINDINGS = [
  'draining',
  'no_servers',
  'unreached',
  'silent',
  'errors',
  'denials',
  'one_address',
  'signatures_missing',
  'bogus',
  'lost_trust',
  'clock',
  'failing',
  'stale',
  'unvalidated',
  'cleartext',
  'portal',
  'config_refused',
  'certificate_refused',
  'certificate_dates',
  'lists',
  'unwritten',
  'unserved',
  'shared_cache',
  'unfilled',
  'restart',
  'local_file',
  'local_lines',
  'not_asked',
  'asked_beside',
  'resolved_links',
  'search',
  'neighbours',
] as const;
export type FindingId = (typeof FINDINGS)[number];

/** Something that is not as it should be. */
export interface Finding {
  readonly id: FindingId;
  /**
   * `down`: names do not resolve, so that the daemon is not ready. `weak`: they do, but not as they should. `note`: they
   * do, and this is to be known.
   */
  readonly level: 'down' | 'weak' | 'note';
  /** What is the case, and who is to blame. */
  readonly words: string;
  /** What to do about it; undefined: the words say it. */
  readonly advice: string | undefined;
}

/** The store that replicas share. `off`: it is not used for a while, and then tried again. */
export type SharedCacheOverview =
  { readonly at: 'opening' } | { readonly at: 'open' } | { readonly at: 'off'; readonly why: string };

/** The whole daemon, with what is to be said about it. */
export interface Overview extends Facts {
  /** The gravest first. */
  readonly findings: readonly Finding[];
}

/** The whole daemon. */
export interface Facts {
  readonly version: string;
  /** Milliseconds since it started. */
  readonly upMs: number;
  readonly mode: Mode;
  readonly dnssec: 'require' | 'prefer' | 'trust_ad' | 'off';
  readonly servers: readonly ServerOverview[];
  /**
   * Sizes are in octets. `limitBytes`: the part of `sizeBytes`, which is cache.size, for answers; the rest is for ready
   * replies and for what validation knows. `zones`: for how many names that is the keys or a proof.
   */
  readonly cache: {
    readonly entries: number;
    readonly bytes: number;
    readonly limitBytes: number;
    readonly sizeBytes: number;
    readonly failures: number;
    readonly zones: number;
  };
  /** Left out: there is none. */
  readonly sharedCache?: SharedCacheOverview | undefined;
  /** For how many seconds clients have been given expired answers because servers do not answer; undefined: they are not. */
  readonly staleSec?: number | undefined;
  /** Queries of clients that are waiting for an answer. */
  readonly inflight: number;
  /** Open sessions of clients. */
  readonly sessions: { readonly tcp: number; readonly tls: number; readonly https: number };
  readonly listening: readonly {
    readonly transport: 'udp' | 'tcp' | 'tls' | 'https';
    readonly address: string;
    readonly port: number;
  }[];
  /** Listen addresses that are not served now, one sentence each. */
  readonly unserved: readonly string[];
  /** Sets of the firewall that could not be filled when that was last tried, one sentence each. */
  readonly unfilled?: readonly string[];
  /** The portal window; undefined: it is closed. */
  readonly portal: PortalOverview | undefined;
  readonly trustAnchors: readonly { readonly tag: number; readonly state: string }[];
  /** What is not validated any more, because all its trust anchors were revoked: one sentence each. */
  readonly lostTrust: readonly string[];
  /** False: the system says that its clock is not synchronised. Undefined: it does not say. */
  readonly clockIsSet: boolean | undefined;
  /** What the clock shows, milliseconds since 1970, if that is before this version was built, and so cannot be. */
  readonly clockIsBehind?: number | undefined;
  /** Whether the daemon is being taken out of service (`dotstub drain`). */
  readonly draining: boolean;
  /** Whether the last reload succeeded, and when the configuration in force was taken over (milliseconds since 1970). */
  readonly reload: { readonly taken: boolean; readonly takenMs: number };
  /** How many questions in a row no server has answered. */
  readonly unanswered?: number;
  readonly validation?: ValidationOverview;
  readonly local?: LocalOverview;
  readonly certificates?: readonly CertificateOverview[];
  /** Undefined: there is no listener for private DNS. */
  readonly designation?: DesignationOverview | undefined;
  readonly lately?: LatelyOverview;
  readonly lists?: ListsOverview;
  /** Undefined: not known. */
  readonly surroundings?: Surroundings | undefined;
  /** Changed options that wait for a restart. */
  readonly waiting: readonly string[];
  /** State that could not be written and will be tried again, one sentence each. */
  readonly unwritten: readonly string[];
}
