// Words for errors of certificates and sockets, which say where to look.

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

/** The words for an error. */
export const errorWords = (error: NodeJS.ErrnoException): string => codeWords(error.code ?? '') ?? error.message;

/** A text from outside in one line, without characters that do something to a terminal. */
export const oneLine = (text: string): string => text.replace(/[\s\p{C}]+/gu, ' ').trim();
