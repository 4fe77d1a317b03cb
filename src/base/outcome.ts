// Every expected failure of a query is one row here: the RCODE and Extended DNS Error (RFC 8914) for the client, whether another
// server may do better, the metric label, and the words for logs. Other code only names the row.

/** RCODEs that are sent or interpreted here (RFC 1035 §4.1.1, RFC 6891 §6.1.3). */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** A DNAME makes a name that is too long (RFC 6672 §2.2). */
  YXDOMAIN: 6,
  NOTAUTH: 9,
  BADVERS: 16,
  BADCOOKIE: 23,
} as const;

/** Whether a response with this RCODE is an answer, which its zone has signed, and not a failure of the server. */
export const isAnswerRcode = (rcode: number): boolean =>
  rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN || rcode === RCODE.YXDOMAIN;

/** Extended DNS Error INFO-CODEs that are sent (RFC 8914 §4, RFC 9276 §5 for 27, RFC 9824 §7 for 30). */
export const EDE = {
  OTHER: 0,
  UNSUPPORTED_DNSKEY_ALGORITHM: 1,
  UNSUPPORTED_DS_DIGEST: 2,
  STALE_ANSWER: 3,
  INDETERMINATE: 5,
  BOGUS: 6,
  SIGNATURE_EXPIRED: 7,
  SIGNATURE_NOT_YET_VALID: 8,
  DNSKEY_MISSING: 9,
  RRSIGS_MISSING: 10,
  NO_ZONE_KEY: 11,
  NSEC_MISSING: 12,
  NOT_READY: 14,
  BLOCKED: 15,
  FILTERED: 17,
  PROHIBITED: 18,
  STALE_NXDOMAIN_ANSWER: 19,
  NOT_SUPPORTED: 21,
  NO_REACHABLE_AUTHORITY: 22,
  NETWORK_ERROR: 23,
  INVALID_DATA: 24,
  NSEC3_ITERATIONS: 27,
  INVALID_QUERY_TYPE: 30,
} as const;

/** What a failure looks like to clients and operators. */
interface FailureRow {
  /** The RCODE of the response to the client. */
  readonly rcode: number;
  /** The EDE INFO-CODE of that response, if any. */
  readonly ede?: number;
  /** `next`: another server may answer. `never`: every server would give the same result. */
  readonly retry: 'next' | 'never';
  /** A sentence for logs and for the EDE text. */
  readonly words: string;
}

const row = (rcode: number, ede: number | undefined, retry: 'next' | 'never', words: string): FailureRow =>
  ede === undefined ? { rcode, retry, words } : { rcode, ede, retry, words };

/** The table. The key is the code that the program passes on, and the metric label. */
export const FAILURES = {
  // The query itself.
  form_error: row(RCODE.FORMERR, undefined, 'never', 'the query is malformed'),
  bad_version: row(RCODE.BADVERS, undefined, 'never', 'only EDNS version 0 is supported'),
  opcode: row(RCODE.NOTIMP, EDE.NOT_SUPPORTED, 'never', 'only standard queries (opcode 0) are supported'),
  meta_type: row(RCODE.NOTIMP, EDE.NOT_SUPPORTED, 'never', 'zone transfers and meta types are not supported'),
  nxname: row(RCODE.FORMERR, EDE.INVALID_QUERY_TYPE, 'never', 'NXNAME cannot be queried'),
  class: row(RCODE.REFUSED, EDE.NOT_SUPPORTED, 'never', 'only class IN is supported'),
  not_allowed: row(RCODE.REFUSED, EDE.PROHIBITED, 'never', 'this client address is not in access.allow'),
  rate_limited: row(
    RCODE.REFUSED,
    EDE.PROHIBITED,
    'never',
    'this client sends more queries than access.rate_limit allows',
  ),
  not_cached: row(
    RCODE.REFUSED,
    EDE.PROHIBITED,
    'never',
    'queries without RD are answered only from cache, and only for clients in access.snoop',
  ),
  dropped: row(RCODE.REFUSED, EDE.BLOCKED, 'never', 'a rule of a list leaves it without a reply'),
  overload: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'never', 'too many queries are waiting for upstream answers'),
  client_overload: row(
    RCODE.SERVFAIL,
    EDE.NETWORK_ERROR,
    'never',
    'too many queries of this client are waiting for upstream answers (access.per_client)',
  ),
  shutdown: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'never', 'the daemon is stopping'),

  // The way to a server and back.
  not_ready: row(RCODE.SERVFAIL, EDE.NOT_READY, 'next', 'no upstream server has been reached yet'),
  no_upstream: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'no upstream server is known yet'),
  bootstrap: row(
    RCODE.SERVFAIL,
    EDE.NO_REACHABLE_AUTHORITY,
    'next',
    'the address of the upstream server was not found',
  ),
  connect: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection could not be made'),
  connect_timeout: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection was not made in time'),
  tls_verify: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'the server could not be authenticated'),
  tls_alert: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'the TLS handshake failed'),
  closed: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection closed before the response arrived'),
  http: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the server did not answer over HTTPS as a DNS server does'),
  slow: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'TLS is much slower than cleartext'),
  timeout: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'no response arrived in time'),
  handed_back: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the servers that were asked are not in use any more'),
  parse: row(RCODE.SERVFAIL, EDE.INVALID_DATA, 'next', 'the response is malformed'),

  // DNSSEC validation (RFC 4035 §5).
  bogus: row(RCODE.SERVFAIL, EDE.BOGUS, 'next', 'the answer failed DNSSEC validation'),
  signature_expired: row(RCODE.SERVFAIL, EDE.SIGNATURE_EXPIRED, 'next', 'a signature has expired'),
  signature_early: row(RCODE.SERVFAIL, EDE.SIGNATURE_NOT_YET_VALID, 'next', 'a signature is not valid yet'),
  dnskey_missing: row(RCODE.SERVFAIL, EDE.DNSKEY_MISSING, 'next', 'no usable DNSKEY was found'),
  rrsigs_missing: row(RCODE.SERVFAIL, EDE.RRSIGS_MISSING, 'next', 'RRSIG records are missing'),
  no_zone_key: row(RCODE.SERVFAIL, EDE.NO_ZONE_KEY, 'next', 'a signing key is not a valid zone key'),
  nsec_missing: row(RCODE.SERVFAIL, EDE.NSEC_MISSING, 'next', 'the denial of existence is not proven'),
  alias_loop: row(RCODE.SERVFAIL, EDE.OTHER, 'next', 'the aliases lead in a circle'),
  dnssec_limit: row(RCODE.SERVFAIL, EDE.OTHER, 'next', 'validation would exceed a limit'),
  sentinel: row(RCODE.SERVFAIL, undefined, 'never', 'the root key trust anchor sentinel answers SERVFAIL (RFC 8509)'),
  dnssec_indeterminate: row(
    RCODE.SERVFAIL,
    EDE.INDETERMINATE,
    'next',
    'records that validation needs could not be fetched',
  ),
} as const satisfies Record<string, FailureRow>;

/** The key of a row in FAILURES. */
export type FailureCode = keyof typeof FAILURES;

const DNSSEC_FAILURES: ReadonlySet<string> = new Set<FailureCode>([
  'bogus',
  'signature_expired',
  'signature_early',
  'dnskey_missing',
  'rrsigs_missing',
  'no_zone_key',
  'nsec_missing',
  'dnssec_limit',
]);

/** Whether a failure means that validation found the answer bogus. */
export const isDnssecFailure = (code: FailureCode): boolean => DNSSEC_FAILURES.has(code);

/** Whether the detail of a failure names zones that clients asked about. */
export const namesZones = (code: FailureCode): boolean =>
  isDnssecFailure(code) || code === 'dnssec_indeterminate' || code === 'alias_loop';

/** A failure on its way to the client: its row, and a detail if the row's words are too general. */
export interface Failure {
  readonly at: 'failure';
  readonly code: FailureCode;
  /** E.g. `dns.example: certificate expired 2026-01-01`; it goes into the EDE text and the log. */
  readonly detail?: string;
  /** Whether it is an earlier failure that is repeated from the cache of failures. */
  readonly cached?: true;
}

/** Makes a Failure. */
export function failure(code: FailureCode, detail?: string): Failure {
  return detail === undefined ? { at: 'failure', code } : { at: 'failure', code, detail };
}

/** The words for a failure: those of the row, then a colon and the detail. */
export function failureWords(f: Failure): string {
  const { words } = FAILURES[f.code];
  return f.detail === undefined ? words : `${words}: ${f.detail}`;
}

/** The row of a failure, without the literal types of the table. */
export function failureRow(code: FailureCode): FailureRow {
  return FAILURES[code];
}

/**
 * What validation found (RFC 4035 §4.3). `unchecked`: the answer was not validated, and AD stays clear.
 */
export type Verdict = 'secure' | 'insecure' | 'bogus' | 'indeterminate' | 'unchecked';
