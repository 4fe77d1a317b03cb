// Every expected failure of a query is one row here: what the client is told (RCODE, RFC 8914 Extended DNS
// Error), whether another upstream may do better, the metric label, and the words an operator reads.
// Code elsewhere names a row; nobody else decides what a failure looks like.

/** RCODEs that we send or interpret (RFC 1035 §4.1.1, RFC 6891 §6.1.3). */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
  BADCOOKIE: 23,
} as const;

/** Extended DNS Error INFO-CODEs that we send (RFC 8914 §4, RFC 9276 §5 for 27, RFC 9824 §7 for 30). */
export const EDE = {
  OTHER: 0,
  UNSUPPORTED_DNSKEY_ALGORITHM: 1,
  UNSUPPORTED_DS_DIGEST: 2,
  INDETERMINATE: 5,
  BOGUS: 6,
  SIGNATURE_EXPIRED: 7,
  SIGNATURE_NOT_YET_VALID: 8,
  DNSKEY_MISSING: 9,
  RRSIGS_MISSING: 10,
  NO_ZONE_KEY: 11,
  NSEC_MISSING: 12,
  NOT_READY: 14,
  PROHIBITED: 18,
  NOT_SUPPORTED: 21,
  NO_REACHABLE_AUTHORITY: 22,
  NETWORK_ERROR: 23,
  INVALID_DATA: 24,
  NSEC3_ITERATIONS: 27,
  INVALID_QUERY_TYPE: 30,
} as const;

interface FailureRow {
  /** The RCODE that the client gets. */
  readonly rcode: number;
  /** The EDE INFO-CODE that goes with it, if any. */
  readonly ede?: number;
  /** `next`: another server may still answer. `never`: the answer would be the same everywhere. */
  readonly retry: 'next' | 'never';
  /** Plain words for logs and for the EDE text. */
  readonly words: string;
}

const row = (rcode: number, ede: number | undefined, retry: 'next' | 'never', words: string): FailureRow =>
  ede === undefined ? { rcode, retry, words } : { rcode, ede, retry, words };

/** The table. The key is the code that travels through the program, and the metric label. */
export const FAILURES = {
  // What the client did.
  form_error: row(RCODE.FORMERR, undefined, 'never', 'the query could not be read'),
  bad_version: row(RCODE.BADVERS, undefined, 'never', 'only EDNS version 0 is known'),
  opcode: row(RCODE.NOTIMP, EDE.NOT_SUPPORTED, 'never', 'only standard queries (opcode 0) are answered'),
  meta_type: row(RCODE.NOTIMP, EDE.NOT_SUPPORTED, 'never', 'zone transfers and meta types are not answered'),
  nxname: row(RCODE.FORMERR, EDE.INVALID_QUERY_TYPE, 'never', 'NXNAME can not be asked for'),
  class: row(RCODE.REFUSED, EDE.NOT_SUPPORTED, 'never', 'only class IN is answered'),
  not_allowed: row(RCODE.REFUSED, EDE.PROHIBITED, 'never', 'this address may not ask here (access.allow)'),
  not_cached: row(
    RCODE.REFUSED,
    EDE.PROHIBITED,
    'never',
    'queries without RD are answered from cache only, to access.snoop',
  ),
  overload: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'never', 'too many queries are waiting for upstream answers'),
  shutdown: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'never', 'the daemon is stopping'),

  // What happened on the way to a server.
  not_ready: row(RCODE.SERVFAIL, EDE.NOT_READY, 'next', 'no upstream server could be reached yet'),
  no_upstream: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'no upstream server is known yet'),
  bootstrap: row(
    RCODE.SERVFAIL,
    EDE.NO_REACHABLE_AUTHORITY,
    'next',
    'the address of the upstream server could not be found',
  ),
  connect: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection could not be made'),
  connect_timeout: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection was not made in time'),
  tls_verify: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'the server could not prove who it is'),
  tls_alert: row(RCODE.SERVFAIL, EDE.NO_REACHABLE_AUTHORITY, 'next', 'the TLS handshake failed'),
  closed: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the connection closed before the answer came'),
  slow: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'TLS is much slower than cleartext'),
  timeout: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'no answer came in time'),
  handed_back: row(RCODE.SERVFAIL, EDE.NETWORK_ERROR, 'next', 'the servers that were asked are not in use any more'),
  parse: row(RCODE.SERVFAIL, EDE.INVALID_DATA, 'next', 'the answer was malformed'),

  // What validation found (RFC 4035 §5): the answer is not what its zone signed.
  bogus: row(RCODE.SERVFAIL, EDE.BOGUS, 'next', 'the answer is not what its zone signed'),
  signature_expired: row(RCODE.SERVFAIL, EDE.SIGNATURE_EXPIRED, 'next', 'a signature has expired'),
  signature_early: row(RCODE.SERVFAIL, EDE.SIGNATURE_NOT_YET_VALID, 'next', 'a signature is not valid yet'),
  dnskey_missing: row(RCODE.SERVFAIL, EDE.DNSKEY_MISSING, 'next', 'a key is missing'),
  rrsigs_missing: row(RCODE.SERVFAIL, EDE.RRSIGS_MISSING, 'next', 'signatures are missing'),
  no_zone_key: row(RCODE.SERVFAIL, EDE.NO_ZONE_KEY, 'next', 'a signing key is not a zone key'),
  nsec_missing: row(RCODE.SERVFAIL, EDE.NSEC_MISSING, 'next', 'that there is nothing is not proven'),
  dnssec_limit: row(RCODE.SERVFAIL, EDE.OTHER, 'next', 'validation would cost too much'),
  sentinel: row(RCODE.SERVFAIL, undefined, 'never', 'the name asks which keys of the root are believed (RFC 8509)'),
  dnssec_indeterminate: row(RCODE.SERVFAIL, EDE.INDETERMINATE, 'next', 'what validation needs could not be fetched'),
} as const satisfies Record<string, FailureRow>;

/** A row's key in FAILURES. */
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

/** Whether validation has come to a verdict, and it is bogus. */
export const isDnssecFailure = (code: FailureCode): boolean => DNSSEC_FAILURES.has(code);

/** A failure on its way to the client: its row, and what exactly happened where the row's words are too general. */
export interface Failure {
  readonly at: 'failure';
  readonly code: FailureCode;
  /** E.g. `dns.example: certificate expired 2026-01-01`; ends up in the EDE text and the log. */
  readonly detail?: string;
  /** It happened a moment ago, and is given again. */
  readonly cached?: true;
}

/** Makes a Failure. */
export function failure(code: FailureCode, detail?: string): Failure {
  return detail === undefined ? { at: 'failure', code } : { at: 'failure', code, detail };
}

/** The words for a failure: the row's, and the detail behind a colon. */
export function failureWords(f: Failure): string {
  const { words } = FAILURES[f.code];
  return f.detail === undefined ? words : `${words}: ${f.detail}`;
}

/** The row as plain data, without the literal types of the table. */
export function failureRow(code: FailureCode): FailureRow {
  return FAILURES[code];
}

/**
 * What validation found (RFC 4035 §4.3). `unchecked` is the honest word while nobody looked: AD stays clear.
 */
export type Verdict = 'secure' | 'insecure' | 'bogus' | 'indeterminate' | 'unchecked';
