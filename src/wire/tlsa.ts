// TLSA records (RFC 6698 §2): which certificates or keys a TLS server may show.
//
//   usage      1 octet: what the record says about the certificate
//   selector   1 octet: which part of a certificate is compared
//   matching   1 octet: how it is compared
//   data       the rest: the part itself, or its digest

/** Certificate usages (RFC 6698 §2.1.1, names of RFC 7218 §2.1). */
export const TLSA_USAGE = { PKIX_TA: 0, PKIX_EE: 1, DANE_TA: 2, DANE_EE: 3 } as const;
/** Selectors (RFC 6698 §2.1.2): the whole certificate, or its SubjectPublicKeyInfo. */
export const TLSA_SELECTOR = { CERT: 0, SPKI: 1 } as const;
/** Matching types (RFC 6698 §2.1.3): the selected part itself, or its SHA-256 or SHA-512. */
export const TLSA_MATCHING = { FULL: 0, SHA2_256: 1, SHA2_512: 2 } as const;

/** One record. The numbers may be ones that have no meaning yet. */
export interface Tlsa {
  readonly usage: number;
  readonly selector: number;
  readonly matching: number;
  readonly data: Buffer;
}

const FIXED_BYTES = 3;

/** Reads RDATA; undefined: there is no data behind the three numbers. The data is a copy. */
export function readTlsa(rdata: Buffer): Tlsa | undefined {
  const [usage, selector, matching] = rdata;
  if (usage === undefined || selector === undefined || matching === undefined) return undefined;
  if (rdata.length === FIXED_BYTES) return undefined;
  return { usage, selector, matching, data: Buffer.from(rdata.subarray(FIXED_BYTES)) };
}

/** RDATA in presentation form (RFC 6698 §2.2), e.g. `3 1 1 0a1b…`. */
export const tlsaText = ({ usage, selector, matching, data }: Tlsa): string =>
  `${usage} ${selector} ${matching} ${data.toString('hex')}`;

/** Reads what `tlsaText` writes; undefined: it is something else. */
export function readTlsaText(text: string): Tlsa | undefined {
  const [, usage, selector, matching, data = ''] =
    /^(\d{1,3}) (\d{1,3}) (\d{1,3}) ((?:[0-9a-f]{2})+)$/.exec(text) ?? [];
  const numbers = [usage, selector, matching].map(Number);
  return numbers.every(each => each <= 0xff)
    ? readTlsa(Buffer.concat([Buffer.from(numbers), Buffer.from(data, 'hex')]))
    : undefined;
}
