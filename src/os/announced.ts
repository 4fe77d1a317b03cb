// What DHCP servers and router advertisements have told this machine about resolvers (RFC 9463) and captive portals
// (RFC 8910), as far as systemd-networkd and NetworkManager keep it in files. The formats are not documented, so that
// everything is optional, and what is unknown is ignored. The texts come from the network: they are not trusted.

import { closeSync, constants, openSync, readdirSync, readSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

import { isIP, isIPv6 } from '../base/address.js';
import { hostNameFrom } from '../base/host-name.js';

/** A resolver with a name to authenticate it by. */
export interface NamedResolver {
  /** With its zone, if it needs one. */
  readonly address: string;
  /** The port of DNS over TLS; undefined: the default. */
  readonly port: number | undefined;
  readonly name: string;
}

/** What the network has announced. */
export interface NetworkAnnouncements {
  readonly resolvers: readonly NamedResolver[];
  /** Options 162 of DHCPv4 and 144 of DHCPv6, as octets. */
  readonly options4: readonly Buffer[];
  readonly options6: readonly Buffer[];
  /** Addresses of captive portal APIs (RFC 8908), as they were announced. */
  readonly portals: readonly string[];
}

/** The directories of the files. */
export interface AnnouncedDirectories {
  /** systemd-networkd: a file for each link, named by its index. */
  readonly networkd: string;
  /** NetworkManager: the same, for each device. */
  readonly networkManager: string;
}
export const ANNOUNCED_DIRECTORIES: AnnouncedDirectories = {
  networkd: '/run/systemd/netif/links',
  networkManager: '/run/NetworkManager/devices',
};

const MOST_FILES = 64;
const MOST_FILE_BYTES = 1 << 16;
const MOST_FOUND = 16;
const MOST_URL_CHARACTERS = 2048;
/** A DHCPv4 option is at most this long, even if it is sent in parts (RFC 3396). */
const MOST_OPTION_BYTES = 1 << 12;

/**
 * Makes a function that reads the files. A file that is missing or cannot be read says nothing. Without descriptors, it
 * returns what it has read last: otherwise it would look as if the network had taken everything back.
 */
export function announcementReader(directories: AnnouncedDirectories): () => NetworkAnnouncements {
  const read = { last: NOTHING };
  return () => {
    try {
      read.last = readAnnouncements(directories);
    } catch (error) {
      if (!OUT_OF_FILES.has(codeOf(error))) throw error;
    }
    return read.last;
  };
}

const NOTHING: NetworkAnnouncements = { resolvers: [], options4: [], options6: [], portals: [] };
const OUT_OF_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

/** Reads the files. @throws the system's error if no descriptors are left */
export function readAnnouncements(directories: AnnouncedDirectories): NetworkAnnouncements {
  const links = filesIn(directories.networkd).map(({ index, text }) => readLink(text, index));
  const devices = filesIn(directories.networkManager).map(({ text }) => readDevice(text));
  const all = [...links, ...devices];
  return {
    resolvers: all.flatMap(each => each.resolvers ?? []).slice(0, MOST_FOUND),
    options4: all.flatMap(each => each.options4 ?? []).slice(0, MOST_FOUND),
    options6: all.flatMap(each => each.options6 ?? []).slice(0, MOST_FOUND),
    portals: [...new Set(all.flatMap(each => each.portals ?? []))].slice(0, MOST_FOUND),
  };
}

/** The files of links, by their index. */
function filesIn(directory: string): { readonly index: number; readonly text: string }[] {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (OUT_OF_FILES.has(codeOf(error))) throw error;
    // Most systems have only one of the two programs.
    return [];
  }
  return names
    .filter(name => /^[1-9]\d{0,9}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
    .slice(0, MOST_FILES)
    .map(index => ({ index, text: startOf(`${directory}/${index}`) }));
}

/** The first octets of a file; empty if it cannot be read. */
function startOf(path: string): string {
  try {
    // Opening a pipe would wait for a writer.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const octets = Buffer.alloc(MOST_FILE_BYTES);
      return octets.toString('utf8', 0, readSync(file, octets, 0, octets.length, 0));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (OUT_OF_FILES.has(codeOf(error))) throw error;
    return '';
  }
}

/** The values of a file with lines `KEY=value`; the first of each key counts. */
function valuesOf(lines: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at > 0 && !line.startsWith('#') && !values.has(line.slice(0, at)))
      values.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  return values;
}

const wordsOf = (text = ''): readonly string[] => text.split(/\s+/).filter(word => word !== '');

/**
 * A link of systemd-networkd: since version 257, `DNS=` has announced resolvers that offer DNS over TLS, as
 * `address[:port]#name`; since 254, there is `CAPTIVE_PORTAL=`.
 */
function readLink(text: string, index: number): Partial<NetworkAnnouncements> {
  const values = valuesOf(text.split('\n'));
  const portals = [values.get('CAPTIVE_PORTAL') ?? ''].filter(isSoundUrl);
  if (!isForAllNames(values)) return { portals };
  return {
    portals,
    resolvers: wordsOf(values.get('DNS'))
      .slice(0, MOST_FOUND)
      .flatMap(word => namedResolver(word, index) ?? []),
  };
}

/** Whether the resolvers of a link are for all names (systemd-resolved(8)); those of a VPN may be for its zones only. */
function isForAllNames(values: ReadonlyMap<string, string>): boolean {
  const set = values.get('DNS_DEFAULT_ROUTE');
  return set === undefined ? wordsOf(values.get('ROUTE_DOMAINS')).every(zone => zone === '.') : set === 'yes';
}

/** Reads `192.0.2.1#name`, `192.0.2.1:853#name`, `2001:db8::1#name`, `[2001:db8::1]:853#name`. */
function namedResolver(word: string, index: number): NamedResolver | undefined {
  const at = word.indexOf('#');
  if (at === -1) return undefined;
  const name = hostNameFrom(word.slice(at + 1));
  const [, bracketed, six, four, digits] = ADDRESS_PORT.exec(word.slice(0, at)) ?? [];
  const text = bracketed ?? six ?? four ?? '';
  const port = digits === undefined ? undefined : Number(digits);
  if (name === undefined || isIP(text) === 0 || port === 0 || (port ?? 0) > 65535) return undefined;
  return { address: withZone(text, index), port, name };
}

/** An IPv6 address with a port has brackets. */
const ADDRESS_PORT = /^(?:(?:\[([^[\]]+)\]|([^[\]:]*:[^[\]:]*:[^[\]]*)$|([^[\]:]+))(?::(\d{1,5}))?)$/;

/** Adds the zone that a link-local address needs, as the name of its interface. */
function withZone(text: string, index: number): string {
  const [address = '', zone = String(index)] = text.split('%');
  if (!isIPv6(address) || !/^fe[89ab]/i.test(address)) return address;
  return `${address}%${/^\d+$/.test(zone) ? (interfaceName(Number(zone)) ?? zone) : zone}`;
}

/** The name of the interface with this index. */
const interfaceName = (index: number): string | undefined =>
  Object.entries(networkInterfaces()).find(([, all = []]) =>
    all.some(each => each.family === 'IPv6' && each.scopeid === index),
  )?.[0];

/**
 * A device of NetworkManager: a section for each lease, with the options that its DHCP client has asked for. Its own
 * client asks for none of those below (up to version 1.58). With dhclient, which NetworkManager could use up to 1.56,
 * options that dhclient has no name for are here in hexadecimal.
 */
function readDevice(text: string): Partial<NetworkAnnouncements> {
  const lines = text.split('\n');
  const section = (name: string): ReadonlyMap<string, string> => {
    const from = lines.indexOf(`[${name}]`) + 1;
    const length = lines.slice(from).findIndex(line => line.startsWith('['));
    return from === 0 ? new Map() : valuesOf(lines.slice(from, length === -1 ? undefined : from + length));
  };
  const [four, six] = [section('dhcp4'), section('dhcp6')];
  return {
    options4: [octetsOf(four.get('unknown_162'))].filter(octets => octets !== undefined),
    options6: [octetsOf(six.get('dhcp6_unknown_144'))].filter(octets => octets !== undefined),
    portals: [four.get('default_url') ?? ''].filter(isSoundUrl),
  };
}

/** Octets in hexadecimal, with or without colons between them: `0:20:0:1:c` or `002000010c`. */
function octetsOf(text = ''): Buffer | undefined {
  if (text.length > 3 * MOST_OPTION_BYTES) return undefined;
  if (/^([0-9a-f]{2})+$/i.test(text)) return Buffer.from(text, 'hex');
  const groups = text.split(':');
  return groups.every(group => /^[0-9a-f]{1,2}$/i.test(group))
    ? Buffer.from(groups.map(group => Number.parseInt(group, 16)))
    : undefined;
}

/** Printable ASCII of a sound length; whoever uses it parses it. */
const isSoundUrl = (text: string): boolean =>
  text.length > 0 && text.length <= MOST_URL_CHARACTERS && /^[\x21-\x7e]+$/.test(text);
