// Every option there is: one row each, and from the row its check, default, help, example, JSON schema and line in
// the README. Durations are in ms and sizes in bytes once read; the file writes them with units.

import {
  count,
  domainName,
  duration,
  endpoint,
  flag,
  hostName,
  listenAddress,
  nat64Prefix,
  network,
  oneOf,
  orOff,
  path,
  pin,
  size,
  trustAnchor,
} from './kinds.js';
import { group, groups, list, option, optional, type ValuesOf } from './shape.js';

const NOT_BUILT = { built: false } as const;
const RESTART = { restart: true } as const;

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

// Loopback, then RFC 1918, RFC 3927, RFC 4193 and RFC 4291 §2.5.6.
const LOOPBACK = [
  { address: '127.0.0.0', prefix: 8 },
  { address: '::1', prefix: 128 },
];
const PRIVATE = [
  { address: '10.0.0.0', prefix: 8 },
  { address: '172.16.0.0', prefix: 12 },
  { address: '192.168.0.0', prefix: 16 },
  { address: '169.254.0.0', prefix: 16 },
  { address: 'fc00::', prefix: 7 },
  { address: 'fe80::', prefix: 10 },
];

export const PRESETS = ['laptop', 'router', 'sidecar'] as const;

/** The schema. */
export const schema = {
  preset: optional(oneOf(PRESETS), 'A set of defaults for one kind of use; every value in the file overrides it.', {
    example: 'laptop',
    choosesDefaults: true,
  }),
  listen: list(
    listenAddress,
    [
      { address: '127.0.0.1', port: 5300 },
      { address: '::1', port: 5300 },
    ],
    64,
    'Where queries are taken, over UDP and TCP. The default needs no rights; the presets listen on port 53.',
  ),
  listen_tls: group('DNS over TLS for clients on the local network, such as phones.', {
    addresses: list(listenAddress, [], 64, 'Where DNS-over-TLS queries are taken.', {
      example: [{ address: '192.168.1.1', port: 853 }],
    }),
    certificate: optional(path, 'Certificate chain, PEM.', { example: '/etc/dotstub/fullchain.pem' }),
    key: optional(path, 'Its private key, PEM.', { example: '/etc/dotstub/privkey.pem' }),
  }),
  upstream: group('The resolvers that are asked.', {
    mode: optional(
      oneOf(['off', 'opportunistic', 'encrypted', 'strict']),
      'off: cleartext. opportunistic: TLS where it works, else cleartext. encrypted: TLS with whoever answers. strict: TLS with a proven server, or no answer. Left out: strict where servers are listed, opportunistic with those that the system has.',
      { example: 'strict' },
    ),
    policy: option(
      oneOf(['fastest', 'ordered', 'round_robin', 'random', 'sharded']),
      'fastest',
      'Which server is asked first. sharded: each registrable domain has a server of its own, so that none sees all.',
    ),
    ca_file: optional(
      path,
      "Certificate authorities that servers are checked against, PEM. Left out: the system's own.",
      { example: '/etc/ssl/certs/ca-certificates.crt' },
    ),
    client_certificate: optional(path, 'Our own certificate chain, PEM, for servers that want to know who asks.', {
      example: '/etc/dotstub/client.pem',
    }),
    client_key: optional(path, 'Its private key, PEM.', { example: '/etc/dotstub/client-key.pem' }),
    bootstrap: list(
      endpoint,
      [],
      8,
      'Resolvers asked in cleartext, only for the addresses of servers that have a name and no addresses.',
      { example: [{ address: '9.9.9.9', port: undefined }] },
    ),
    servers: groups(32, 'The servers. None: the resolvers that the system has (/etc/resolv.conf).', {
      name: optional(hostName, 'Authentication name: what the certificate must be for.', { example: 'dns.quad9.net' }),
      addresses: list(
        endpoint,
        [],
        16,
        'IP addresses, with a port where it is not `port`. None: found through bootstrap.',
        {
          example: [
            { address: '9.9.9.9', port: undefined },
            { address: '2620:fe::fe', port: undefined },
          ],
        },
      ),
      port: option(count(1, 65535), 853, 'Port of DNS over TLS.'),
      pins: list(
        pin,
        [],
        16,
        'SHA-256 of acceptable public keys; one of the chain must match ("dotstub pins" prints them; give two).',
        { example: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] },
      ),
      pin_policy: option(
        oneOf(['pin_and_pkix', 'pin_or_pkix', 'pin_only', 'report_only']),
        'pin_and_pkix',
        'What pins are worth beside the certificate authorities: both must agree, either will do, pins alone count, or a mismatch is only logged.',
      ),
    }),
  }),
  routes: groups(
    64,
    'Zones that only the local network knows: their names go to its resolvers, in cleartext and without validation, whatever the mode.',
    {
      zones: list(domainName, [], 64, 'The zones.', { example: ['cluster.local', '10.in-addr.arpa'] }),
      resolvers: list(endpoint, [], 8, 'Those who know them, with a port where it is not 53.', {
        example: [{ address: '10.96.0.10', port: undefined }],
      }),
      kubernetes: option(
        flag,
        false,
        'The zones are of a Kubernetes cluster: names that none has, such as search lists make of others, are denied at once.',
      ),
    },
  ),
  portal: group(
    'Networks that want a visit to a page of theirs before they let anything through ("dotstub portal start").',
    {
      names: list(
        domainName,
        [
          'connectivitycheck.gstatic.com',
          'connectivity-check.ubuntu.com',
          'captive.apple.com',
          'detectportal.firefox.com',
          'nmcheck.gnome.org',
          'fedoraproject.org',
          'network-test.debian.org',
          'www.msftconnecttest.com',
          'neverssl.com',
        ],
        64,
        "Names that then go to the network's resolvers in cleartext; all others keep their mode.",
      ),
    },
  ),
  dnssec: group('Validation.', {
    mode: option(
      oneOf(['require', 'prefer', 'trust_ad', 'off']),
      'require',
      'require: answers are validated here. prefer: they are, but for servers that leave out all signatures. trust_ad: a server that has proved who it is is believed. off: nobody checks.',
    ),
    trust_anchors: list(
      trustAnchor,
      [],
      64,
      'DS or DNSKEY records that replace the built-in anchors of the root; kept current as RFC 5011 says.',
      { example: ['. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D'] },
    ),
    negative_trust_anchors: list(domainName, [], 256, 'Subtrees that are taken as unsigned.', {
      example: ['corp.example'],
    }),
    sha1: option(oneOf(['insecure', 'validate']), 'insecure', 'What SHA-1 signatures are worth (RFC 9905).'),
    max_nsec3_iterations: option(count(0, 500), 50, 'Zones with more are taken as unsigned (RFC 9276).'),
    ntp_names: list(
      domainName,
      [
        'pool.ntp.org',
        'time.cloudflare.com',
        'time.google.com',
        'time.apple.com',
        'time.windows.com',
        'time.nist.gov',
        'ntp.ubuntu.com',
        'nts.netnod.se',
      ],
      64,
      'Names that may be resolved, but not as secure, while the clock is wrong or was set by nobody: those of time servers.',
    ),
  }),
  cache: group('Answers kept.', {
    size: option(size(64 * KIB, 64 * GIB), 16 * MIB, 'Memory for answers.', RESTART),
    min_ttl: option(duration(0, HOUR), 0, 'Shorter TTLs are raised to this.'),
    max_ttl: option(duration(SECOND, 7 * DAY), DAY, 'Longer TTLs are cut to this.'),
    negative_max_ttl: option(
      duration(0, 3 * HOUR),
      15 * MINUTE,
      'Longest life of "there is no such name" and "no such record".',
    ),
    serve_stale: option(
      duration(0, 7 * DAY),
      DAY,
      'How long expired answers may help out when no server answers; 0: never.',
      NOT_BUILT,
    ),
    stale_answer_ttl: option(duration(SECOND, HOUR), 30 * SECOND, 'TTL of such answers.', NOT_BUILT),
    stale_client_timeout: option(
      duration(0, 10 * SECOND),
      1800,
      'How long servers are waited for before one is given.',
      NOT_BUILT,
    ),
    prefetch: option(flag, true, 'Refresh popular answers shortly before they expire.', NOT_BUILT),
    aggressive_nsec: option(flag, true, 'Answer from validated denials (RFC 8198).', NOT_BUILT),
    persist: option(flag, true, 'Keep the cache over restarts, in state_directory.', NOT_BUILT),
  }),
  front: group('The fast path.', {
    threads: option(
      count(0, 64),
      1,
      'Threads that answer UDP from cache; 0: none beside the main one (the smallest footprint).',
    ),
    io: option(
      oneOf(['auto', 'dgram']),
      'auto',
      'auto: UDP in batches by system calls, where they can be made. dgram: through Node.js alone, on the main thread.',
    ),
  }),
  access: group('Who may ask.', {
    allow: list(network, [...LOOPBACK, ...PRIVATE], 1024, 'Networks that get answers; others get REFUSED.'),
    snoop: list(network, [], 1024, 'Networks that may look into the cache with RD=0.', { example: LOOPBACK }),
    rate_limit: option(count(0, 1_000_000), 0, 'Queries per second for one client; 0: no limit.', NOT_BUILT),
  }),
  special_names: group('Special-use names (RFC 6761).', {
    forward: list(domainName, [], 64, 'Those that are sent upstream all the same.', {
      ...NOT_BUILT,
      example: ['test'],
    }),
  }),
  dns64: group('IPv6 addresses for IPv4-only names (RFC 6147).', {
    prefix: optional(nat64Prefix, 'The NAT64 prefix. Left out: no DNS64.', { ...NOT_BUILT, example: '64:ff9b::/96' }),
  }),
  metrics: group('What can be seen from outside.', {
    listen: option(orOff(listenAddress), { address: '127.0.0.1', port: 9153 }, 'HTTP: /metrics, /livez, /readyz.'),
  }),
  state_directory: option(
    path,
    '/var/lib/dotstub',
    'Where things are kept over restarts: which servers have proved themselves on which network, and which keys are trust anchors.',
    RESTART,
  ),
  reload_on_change: option(flag, false, 'Take the configuration file over whenever it changes, as SIGHUP does.'),
  control: group('The control socket.', {
    socket: option(
      path,
      '/run/dotstub/control.sock',
      'Its path. Whoever may write to it may use it: its owner and its group.',
      RESTART,
    ),
    group: optional(
      count(0, 0xfffffffe),
      'The number of the group that may use it, which the daemon has to be a member of. Left out: its own.',
      { ...RESTART, example: 4 },
    ),
  }),
  log: group('The log, on standard output.', {
    level: option(oneOf(['error', 'warn', 'info', 'debug']), 'info', 'What is logged: this and everything graver.'),
    format: option(oneOf(['auto', 'json', 'text']), 'auto', 'auto: text on a terminal, JSON lines elsewhere.'),
    queries: option(
      oneOf(['off', 'full', 'hashed_client', 'no_name']),
      'off',
      'A line for each query: with all; with a hash in place of the client; or with neither client nor name. Queries then do not take the fast path.',
    ),
    dnstap: optional(
      path,
      'A Unix socket that takes dnstap: every query with its reply, client and name included. Queries then do not take the fast path.',
      { example: '/run/dnstap.sock' },
    ),
    query_file: optional(
      path,
      'Where those lines go, in place of standard output; SIGUSR1 has it opened anew after it was moved away.',
      { example: '/var/log/dotstub/queries.log' },
    ),
  }),
} as const;

/** A checked configuration. */
export type Config = ValuesOf<typeof schema>;
export type ServerConfig = Config['upstream']['servers'][number];
