// The groups of key exchanges in TLS, by their names at IANA (TLS Supported Groups).

/**
 * Groups that combine an elliptic curve with ML-KEM (draft-ietf-tls-ecdhe-mlkem): what is recorded today stays secret
 * from a quantum computer of the future.
 */
export const HYBRID_GROUPS = ['X25519MLKEM768', 'SecP256r1MLKEM768', 'SecP384r1MLKEM1024'] as const;

/** The groups that have a name of their own in metrics. */
export const TLS_GROUPS: readonly string[] = [
  ...HYBRID_GROUPS,
  'x25519',
  'secp256r1',
  'secp384r1',
  'secp521r1',
  'x448',
  'other',
];

/** Other names that OpenSSL has for groups. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  X25519: 'x25519',
  X448: 'x448',
  prime256v1: 'secp256r1',
  'P-256': 'secp256r1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};

/** The IANA name of a group that OpenSSL names. */
export const groupName = (name: string): string => OTHER_NAMES[name] ?? name;

/** The metric label of a group. */
export const groupLabel = (group: string): string => (TLS_GROUPS.includes(group) ? group : 'other');
