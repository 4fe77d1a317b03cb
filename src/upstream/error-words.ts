// Words for errors of certificates and sockets, which say where to look.

import { oneLine, tlsErrorWords } from '../base/tls-error.js';

/** Words for codes of OpenSSL and libuv. */
const CODE_WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired (or the clock here is wrong)',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet (or the clock here is wrong)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an authority that upstream.ca_file does not hold',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate comes from an authority that upstream.ca_file does not hold',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate comes from an authority that upstream.ca_file does not hold, or it does not send its intermediate certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate comes from an authority that upstream.ca_file does not hold, or it does not send its intermediate certificate',
  CERT_SIGNATURE_FAILURE: 'a signature in the chain of its certificate is wrong',
  CERT_CHAIN_TOO_LONG: 'the chain of its certificate is too long',
  CERT_REVOKED: 'its certificate is revoked',
  CERT_UNTRUSTED: 'an authority in the chain of its certificate is not trusted for servers',
  CERT_REJECTED: 'an authority in the chain of its certificate must not be used for servers',
  INVALID_CA: 'a certificate in its chain is not that of an authority',
  INVALID_PURPOSE: 'its certificate, or one in its chain, is not for TLS servers',
  PATH_LENGTH_EXCEEDED: 'an authority in the chain of its certificate does not allow that many below it',
  UNSPECIFIED: 'its certificate was not accepted: a key or signature may be too weak, or a constraint be violated',
  EINVAL: 'the address cannot be used here (does the interface in its zone exist?)',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'no local address to connect from',
  ETIMEDOUT: 'timed out',
  EPIPE: 'connection closed',
  EMFILE: 'this process has too many files open',
  ENFILE: 'the system has too many files open',
};

/** The words for an error code; undefined: the library's own words are good enough. */
export const codeWords = (code: string): string | undefined => CODE_WORDS[code];

/** The words for an error, in one line. */
export const errorWords = (error: NodeJS.ErrnoException): string =>
  codeWords(error.code ?? '') ?? tlsErrorWords(error) ?? oneLine(error.message);
