// Names of hosts in files of other programs, as keys of the table of local names.

import { nameFromText } from '../../wire/name.js';
import type { NameText } from '../special-names.js';

/** Letters, digits, hyphens (RFC 1123 §2.1), and the underscore that many devices have in their names. */
const HOST_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const MOST_CHARACTERS = 254;

/** A host name; undefined: it is none. */
export function hostNameFrom(text: string): NameText | undefined {
  const lower = text.toLowerCase();
  if (lower.length > MOST_CHARACTERS || !HOST_NAME.test(lower)) return undefined;
  return nameFromText(lower)?.toString('latin1');
}

/**
 * Names that a device must not give itself. Programs look for these in every domain and believe whoever has them: the
 * proxy of all browsers (wpad), the IPv6 tunnel of Windows (isatap), and this machine.
 */
const NOT_OF_DEVICES: ReadonlySet<string> = new Set(['wpad', 'isatap', 'localhost']);

/**
 * The name of a device, from the one that it has told its DHCP server. Anybody on the network can tell any name. So it
 * is a single label, and the domain comes from the configuration; a name with the same domain behind it is accepted.
 * @param domain lower case, without a final dot; undefined: the label alone is the name
 * @returns undefined: it has no name that could be used
 */
export function deviceNameFrom(text: string, domain: string | undefined): NameText | undefined {
  const whole = text.toLowerCase().replace(/\.$/, '');
  const label = domain !== undefined && whole.endsWith(`.${domain}`) ? whole.slice(0, -domain.length - 1) : whole;
  if (!LABEL.test(label) || NOT_OF_DEVICES.has(label)) return undefined;
  return nameFromText(domain === undefined ? label : `${label}.${domain}`)?.toString('latin1');
}
