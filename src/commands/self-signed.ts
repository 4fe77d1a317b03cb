// Makes a self-signed certificate (RFC 5280), for trying a listener out. Node.js can read X.509, but not write it.

import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

import { addressOctets } from '../base/address.js';
import {
  bitString,
  booleanTrue,
  certificateTime,
  inContext,
  objectIdentifier,
  octetString,
  positiveInteger,
  sequence,
  setOf,
  utf8String,
} from '../base/der.js';

/** For whom it is made, and from when until when it is valid, milliseconds since 1970. */
export interface SelfSignedRequest {
  /** DNS names, at least one. */
  readonly names: readonly string[];
  /** IP addresses. */
  readonly addresses: readonly string[];
  readonly startsMs: number;
  readonly endsMs: number;
}

/** A certificate and its key, PEM. */
export interface SelfSigned {
  readonly certificate: string;
  readonly key: string;
}

const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const COMMON_NAME = objectIdentifier('2.5.4.3');
const SERVER_AUTH = objectIdentifier('1.3.6.1.5.5.7.3.1');
const VERSION_3 = inContext(0, true, positiveInteger(Buffer.from([2])));
/** Of 20 that are allowed (RFC 5280 §4.1.2.2). */
const SERIAL_BYTES = 16;
/** digitalSignature and keyCertSign (§4.2.1.3), and the bits that do not count. */
const KEY_USAGE = { bits: Buffer.from([0x84]), unused: 2 };
/** The kinds of a GeneralName (§4.2.1.6). */
const KIND = { DNS: 2, IP: 7 } as const;

/**
 * Makes a key (P-256) and its certificate. Phones take it only as an authority that is installed, so it is one; name
 * constraints (§4.2.1.10) keep its key from certifying any other name.
 */
export function selfSigned(request: SelfSignedRequest): SelfSigned {
  const { names, addresses, startsMs, endsMs } = request;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const keyId = createHash('sha1').update(spki).digest();
  const subject = sequence(setOf(sequence(COMMON_NAME, utf8String(names[0] ?? ''))));
  const alternatives = [...names.map(dnsName), ...addresses.map(each => ipAddress(octetsOf(each)))];
  const extensions = [
    extension('2.5.29.19', true, sequence(booleanTrue, positiveInteger(Buffer.from([0])))),
    extension('2.5.29.15', true, bitString(KEY_USAGE.bits, KEY_USAGE.unused)),
    extension('2.5.29.37', false, sequence(SERVER_AUTH)),
    extension('2.5.29.14', false, octetString(keyId)),
    extension('2.5.29.17', false, sequence(...alternatives)),
    extension('2.5.29.30', true, nameConstraints(names, addresses)),
  ];
  const signed = sequence(
    VERSION_3,
    positiveInteger(randomBytes(SERIAL_BYTES)),
    ECDSA_WITH_SHA256,
    subject,
    sequence(certificateTime(startsMs), certificateTime(endsMs)),
    subject,
    spki,
    inContext(3, true, sequence(...extensions)),
  );
  const certificate = sequence(signed, ECDSA_WITH_SHA256, bitString(sign('sha256', signed, privateKey)));
  return {
    certificate: pem('CERTIFICATE', certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(objectIdentifier(id), ...(critical ? [booleanTrue] : []), octetString(value));

const dnsName = (name: string): Buffer => inContext(KIND.DNS, false, Buffer.from(name));
const ipAddress = (octets: Buffer): Buffer => inContext(KIND.IP, false, octets);

const octetsOf = (address: string): Buffer => {
  const octets = addressOctets(address);
  if (octets === undefined) throw new TypeError(`${address} is no address`);
  return octets;
};

/** Only these names and addresses. In a constraint, an address has its mask with it; a kind that is not named is free. */
function nameConstraints(names: readonly string[], addresses: readonly string[]): Buffer {
  const own = addresses.map(octetsOf);
  const permitted = [
    ...names.map(dnsName),
    ...own.map(octets => ipAddress(Buffer.concat([octets, Buffer.alloc(octets.length, 0xff)]))),
  ];
  const without = [4, 16].filter(bytes => !own.some(({ length }) => length === bytes));
  // Of a family without an address, none: permitting addresses of one family says nothing about the other everywhere.
  const excluded = without.map(bytes => ipAddress(Buffer.alloc(2 * bytes)));
  const subtrees = (number: number, bases: readonly Buffer[]): Buffer[] =>
    bases.length === 0 ? [] : [inContext(number, true, ...bases.map(base => sequence(base)))];
  return sequence(...subtrees(0, permitted), ...subtrees(1, excluded));
}

const PEM_LINE = /.{1,64}/g;

const pem = (what: string, der: Buffer): string =>
  [`-----BEGIN ${what}-----`, ...(der.toString('base64').match(PEM_LINE) ?? []), `-----END ${what}-----`, ''].join(
    '\n',
  );
