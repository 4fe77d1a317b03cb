// Configuration profiles for iPhones, iPads and Macs: property lists in XML that name a resolver to ask over TLS or HTTPS
// (Apple, "Device Management", payload DNSSettings).

import { createHash } from 'node:crypto';

import { addressOctets } from '../base/address.js';
import { isPrivateV4, isPrivateV6 } from '../policy/rebinding.js';
import { markup } from './phone-markup.js';

/** What a profile says. */
export interface ProfileFacts {
  /** The name of the machine, for people. */
  readonly host: string;
  /** The name in the certificate. */
  readonly name: string;
  /** Where it is asked, in the order of preference. */
  readonly addresses: readonly string[];
  /** Undefined: over TLS. */
  readonly url: string | undefined;
  /** Certificates of authorities of one's own that the profile brings, DER. */
  readonly authorities: readonly Buffer[];
}

type Value = string | number | boolean | Buffer | readonly Value[] | { readonly [key: string]: Value };

const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** A value of a property list. */
function xml(value: Value): string {
  if (typeof value === 'string') return `<string>${markup(value)}</string>`;
  if (typeof value === 'number') return `<integer>${value}</integer>`;
  if (typeof value === 'boolean') return value ? '<true/>' : '<false/>';
  if (Buffer.isBuffer(value)) return `<data>${value.toString('base64')}</data>`;
  if (isList(value)) return `<array>\n${value.map(xml).join('\n')}\n</array>`;
  const rows = Object.entries(value).map(([key, each]) => `<key>${markup(key)}</key>\n${xml(each)}`);
  return `<dict>\n${rows.join('\n')}\n</dict>`;
}

/** Whether an address means something in its own network only. */
export function isPrivate(address: string): boolean {
  const octets = addressOctets(address);
  if (octets === undefined) return false;
  return octets.length === 4 ? isPrivateV4(octets.readUInt32BE()) : isPrivateV6(octets, 0, undefined);
}

/** Whether some of these addresses can only be reached at home. Elsewhere, a phone would be without names. */
export const areOnlyAtHome = (addresses: readonly string[]): boolean => addresses.some(isPrivate);

/**
 * Only in networks that name one of the addresses as resolver, and so are the ones where it can be reached. With such
 * settings everywhere, a phone would have no names away from home.
 */
const atHome = (addresses: readonly string[]): Value => [
  { Action: 'Connect', DNSServerAddressMatch: addresses },
  { Action: 'Disconnect' },
];

/** A profile, as a property list. The same facts give the same text, so that a new one takes the place of the old one. */
export function profile({ host, name, addresses, url, authorities }: ProfileFacts): string {
  const protocol = url === undefined ? 'TLS' : 'HTTPS';
  const identifier = `dotstub.${name}.${protocol.toLowerCase()}`;
  const payload = (type: string, part: string, more: Readonly<Record<string, Value>>): Value => ({
    PayloadType: type,
    PayloadVersion: 1,
    PayloadIdentifier: `${identifier}.${part}`,
    PayloadUUID: uuidOf(`${identifier}.${part}`),
    ...more,
  });
  const settings = payload('com.apple.dnsSettings.managed', 'dns', {
    PayloadDisplayName: `Private DNS of ${host}`,
    DNSSettings: {
      DNSProtocol: protocol,
      ServerAddresses: addresses,
      ...(url === undefined ? { ServerName: name } : { ServerURL: url }),
    },
    ...(areOnlyAtHome(addresses) ? { OnDemandRules: atHome(addresses) } : {}),
  });
  const whole: Value = {
    PayloadType: 'Configuration',
    PayloadVersion: 1,
    // Macs install settings for DNS only for the whole machine.
    PayloadScope: 'System',
    PayloadIdentifier: identifier,
    PayloadUUID: uuidOf(identifier),
    PayloadDisplayName: `Private DNS of ${host}`,
    PayloadDescription: `Asks ${name} (${addresses.join(', ')}) for names, over ${protocol}.`,
    PayloadContent: [
      settings,
      ...authorities.map((der, i) =>
        payload('com.apple.security.root', `authority${i}`, {
          PayloadDisplayName: `Authority of ${name}`,
          PayloadContent: der,
        }),
      ),
    ],
  };
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
${xml(whole)}
</plist>
`;
}

/** A UUID that depends on a text and nothing else (RFC 9562 §5.8). */
function uuidOf(text: string): string {
  const octets = createHash('sha256').update(text).digest().subarray(0, 16);
  octets.writeUInt8((octets.readUInt8(6) & 0x0f) | 0x80, 6);
  octets.writeUInt8((octets.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = octets.toString('hex').toUpperCase();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
