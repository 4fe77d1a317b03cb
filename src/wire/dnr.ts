// Resolvers that a network announces (DNR, RFC 9463), as octets of a DHCP option: OPTION_V4_DNR (162, §5.1) and
// OPTION_V6_DNR (144, §4.1). Router advertisements (§6.1) have the fields of the latter in another order; nobody keeps
// their octets.

import { addressText } from '../base/address.js';
import { hostNameFrom } from '../base/host-name.js';
import { nameToText, readName } from './name.js';
import { readServiceParameters, type ServiceParameters } from './service-parameters.js';

/** One announced resolver. */
export interface AnnouncedInstance {
  /** The lowest is best. */
  readonly priority: number;
  /** The authentication domain name, lower case, without the final dot. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly parameters: ServiceParameters;
}

/** The most instances that are read, and the most addresses of each. */
const MOST_INSTANCES = 8;
const MOST_ADDRESSES = 4;

/** How the two options differ. */
interface Form {
  /** The octets of a length field. */
  readonly lengthBytes: 1 | 2;
  readonly addressBytes: 4 | 16;
}
const FORM4: Form = { lengthBytes: 1, addressBytes: 4 };
const FORM6: Form = { lengthBytes: 2, addressBytes: 16 };

/**
 * Reads the instances of a DHCPv4 option, best first. An instance that is not valid, or that has only a name (§3.1.6),
 * is left out.
 */
export function readDnr4(option: Buffer): readonly AnnouncedInstance[] {
  const found: AnnouncedInstance[] = [];
  for (let at = 0; at + 2 <= option.length && found.length < MOST_INSTANCES;) {
    const start = at + 2;
    at = start + option.readUInt16BE(at);
    if (at > option.length) break;
    const one = readInstance(option.subarray(start, at), FORM4);
    if (one !== undefined) found.push(one);
  }
  return found.sort((a, b) => a.priority - b.priority);
}

/** Reads a DHCPv6 option, which holds one instance. Undefined: it is not valid, or has only a name. */
export const readDnr6 = (option: Buffer): AnnouncedInstance | undefined => readInstance(option, FORM6);

/** Service priority, authentication domain name, addresses, and service parameters, which fill the rest. */
function readInstance(octets: Buffer, { lengthBytes, addressBytes }: Form): AnnouncedInstance | undefined {
  /** The octets of the field at `at`, after its length. */
  const field = (at: number): Buffer | undefined => {
    const start = at + lengthBytes;
    if (start > octets.length) return undefined;
    const end = start + octets.readUIntBE(at, lengthBytes);
    return end > octets.length ? undefined : octets.subarray(start, end);
  };
  if (octets.length < 2) return undefined;
  const name = field(2);
  if (name === undefined) return undefined;
  const afterName = 2 + lengthBytes + name.length;
  const list = field(afterName);
  const text = hostNameIn(name);
  if (list === undefined || text === undefined || list.length === 0 || list.length % addressBytes !== 0)
    return undefined;
  const parameters = readServiceParameters(octets, afterName + lengthBytes + list.length, octets.length);
  // §3.1.8: without ALPN ids, or with address hints, the option is not valid.
  if (parameters === undefined || parameters.alpn.length === 0 || parameters.hints.length > 0) return undefined;
  const addresses: string[] = [];
  for (let at = 0; at < list.length && addresses.length < MOST_ADDRESSES; at += addressBytes)
    addresses.push(addressText(list, at, addressBytes));
  return { priority: octets.readUInt16BE(0), name: text, addresses, parameters };
}

/** The host name that fills these octets, not compressed (RFC 8415 §10); undefined: there is none. */
function hostNameIn(octets: Buffer): string | undefined {
  const read = readName(octets, 0);
  // A compressed name is shorter than it is once it was read.
  if (read?.end !== octets.length || read.name.length !== octets.length) return undefined;
  return hostNameFrom(nameToText(read.name));
}
