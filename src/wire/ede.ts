// INFO-CODEs of Extended DNS Errors in words (RFC 8914 §4, and IANA's registry). Apart from wire/message, which loads dns-packet.

// INFO-CODEs of RFC 8914 §4, and RFC 9824 §7 for 30.
const EDE_NAMES: readonly string[] = [
  'Other',
  'Unsupported DNSKEY Algorithm',
  'Unsupported DS Digest Type',
  'Stale Answer',
  'Forged Answer',
  'DNSSEC Indeterminate',
  'DNSSEC Bogus',
  'Signature Expired',
  'Signature Not Yet Valid',
  'DNSKEY Missing',
  'RRSIGs Missing',
  'No Zone Key Bit Set',
  'NSEC Missing',
  'Cached Error',
  'Not Ready',
  'Blocked',
  'Censored',
  'Filtered',
  'Prohibited',
  'Stale NXDOMAIN Answer',
  'Not Authoritative',
  'Not Supported',
  'No Reachable Authority',
  'Network Error',
  'Invalid Data',
  'Signature Expired before Valid',
  'Too Early',
  'Unsupported NSEC3 Iterations Value',
  'Unable to conform to policy',
  'Synthesized',
  'Invalid Query Type',
];

/** The purpose of an EDE INFO-CODE, or its number. */
export const edeToText = (infoCode: number): string => EDE_NAMES[infoCode] ?? `code ${infoCode}`;
