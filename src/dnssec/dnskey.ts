// DNSKEY and DS records (RFC 4034 §2, §5), and the algorithms they name (IANA "DNS Security Algorithm Numbers").
//
//   KSK, SEP   a key that the DS records of the parent speak of (flag value 1)
//   key tag    a checksum that finds a key; several keys may have the same (RFC 4034 Appendix B)

import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';

import type { Name } from './name.js';

/** How SHA-1 is treated (RFC 9905): as an unknown algorithm, or validated. */
export type Sha1 = 'insecure' | 'validate';

/** Keys of one zone with the same tag. More are an attack (KeyTrap, CVE-2023-50387). */
export const MOST_SAME_TAG = 4;

const FLAG_ZONE = 0x0100;
const FLAG_REVOKE = 0x0080;
const FLAG_SEP = 0x0001;
const PROTOCOL = 3;
const KEY_FIXED_BYTES = 4;

interface Algorithm {
  readonly name: string;
  /** The digest of the signed octets; null: the algorithm has its own. */
  readonly digest: 'sha1' | 'sha256' | 'sha384' | 'sha512' | null;
  readonly kind: 'rsa' | 'P-256' | 'P-384' | 'Ed25519' | 'Ed448';
  /** Octets of a signature; 0: as many as the key has. */
  readonly signatureBytes: number;
  /** What a check costs, in checks of P-256 (about 65 µs). */
  readonly weight: number;
}

const ALGORITHMS: ReadonlyMap<number, Algorithm> = new Map<number, Algorithm>([
  [5, { name: 'RSASHA1', digest: 'sha1', kind: 'rsa', signatureBytes: 0, weight: 1 }],
  [7, { name: 'RSASHA1-NSEC3-SHA1', digest: 'sha1', kind: 'rsa', signatureBytes: 0, weight: 1 }],
  [8, { name: 'RSASHA256', digest: 'sha256', kind: 'rsa', signatureBytes: 0, weight: 1 }],
  [10, { name: 'RSASHA512', digest: 'sha512', kind: 'rsa', signatureBytes: 0, weight: 1 }],
  [13, { name: 'ECDSAP256SHA256', digest: 'sha256', kind: 'P-256', signatureBytes: 64, weight: 1 }],
  [14, { name: 'ECDSAP384SHA384', digest: 'sha384', kind: 'P-384', signatureBytes: 96, weight: 9 }],
  [15, { name: 'ED25519', digest: null, kind: 'Ed25519', signatureBytes: 64, weight: 2 }],
  [16, { name: 'ED448', digest: null, kind: 'Ed448', signatureBytes: 114, weight: 4 }],
]);
/** ECDSAP256SHA256, most signatures today. */
const ECDSA_P256 = 13;
const SHA1_ALGORITHMS = new Set([5, 7]);

const DIGESTS: ReadonlyMap<number, { readonly algorithm: 'sha1' | 'sha256' | 'sha384'; readonly bytes: number }> =
  new Map([
    [1, { algorithm: 'sha1', bytes: 20 }],
    [2, { algorithm: 'sha256', bytes: 32 }],
    [4, { algorithm: 'sha384', bytes: 48 }],
  ] as const);
/** The digest type of SHA-1 in DS records. */
export const SHA1_DIGEST = 1;

/** Whether signatures of this algorithm are checked. */
export const knowsAlgorithm = (algorithm: number, sha1: Sha1): boolean =>
  ALGORITHMS.has(algorithm) && (sha1 === 'validate' || !SHA1_ALGORITHMS.has(algorithm));

/** Whether DS records with this digest are used. */
export const knowsDigest = (digest: number, sha1: Sha1): boolean =>
  DIGESTS.has(digest) && (sha1 === 'validate' || digest !== SHA1_DIGEST);

/** E.g. `ECDSAP256SHA256`, or `algorithm 99`. */
export const algorithmText = (algorithm: number): string => ALGORITHMS.get(algorithm)?.name ?? `algorithm ${algorithm}`;

/** RFC 4034 Appendix B, without algorithm 1, which has a rule of its own and is not supported. */
export function keyTagOf(rdata: Buffer): number {
  let sum = 0;
  for (let i = 0; i < rdata.length; i++) sum += i & 1 ? (rdata[i] ?? 0) : (rdata[i] ?? 0) << 8;
  return (sum + (sum >> 16)) & 0xffff;
}

/** One key of a zone. */
export class Dnskey {
  readonly flags: number;
  readonly algorithm: number;
  readonly tag: number;
  /** The key for node:crypto; undefined: not needed yet. */
  private imported: KeyObject | undefined | 'unreadable';

  private constructor(readonly rdata: Buffer) {
    this.flags = rdata.readUInt16BE(0);
    this.algorithm = rdata.readUInt8(3);
    this.tag = keyTagOf(rdata);
  }

  /** Reads RDATA and copies it; undefined: too short, or not for DNSSEC (RFC 4034 §2.1.2). */
  static read(rdata: Buffer): Dnskey | undefined {
    return rdata.length <= KEY_FIXED_BYTES || rdata.readUInt8(2) !== PROTOCOL
      ? undefined
      : new Dnskey(Buffer.from(rdata));
  }

  /** Whether it may sign records of the zone (RFC 4034 §2.1.1). */
  get isZoneKey(): boolean {
    return (this.flags & FLAG_ZONE) !== 0;
  }

  get isSep(): boolean {
    return (this.flags & FLAG_SEP) !== 0;
  }

  /** Whether its REVOKE bit is set (RFC 5011 §2.1). */
  get isRevoked(): boolean {
    return (this.flags & FLAG_REVOKE) !== 0;
  }

  /** The key before it was revoked. Its tag differs, because the flag is part of the RDATA. */
  unrevoked(): Dnskey {
    const rdata = Buffer.from(this.rdata);
    rdata.writeUInt16BE(this.flags & ~FLAG_REVOKE, 0);
    return new Dnskey(rdata);
  }

  get isP256(): boolean {
    return this.algorithm === ECDSA_P256;
  }

  /** The key alone, whose form depends on the algorithm. */
  get octets(): Buffer {
    return this.rdata.subarray(KEY_FIXED_BYTES);
  }

  /** The cost of the next check, in checks of P-256. The first check also imports the key. */
  get weight(): number {
    const algorithm = ALGORITHMS.get(this.algorithm);
    const exponent = algorithm?.kind === 'rsa' ? (this.rdata[KEY_FIXED_BYTES] ?? 0) >> 2 : 0;
    return (algorithm?.weight ?? 1) + exponent + (this.imported === undefined ? 1 : 0);
  }

  /** Whether `signature` over `data` was made with this key. */
  verifies(data: Buffer, signature: Buffer): boolean {
    const algorithm = ALGORITHMS.get(this.algorithm);
    if (algorithm === undefined) return false;
    const key = (this.imported ??= importKey(algorithm, this.octets) ?? 'unreadable');
    if (key === 'unreadable') return false;
    if (algorithm.signatureBytes !== 0 && signature.length !== algorithm.signatureBytes) return false;
    return verify(algorithm.digest, data, key, algorithm.kind.startsWith('P-') ? ecdsaInDer(signature) : signature);
  }
}

/**
 * The signature that r and s are, one after the other (RFC 6605 §4), as OpenSSL reads it (RFC 3279 §2.2.3). Node.js could
 * convert it, too (`dsaEncoding`), but from Node.js 24 on that takes half as long as the check. base/der would write it in
 * six times the time.
 */
function ecdsaInDer(signature: Buffer): Buffer {
  const half = signature.length >>> 1;
  // Of P-384 it has 104 octets at most, so that each length is one octet.
  const out = Buffer.allocUnsafe(signature.length + 8);
  const end = putNumber(out, putNumber(out, 2, signature, 0, half), signature, half, 2 * half);
  out[0] = DER_SEQUENCE;
  out[1] = end - 2;
  return out.subarray(0, end);
}

const DER_SEQUENCE = 0x30;
const DER_INTEGER = 0x02;

/** Puts octets `from` to `to` of a signature as a positive INTEGER: its first bit is its sign. Returns where it ends. */
function putNumber(out: Buffer, at: number, signature: Buffer, from: number, to: number): number {
  let first = from;
  while (first < to - 1 && signature[first] === 0) first++;
  const zeros = (signature[first] ?? 0) >= 0x80 ? 1 : 0;
  out[at] = DER_INTEGER;
  out[at + 1] = zeros + to - first;
  out[at + 2] = 0;
  return at + 2 + zeros + signature.copy(out, at + 2 + zeros, first, to);
}

const MOST_RSA_BYTES = 512;
const MOST_EXPONENT_BYTES = 16;

/**
 * A SubjectPublicKeyInfo up to the key, whose length is fixed (RFC 5480 §2, RFC 8410 §4). The second octet says how long the
 * whole is without these two. As a text in PEM, Node.js 24 takes it in a third of the time: of all else, it first finds
 * out that it is no KeyObject, by an exception.
 */
const SPKI_HEADS = {
  'P-256': Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
  'P-384': Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
  Ed25519: Buffer.from('302a300506032b6570032100', 'hex'),
  Ed448: Buffer.from('3043300506032b6571033a00', 'hex'),
} as const;

/** Imports a key (RFC 3110 §2, RFC 6605 §4, RFC 8080 §3); undefined: not a key of this kind. */
function importKey({ kind }: Algorithm, octets: Buffer): KeyObject | undefined {
  try {
    return kind === 'rsa' ? importRsa(octets) : importFixed(SPKI_HEADS[kind], octets);
  } catch {
    // E.g. not a point of the curve.
    return undefined;
  }
}

function importRsa(octets: Buffer): KeyObject | undefined {
  const long = octets[0] === 0;
  const exponentAt = long ? 3 : 1;
  const exponentBytes = long ? octets.readUInt16BE(1) : octets.readUInt8(0);
  const exponent = octets.subarray(exponentAt, exponentAt + exponentBytes);
  const modulus = octets.subarray(exponentAt + exponentBytes);
  // RFC 3110 §2 limits both to 4096 bits. Exponents of more than 128 bits would only make checks slow.
  if (exponent.length === 0 || exponent.length > MOST_EXPONENT_BYTES) return undefined;
  if (modulus.length === 0 || modulus.length > MOST_RSA_BYTES) return undefined;
  return createPublicKey({
    key: { kty: 'RSA', n: modulus.toString('base64url'), e: exponent.toString('base64url') },
    format: 'jwk',
  });
}

function importFixed(head: Buffer, octets: Buffer): KeyObject | undefined {
  const der = Buffer.concat([head, octets]);
  if (der.length !== 2 + (der[1] ?? 0)) return undefined;
  return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`);
}

/** A DS record's RDATA (RFC 4034 §5.1). */
export interface Ds {
  readonly tag: number;
  readonly algorithm: number;
  readonly digestType: number;
  readonly digest: Buffer;
}

/** Reads DS RDATA; undefined: too short. */
export const readDs = (rdata: Buffer): Ds | undefined =>
  rdata.length <= 4
    ? undefined
    : {
        tag: rdata.readUInt16BE(0),
        algorithm: rdata.readUInt8(2),
        digestType: rdata.readUInt8(3),
        digest: rdata.subarray(4),
      };

/** Whether a DS is the digest of this key of this owner (RFC 4034 §5.1.4). The caller compares tag and algorithm. */
export function dsMatches(ds: Ds, owner: Name, key: Dnskey): boolean {
  const digest = DIGESTS.get(ds.digestType);
  if (digest?.bytes !== ds.digest.length) return false;
  return hash(digest.algorithm, Buffer.concat([Buffer.from(owner, 'latin1'), key.rdata]), 'buffer').equals(ds.digest);
}
