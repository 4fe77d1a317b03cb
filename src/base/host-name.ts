// Host names as the network or a file gives them.

/** Labels of RFC 1123 §2.1. Digits and dots alone would be an address. */
const HOST_NAME = /^(?![\d.]*$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/;
const MOST_CHARACTERS = 253;

/** A host name in lower case, without the final dot. Undefined: the text is none. */
export function hostNameFrom(text: string): string | undefined {
  if (text.length > MOST_CHARACTERS + 1) return undefined;
  const name = text.toLowerCase().replace(/\.$/, '');
  return name.length <= MOST_CHARACTERS && HOST_NAME.test(name) ? name : undefined;
}

/** A name that a certificate can hold (RFC 6125 §6.4), in lower case. */
const CERTIFICATE_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;

/** Whether a certificate can be for this name, in lower case and without the final dot. OpenSSL throws at some others. */
export const isCertificateName = (name: string): boolean =>
  name.length <= MOST_CHARACTERS && CERTIFICATE_NAME.test(name);
