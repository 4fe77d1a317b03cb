// Every option, one row each. Its check, default, help, example, JSON schema and line in docs/options.md come from the row.
// Values are in ms and bytes after reading; the file writes them with units.

import { constants } from 'node:buffer';

import {
  count,
  domainName,
  routeZone,
  duration,
  flag,
  hostName,
  httpUrl,
  httpsPlace,
  hardwareAddress,
  identity,
  label,
  listSource,
  nftName,
  oneOf,
  orOff,
  path,
  pin,
  recordText,
  schedule,
  size,
  storeUrl,
  trustAnchor,
  urlPath,
} from './kinds.js';
import {
  addressPort,
  type Cidr,
  ipv6Network,
  listenAddress,
  nat64Prefix,
  network,
  networkOrLocal,
} from './network-kinds.js';
import { group, groups, list, option, optional, type ValuesOf } from './shape.js';

const RESTART = { restart: true } as const;

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Answers are in one piece of memory. This is the largest one of Node.js 20; on 32-bit machines there is less. */
const MOST_CACHE_BYTES = Math.min(4 * GIB, constants.MAX_LENGTH);

/** RFC 1122 §3.2.1.3 and RFC 4291 §2.5.3. */
const LOOPBACK = [
  { address: '127.0.0.0', prefix: 8 },
  { address: '::1', prefix: 128 },
];
/** RFC 1918, RFC 3927, RFC 4193 and RFC 4291 §2.5.6. */
const PRIVATE = [
  { address: '10.0.0.0', prefix: 8 },
  { address: '172.16.0.0', prefix: 12 },
  { address: '192.168.0.0', prefix: 16 },
  { address: '169.254.0.0', prefix: 16 },
  { address: 'fc00::', prefix: 7 },
  { address: 'fe80::', prefix: 10 },
];

/** The names of the presets (config/presets). */
export const PRESETS = ['laptop', 'router', 'sidecar'] as const;

/** The schema: rows by key, in the order of the documentation. */
export const schema = {
  preset: optional(oneOf(PRESETS), 'A set of defaults for one use. Values in the file override it.', {
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
    'Addresses for queries over UDP and TCP. 0.0.0.0 and :: stand for all addresses that the machine has, as they come and go. A link-local address has its interface with it, as in "[fe80::1%eth0]:53". An address that the machine does not have yet is served once it has it. The default needs no privileges; the presets listen on port 53.',
  ),
  listen_tls: group('DNS over TLS for clients on the local network, such as phones.', {
    addresses: list(listenAddress, [], 64, 'Addresses for queries over TLS.', {
      example: [{ address: '192.168.1.1', port: 853 }],
    }),
    certificate: optional(
      path,
      'The certificate chain, PEM. When the file changes, the new one comes into force by itself.',
      { example: '/etc/dotstub/fullchain.pem' },
    ),
    key: optional(path, 'The private key of `listen_tls.certificate`, PEM.', {
      example: '/etc/dotstub/privkey.pem',
    }),
    announce: option(
      flag,
      true,
      'Whether clients that ask in cleartext are told about it, and about `listen_https` (_dns.resolver.arpa, RFC 9462), as long as the certificate is valid and has a DNS name. Clients that verify what they are told need the address that they ask in the certificate, too.',
    ),
  }),
  listen_https: group('DNS over HTTPS (RFC 8484) for browsers and other clients, over HTTP/2 and HTTP/1.1.', {
    addresses: list(
      listenAddress,
      [],
      64,
      'Addresses for queries over HTTPS. Without a certificate they take HTTP in cleartext, from this machine under localhost or an address, and from `proxies`.',
      { example: [{ address: '192.168.1.1', port: 443 }] },
    ),
    path: option(urlPath, '/dns-query', 'The path of the URL for queries.'),
    certificate: optional(path, 'The certificate chain, PEM. Left out: that of `listen_tls`.', {
      example: '/etc/dotstub/fullchain.pem',
    }),
    key: optional(path, 'The private key of `listen_https.certificate`, PEM.', {
      example: '/etc/dotstub/privkey.pem',
    }),
    proxies: list(
      network,
      [],
      256,
      'Networks of reverse proxies such as nginx. They may connect, and what they write into X-Forwarded-For is believed: access.allow, groups and logs are about that address.',
      { example: [{ address: '192.168.1.3', prefix: 32 }] },
    ),
  }),
  upstream: group('The servers that queries are forwarded to.', {
    mode: optional(
      oneOf(['off', 'opportunistic', 'encrypted', 'strict']),
      "off: cleartext. opportunistic: TLS where it works, else cleartext. encrypted: TLS without authentication. strict: TLS with an authenticated server, or no answer. Left out: strict if servers are listed, opportunistic with the system's resolvers.",
      { example: 'strict' },
    ),
    policy: option(
      oneOf(['fastest', 'ordered', 'round_robin', 'random', 'sharded']),
      'fastest',
      'Which server is asked first. sharded: the registrable domain of the name chooses it, so that no server sees all names.',
    ),
    ca_file: optional(
      path,
      'The certificate authorities that servers are authenticated with, PEM. Left out: those of the system.',
      { example: '/etc/ssl/certs/ca-certificates.crt' },
    ),
    client_certificate: optional(path, 'The certificate chain for servers that authenticate their clients, PEM.', {
      example: '/etc/dotstub/client.pem',
    }),
    client_key: optional(path, 'The private key of `upstream.client_certificate`, PEM.', {
      example: '/etc/dotstub/client-key.pem',
    }),
    tls: group('How connections to servers are encrypted.', {
      require_pq: option(
        flag,
        false,
        'Offer nothing less than a post-quantum key exchange (X25519MLKEM768 and others, TLS 1.3), and refuse servers without one. Left out, it is used where both sides know it. Needs mode strict or encrypted, and OpenSSL 3.5 or newer, as in Node.js 24 LTS.',
      ),
    }),
    randomize_case: option(
      flag,
      true,
      'Mix capital and small letters at random in the names of cleartext queries over UDP, and believe only answers that repeat them (0x20): forged ones are harder to make. Servers that do not repeat them are found out and asked without.',
    ),
    bootstrap: list(
      addressPort,
      [],
      8,
      'Resolvers that are asked in cleartext for the addresses of servers without `addresses`, and for nothing else.',
      { example: [{ address: '9.9.9.9', port: undefined }] },
    ),
    servers: groups(32, 'The servers. None: the resolvers of the system (/etc/resolv.conf).', {
      name: optional(hostName, 'The authentication domain name. The certificate of the server must be valid for it.', {
        example: 'dns.quad9.net',
      }),
      addresses: list(
        addressPort,
        [],
        16,
        'IP addresses, with a port where it differs from `port`. None: they are looked up through `upstream.bootstrap`.',
        {
          example: [
            { address: '9.9.9.9', port: undefined },
            { address: '2620:fe::fe', port: undefined },
          ],
        },
      ),
      port: option(count(1, 65535), 853, 'The port for DNS over TLS.'),
      https: optional(
        httpsPlace,
        'The path, or the URL, at which the same server is asked over HTTPS (RFC 8484), only while `port` cannot be reached. It must prove the same name, or the host of the URL, and the pins count as well. Left out: it is not asked over HTTPS.',
        { example: { host: undefined, port: 443, path: '/dns-query' } },
      ),
      pins: list(
        pin,
        [],
        16,
        'SHA-256 of acceptable public keys. One of them must be the server\'s own, or that of an authority that has certified it for the name (without a name: for the address), through a chain whose signatures and dates are valid. "dotstub pins" prints them; list a backup pin, too.',
        { example: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] },
      ),
      pin_policy: option(
        oneOf(['pin_and_pkix', 'pin_or_pkix', 'pin_only', 'report_only']),
        'pin_and_pkix',
        'How pins and certificate authorities (PKIX) combine. pin_and_pkix: both must match. pin_or_pkix: one of them must. pin_only: authorities that are not pinned do not count. report_only: a pin mismatch is logged, and authorities decide.',
      ),
      dane: option(
        flag,
        false,
        'The TLSA records of `name` (RFC 7671) authenticate the server, validated here, and say which certificate or key it may show. Strict mode only, without pins; authorities count only where a record says so.',
      ),
    }),
  }),
  routes: groups(
    64,
    'Zones that are asked elsewhere, such as those that only the local network or a VPN knows. The longest zone wins. Their names go to the resolvers listed here and to nobody else: in cleartext and without validation, unless `mode` and `dnssec` say something else.',
    {
      zones: list(routeZone, [], 64, 'The zones.', { example: ['cluster.local', '10.in-addr.arpa'] }),
      resolvers: list(
        addressPort,
        [],
        8,
        'The resolvers for these zones, with a port where it differs from 53, or from 853 where they are asked over TLS.',
        { example: [{ address: '10.96.0.10', port: undefined }] },
      ),
      mode: option(
        oneOf(['off', 'encrypted', 'strict']),
        'off',
        'off: they are asked in cleartext. encrypted: over TLS, without authentication. strict: over TLS, and they must prove `name` or show one of `pins`; else there is no answer.',
      ),
      name: optional(hostName, 'The authentication domain name of the resolvers, for mode strict.', {
        example: 'dns.corp.example',
      }),
      pins: list(
        pin,
        [],
        16,
        'SHA-256 of acceptable public keys, for mode strict. With `name`, an authority must have certified the resolver as well; without, a pin is enough.',
        { example: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] },
      ),
      dnssec: option(
        oneOf(['insecure', 'require']),
        'insecure',
        'insecure: answers are not validated. require: they are, as dnssec.mode says: the chain of trust leads from the root to the zone.',
      ),
      clients: list(
        label,
        [],
        30,
        'The names of the groups of `clients` that the route is for. For others it is as if it were not there. Left out: it is for everybody whose group has `routes`. Of two routes for a zone, a group is answered by the one that names it.',
        { example: ['work'] },
      ),
      schedule: optional(
        schedule,
        'When the route is in force, in local time. At other times it is as if it were not there. Left out: always.',
        { example: { days: 0x3e, fromMin: 20 * 60, toMin: 7 * 60 } },
      ),
      kubernetes: option(
        flag,
        false,
        'These are zones of a Kubernetes cluster. Names that cannot exist in one (search lists produce many) get NXDOMAIN without a query.',
      ),
      import: option(
        flag,
        false,
        "The zones and the resolvers of this route are the search domains of the network that the machine is on and the network's own resolvers, as the system knows them, and are exchanged when the network changes. A network may announce any domain, and then sees the names in it: domains of one label count only if no such top-level domain exists (lan, home, internal, corp and the like), and none that is, or is below, a zone of another route, of `local.own_zones`, of `special_names.forward` or of `dnssec.trust_anchors`.",
      ),
    },
  ),
  lists: groups(31, 'Lists of names that are blocked, or answered in another way.', {
    name: optional(label, 'The name, for `clients`, reports and "dotstub lists".', { example: 'ads' }),
    sources: list(
      listSource,
      [],
      16,
      'Files, or URLs that are fetched with the names resolved here. A copy is kept in state_directory.',
      {
        example: [{ at: 'file', path: '/etc/dotstub/ads.txt' }],
      },
    ),
    format: option(
      oneOf(['auto', 'hosts', 'domains', 'adblock', 'rpz']),
      'auto',
      'The format of the sources. auto: it is found out, line by line.',
    ),
    action: option(
      oneOf(['nxdomain', 'nodata', 'null', 'refused', 'allow']),
      'nxdomain',
      'What clients get for a name on the list. null: the addresses 0.0.0.0 and ::. allow: the name is answered, whatever other lists say.',
    ),
    refresh: option(
      duration(10 * MINUTE, 30 * DAY),
      DAY,
      'How often URLs are asked for changes. Files are read when they change.',
    ),
  }),
  clients: groups(
    15,
    'Groups of clients with lists of their own. Without any group, all lists are for everybody; with groups, a client of none of them gets what the group with `default` has, or no list.',
    {
      name: optional(label, 'The name, for reports and "dotstub lists pause".', { example: 'kids' }),
      networks: list(network, [], 64, 'The networks of the clients. The longest one that fits counts.', {
        example: [{ address: '192.168.1.64', prefix: 28 }],
      }),
      macs: list(
        hardwareAddress,
        [],
        64,
        'The hardware addresses of devices on the local network: whatever IP addresses they have at present. They count more than networks. A device can change its hardware address, and many phones do.',
        { example: ['aa:bb:cc:dd:ee:ff'] },
      ),
      listeners: list(
        addressPort,
        [],
        64,
        'The addresses of this machine at which they ask, such as its own in a network of guests; without a port, at any. They count where neither hardware address nor network says more.',
        { example: [{ address: '192.168.2.1', port: undefined }] },
      ),
      lists: list(label, [], 31, 'The names of their lists.', { example: ['ads'] }),
      schedule: optional(schedule, 'When the lists are in force, in local time. Left out: always.', {
        example: { days: 0x3e, fromMin: 20 * 60, toMin: 7 * 60 },
      }),
      routes: option(
        flag,
        true,
        'Whether `routes` are for these clients. false: they are answered as if there were none.',
      ),
      default: option(flag, false, 'The lists of this group are for clients of no group, too.'),
    },
  ),
  portal: group(
    'Captive portals: networks that pass no traffic before a visit to their web page ("dotstub portal start").',
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
        "Names that go to the network's resolvers in cleartext while a portal window is open. Other names keep their mode.",
      ),
      detect: option(
        orOff(httpUrl),
        'off',
        "Whether the window opens and closes by itself. A URL: it is fetched at the start and when the network changes, and a network that gives another answer than status 204 without a body has a portal. If the network announces an API (RFC 8910), that is asked first. The name of the URL goes to the network's resolvers in cleartext, and so does the name of the portal's page while the window is open.",
      ),
    },
  ),
  dnssec: group('DNSSEC validation.', {
    mode: optional(
      oneOf(['require', 'prefer', 'trust_ad', 'off']),
      "require: answers are validated here. prefer: the same, but answers of a server that strips all signatures are accepted. trust_ad: the AD bit of an authenticated server is believed. off: no validation. Left out: require if servers are listed, prefer with the system's resolvers, since many home routers strip signatures.",
      { example: 'require' },
    ),
    trust_anchors: list(
      trustAnchor,
      [],
      64,
      'DS or DNSKEY records that replace the built-in trust anchors of the root. They are kept current as RFC 5011 says.',
      { example: ['. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D'] },
    ),
    negative_trust_anchors: list(domainName, [], 256, 'Subtrees that are treated as unsigned (RFC 7646).', {
      example: ['corp.example'],
    }),
    sha1: option(
      oneOf(['insecure', 'validate']),
      'insecure',
      'insecure: zones signed only with SHA-1 are treated as unsigned (RFC 9905). validate: they are validated.',
    ),
    max_nsec3_iterations: option(
      count(0, 500),
      50,
      'Zones with more NSEC3 iterations are treated as unsigned (RFC 9276).',
    ),
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
      'Names of time servers. While the clock is wrong or not set, they are resolved even if they cannot be validated, without AD.',
    ),
  }),
  cache: group('The cache.', {
    size: option(size(64 * KIB, MOST_CACHE_BYTES), 16 * MIB, 'Memory for cached answers.', RESTART),
    min_ttl: option(
      duration(0, HOUR),
      0,
      'Shorter TTLs are raised to this value, but never beyond what DNSSEC signatures allow.',
    ),
    max_ttl: option(duration(SECOND, 7 * DAY), DAY, 'Longer TTLs are cut to this value.'),
    negative_max_ttl: option(
      duration(0, 3 * HOUR),
      15 * MINUTE,
      'The longest TTL of negative answers (NXDOMAIN and NODATA).',
    ),
    serve_stale: option(
      duration(0, 7 * DAY),
      DAY,
      'How long expired answers are served when no server answers; 0: never.',
    ),
    stale_answer_ttl: option(duration(SECOND, HOUR), 30 * SECOND, 'The TTL of stale answers.'),
    stale_client_timeout: option(
      duration(0, 4 * SECOND),
      1800,
      'How long a client waits for the servers before it gets a stale answer; 0: not at all, it is refreshed behind it.',
    ),
    stale_exclude: list(
      domainName,
      [],
      1024,
      'Zones whose names get no stale answers, nor do aliases that lead to them; for example of dynamic addresses.',
      {
        example: ['dyn.example'],
      },
    ),
    prefetch: option(flag, true, 'Refresh answers that are asked for in the last tenth of their TTL.'),
    aggressive_nsec: option(flag, true, 'Answer from validated NSEC and NSEC3 records (RFC 8198).'),
    persist: option(flag, true, 'Keep the cache over restarts, in state_directory.'),
    save_every: option(duration(10 * SECOND, DAY), 10 * MINUTE, 'How often the cache is written, beside at the end.'),
    shared: group(
      'A store (Redis or Valkey) in which replicas with the same configuration share their answers. Answers are encrypted and authenticated there.',
      {
        url: optional(
          storeUrl,
          'The store. Left out: nothing is shared. The connection is not encrypted, the answers are.',
          { example: { at: { address: '127.0.0.1', port: 6379 }, database: 0 } },
        ),
        key_file: optional(
          path,
          'The key of all replicas: 32 octets in base64, as "openssl rand -base64 32" prints them. Only the owner, and a group that reads, may have access.',
          { example: '/etc/dotstub/shared.key' },
        ),
        password_file: optional(path, 'The password for the store, with access as for `key_file`.', {
          example: '/etc/dotstub/store.password',
        }),
        timeout: option(
          duration(1, SECOND),
          20,
          'How long a client waits for the store before the servers are asked. A store that does not answer in time is not asked for a while.',
        ),
      },
    ),
  }),
  front: group('The fast path: answers from cache over UDP.', {
    threads: option(
      count(0, 64),
      1,
      'Threads that answer UDP from cache. If there are any, sessions of clients over TLS and HTTPS have a thread of their own as well: a reload that begins with threads moves them there, and one that ends with 0 leaves them there. 0: the main thread does it all, with the smallest memory footprint.',
    ),
    io: option(
      oneOf(['auto', 'dgram']),
      'auto',
      'auto: UDP in batches (recvmmsg, sendmmsg) where the system has these calls. dgram: UDP through Node.js, on the main thread.',
    ),
  }),
  access: group('Which clients get answers.', {
    allow: list<Cidr | 'local'>(
      networkOrLocal,
      [...LOOPBACK, ...PRIVATE],
      1024,
      'Networks that get answers. Other clients get REFUSED over UDP, and no connection. local: the networks of the interfaces of this machine, as they come and go; that of an interface towards the provider is one of them.',
    ),
    snoop: list(network, [], 1024, 'Networks that get answers to queries with RD=0, which show what is in the cache.', {
      example: LOOPBACK,
    }),
    per_client: option(
      count(0, 2000),
      200,
      'The most queries of one client (an IPv4 address, or the /64 of an IPv6 address) that may wait for an answer of a server; more get an expired answer or SERVFAIL. 0: no limit.',
    ),
    sessions: option(
      count(4, 20_000),
      1000,
      'The most sessions of clients over each of TCP, TLS and HTTPS, as far as open files allow. As they fill, idle ones are closed earlier, and the idlest makes room for the next one.',
      { restart: true },
    ),
    sessions_per_client: option(
      count(0, 20_000),
      20,
      'The most of them of one client, and half of them all if that is less; 0: only that. Its idlest makes room for its next one.',
      { restart: true },
    ),
    rate_limit: option(
      count(0, 1_000_000),
      0,
      'Queries per second of one client (an IPv4 address, or the /64 of an IPv6 address); 0: no limit. Over UDP, every second query above it gets an empty reply with TC, so that a client whose address somebody else uses comes over TCP, where it has a share of its own; the others get none. Over TCP and TLS more get REFUSED.',
    ),
    burst: option(count(0, 1_000_000), 0, 'How many of them may come at once; 0: as many as in two seconds.'),
    require_cookie: list(
      network,
      [],
      1024,
      'Networks whose clients get answers over UDP only with a DNS cookie (RFC 7873); without one they get an empty reply with TC, come over TCP, and receive a cookie there. Nobody can have answers sent to an address in such a network by forging it.',
      { example: [{ address: '192.168.2.0', prefix: 24 }] },
    ),
    proxy_protocol: list(
      network,
      [],
      256,
      'Networks of proxies such as HAProxy and dnsdist, whose connections over TCP, TLS and HTTPS must begin with a PROXY header (version 1 or 2). They may connect, and the client is the address in it: access.allow, groups, limits and logs are about that. From others no such header is believed, and over UDP none is read.',
      { example: [{ address: '192.168.1.3', prefix: 32 }] },
    ),
    unlimited: list(network, [], 1024, 'Networks whose clients `access.rate_limit` does not concern.', {
      example: LOOPBACK,
    }),
    nsid: optional(
      identity,
      'What clients that ask for it (NSID, RFC 5001) are told about which server this is, where several have one address. Left out: nothing.',
      { example: 'resolver-1' },
    ),
  }),
  special_names: group('Special-use names (RFC 6761), which are answered here and never looked up.', {
    forward: list(
      domainName,
      [],
      64,
      'Special-use names that are forwarded nevertheless, with all names below them, and not validated. A route for such names needs no entry here.',
      { example: ['test'] },
    ),
  }),
  local: group('Names of this network that are answered here. Files are watched, and a change counts at once.', {
    hosts: list(path, [], 16, 'Hosts files. Names that they give addresses get no others from outside.', {
      example: ['/etc/hosts'],
    }),
    leases: groups(16, 'Files in which DHCP servers keep their leases.', {
      file: optional(path, 'The file.', { example: '/tmp/dhcp.leases' }),
      format: option(
        oneOf(['dnsmasq', 'odhcpd', 'kea', 'isc']),
        'dnsmasq',
        'Which program writes it. kea: the CSV file of its memfile backend, without the suffix of a number.',
      ),
      domain: optional(
        domainName,
        'The domain of the devices: one that calls itself nas is nas.lan then. Left out: nas alone.',
        { example: 'lan' },
      ),
    }),
    records: list(
      recordText,
      [],
      4096,
      'Records: name, TTL in seconds, type, data. A name that begins with *. stands for all names there that do not exist. Addresses get PTR records by themselves.',
      { example: ['nas.home.arpa. 300 A 192.168.1.10'] },
    ),
    own_zones: list(
      domainName,
      [],
      64,
      'Zones that are answered only from here: a name that is not there does not exist. A route for a zone within goes first.',
      { example: ['lan'] },
    ),
  }),
  dns64: group('IPv6 addresses for IPv4-only names (RFC 6147).', {
    prefix: optional(
      nat64Prefix,
      'The prefix of the translator (NAT64) of this network. Names without IPv6 addresses get addresses below it. Left out: no DNS64, unless `discover`.',
      { example: '64:ff9b::/96' },
    ),
    discover: option(
      flag,
      false,
      'Ask the servers for the prefix (RFC 7050: AAAA of ipv4only.arpa), which only servers of a network with NAT64 know.',
    ),
    exclude: list(
      ipv6Network,
      [{ address: '::ffff:0:0', prefix: 96 }],
      64,
      'Networks whose IPv6 addresses count as none: names that have no others get addresses below the prefix (RFC 6147 §5.1.4).',
    ),
  }),
  rebinding: group('Rebinding protection: names of the public DNS must not lead browsers into the local network.', {
    protect: option(
      flag,
      false,
      'Leave addresses of local networks and of this machine out of answers. Names answered from here or by a route are exempt. Block lists of mail servers answer with 127.0.0.0/8: their zones need `allow`.',
    ),
    allow: list(domainName, [], 1024, 'Zones whose names may have such addresses.', { example: ['plex.direct'] }),
  }),
  firewall_sets: groups(
    64,
    'Sets of nftables that are filled with the addresses of zones, before the client gets them. Needs nft, and CAP_NET_ADMIN.',
    {
      zones: list(domainName, [], 1024, 'The zones, with all names below them.', { example: ['video.example'] }),
      family: option(oneOf(['inet', 'ip', 'ip6', 'bridge', 'netdev']), 'inet', 'The family of the table.'),
      table: optional(nftName, 'The table of the sets.', { example: 'fw4' }),
      set4: optional(
        nftName,
        'The set for IPv4 addresses, with `type ipv4_addr` and `flags timeout`, without `auto-merge`: an address stays for its TTL, at least 10 s. It must exist.',
        { example: 'video4' },
      ),
      set6: optional(nftName, 'The same for IPv6 addresses, with `type ipv6_addr`.', { example: 'video6' }),
    },
  ),
  metrics: group('Metrics, health checks and the status page.', {
    listen: option(
      orOff(listenAddress),
      { address: '127.0.0.1', port: 9153 },
      'The address for HTTP: the status page, /metrics, /livez and /readyz.',
    ),
    hosts: list(
      domainName,
      [],
      64,
      'Names under which others reach `metrics.listen`, with all names below them. Requests for other names are refused, because a page from elsewhere may have led a browser here; IP addresses, local names and the host name of this machine are always accepted.',
      { example: ['dns1.corp.example'] },
    ),
  }),
  state_directory: option(
    path,
    '/var/lib/dotstub',
    'The directory for state that outlives a restart: which servers were authenticated on which network, their addresses and TLSA records, the states of trust anchors, copies of lists that come from URLs, and what was compiled of all lists (lists.compiled, 17 octets a name, written when lists have changed, whatever cache.persist says).',
    RESTART,
  ),
  reload_on_change: option(
    flag,
    false,
    'Reload when the configuration file changes, or a client certificate, key or CA file that it names. The same as SIGHUP. The certificates of listeners come into force by themselves in any case.',
  ),
  control: group('The control socket.', {
    socket: option(
      path,
      '/run/dotstub/control.sock',
      'The path of the socket. Its owner and its group may use it.',
      RESTART,
    ),
    group: optional(
      count(0, 0xfffffffe),
      "The number of the group that may use the socket. The daemon must be a member. Left out: the daemon's own group.",
      { ...RESTART, example: 4 },
    ),
    status: option(
      oneOf(['everyone', 'group']),
      'everyone',
      'Who may ask for the status ("dotstub status", "dotstub upstreams"), at a socket of its own whose name ends with .status. It shows servers and health, and nothing about queries.',
      RESTART,
    ),
  }),
  log: group('The log, on standard output.', {
    level: option(
      oneOf(['error', 'warn', 'info', 'debug']),
      'info',
      'Messages of this level and of more severe levels are logged.',
    ),
    format: option(oneOf(['auto', 'json', 'text']), 'auto', 'auto: text on a terminal, JSON lines elsewhere.'),
    queries: option(
      oneOf(['off', 'full', 'hashed_client', 'no_name']),
      'off',
      'The query log, one line per query. full: all fields. hashed_client: a hash in place of the client. no_name: neither client nor name. Unless it is off, queries do not take the fast path.',
    ),
    dnstap: optional(
      path,
      'A Unix socket that receives dnstap: every query with its reply, client and name included. If it is set, queries do not take the fast path.',
      { example: '/run/dnstap.sock' },
    ),
    query_file: optional(
      path,
      'The file for the query log, in place of standard output. SIGUSR1 opens it again after log rotation has moved it.',
      { example: '/var/log/dotstub/queries.log' },
    ),
  }),
} as const;

/** A checked configuration: the value of every option. */
export type Config = ValuesOf<typeof schema>;
