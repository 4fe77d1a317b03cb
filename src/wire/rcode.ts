// Names of RCODEs (RFC 6895 §2.3).

const NAMES: readonly string[] = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
  'DSOTYPENI',
  '',
  '',
  '',
  '',
  'BADVERS',
];

/** The mnemonic of an RCODE, or `RCODEnn`. */
export const rcodeToText = (rcode: number): string => NAMES[rcode] || `RCODE${rcode}`;
