// Words for errors of TLS. OpenSSL's own are made for its programmers: they come with file names, hex codes and line
// breaks, and differ between its versions.

/** What alerts of a server mean to us (RFC 8446 §6, RFC 5246 §7.2), by number. */
const ALERT_WORDS: Readonly<Record<number, string>> = {
  10: 'it says that a message of the handshake was unexpected',
  20: 'it could not decrypt what it received',
  22: 'it says that a record was too long',
  40: 'it accepts none of our ciphers, key exchanges or signatures',
  42: 'it says that our client certificate is damaged, or wants one',
  43: 'it does not accept the kind of our client certificate',
  44: 'it says that our client certificate is revoked',
  45: 'it says that our client certificate has expired',
  46: 'it does not accept our client certificate',
  47: 'it says that a field of the handshake is wrong',
  48: 'it does not know the authority of our client certificate',
  49: 'it refuses us access',
  50: 'it could not read a message of the handshake',
  51: 'a check of the handshake failed there',
  70: 'it speaks none of our versions of TLS',
  71: 'it asks for stronger ciphers or keys than ours',
  80: 'it has an internal error',
  86: 'it takes us for a fallback to an older version of TLS',
  90: 'it cancelled the handshake',
  109: 'it misses an extension in the handshake',
  110: 'it does not accept an extension in the handshake',
  112: 'it does not know the server name that we ask for',
  113: 'it could not use the certificate status',
  115: 'it does not know the key that was agreed before',
  116: 'it wants a client certificate (upstream.client_certificate)',
  120: 'it does not speak this protocol (ALPN)',
};

/** What other errors mean, by OpenSSL's reason, which is the same in all its versions. */
const REASON_WORDS: Readonly<Record<string, string>> = {
  'wrong version number': 'it does not speak TLS on this port',
  'packet length too long': 'it does not speak TLS on this port',
  'http request': 'it does not speak TLS on this port',
  'https proxy request': 'it does not speak TLS on this port',
  'unsupported protocol': 'it speaks none of our versions of TLS',
  'wrong ssl version': 'it speaks none of our versions of TLS',
  'tls alert protocol version': 'it speaks none of our versions of TLS',
  'unexpected eof while reading': 'closed during the handshake',
  'no ciphers available': 'no cipher is allowed by the configuration of OpenSSL here',
  'no shared cipher': 'there is no cipher that both sides accept',
  'no cipher match': 'no cipher is allowed by the configuration of OpenSSL here',
  'wrong cipher returned': 'it chose a cipher that we did not offer',
  'wrong curve': 'it chose a key exchange that we did not offer',
  'bad key share': 'it chose a key exchange that we did not offer',
  'wrong signature type': 'its signature is of a kind that we do not accept',
  'bad signature': 'the signature of its handshake is wrong',
  'dh key too small': 'the key of its key exchange is too weak',
  'ee key too small': 'the key of the certificate is too weak',
  'ca key too small': 'a key in the chain of the certificate is too weak',
  'ca md too weak': 'a signature in the chain of the certificate is too weak',
  'decryption failed or bad record mac': 'what was received is damaged',
  'digest check failed': 'the handshake was changed on its way',
  'unsafe legacy renegotiation disabled': 'it does not support secure renegotiation (RFC 5746)',
  'excessive message size': 'a message of its handshake is too long',
  'certificate verify failed': 'its certificate was not accepted',
  'key values mismatch': 'the key does not belong to the certificate',
  'no start line': 'no PEM was found',
  'bad end line': 'the PEM is damaged',
  'bad base64 decode': 'the PEM is damaged',
  'interrupted or cancelled': 'the key is protected with a passphrase',
  'bad password read': 'the key is protected with a passphrase',
  unsupported: 'the key is damaged, or of a kind that OpenSSL does not know here',
};

/** An error of OpenSSL, as Node.js passes it on. */
interface OpensslError extends Error {
  /** OpenSSL's reason, e.g. `wrong version number`. */
  readonly reason?: string;
}

/** The number of the TLS alert that ended a connection; undefined: it was something else. */
export function alertOf({ message }: Error): number | undefined {
  const [, number] = /SSL alert number (\d{1,3})/.exec(message) ?? [];
  return number === undefined ? undefined : Number(number);
}

/** Words for an error of OpenSSL, in one line; undefined: it is another error. */
export function tlsErrorWords(error: OpensslError): string | undefined {
  const alert = alertOf(error);
  const reason = error.reason ?? /(?:^|:)error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]*)/.exec(error.message)?.[1];
  if (alert !== undefined) {
    const known = ALERT_WORDS[alert];
    return known === undefined ? `TLS alert ${alert}` : `${known} (TLS alert ${alert})`;
  }
  if (reason === undefined) return undefined;
  const plain = oneLine(reason);
  return REASON_WORDS[plain] ?? `TLS failed: ${plain}`;
}

/** A text from outside in one line, without characters that do something to a terminal. */
export const oneLine = (text: string): string => text.replace(/[\s\p{C}]+/gu, ' ').trim();
