// The system around the daemon: whom the programs of this machine ask for names. It is read from files that every user may
// read, and that are there without asking anybody.

import { closeSync, constants, existsSync, openSync, readdirSync, readSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';

import type { ResolvedOverview, Surroundings } from '../base/overview.js';
import { readResolvConf } from '../base/resolv-conf.js';

const RESOLV_CONF = '/etc/resolv.conf';
const NSSWITCH = '/etc/nsswitch.conf';
/** It is there while systemd-resolved runs, and has its servers with those of all links. */
const RESOLVED_SERVERS = '/run/systemd/resolve/resolv.conf';
/** Its configuration, and directories of files that come after it; the first directory with a file of a name counts. */
const RESOLVED_CONF = ['/etc/systemd/resolved.conf', '/run/systemd/resolved.conf', '/usr/lib/systemd/resolved.conf'];
const RESOLVED_DIRECTORIES = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map(at => `${at}/systemd/resolved.conf.d`);
/** The sockets of this network namespace. */
const SOCKETS = ['/proc/self/net/udp', '/proc/self/net/udp6'];
const LLMNR_PORT = 5355;

const MOST_BYTES = 1 << 18;
const MOST_FILES = 64;
const MOST_WORDS = 16;

/** Reads it. @throws the system's error if no descriptors are left @param root where the tree of the system begins, if it is not the running one */
export function readSurroundings(root = '/'): Surroundings {
  const read = (path: string): string | undefined => textOf(join(root, path));
  const resolvConf = read(RESOLV_CONF);
  const hosts = hostsOf(read(NSSWITCH) ?? '');
  return {
    resolvConf: resolvConf === undefined ? undefined : readResolvConf(resolvConf),
    hosts,
    resolved: resolvedIn(root, read),
    neighbours: neighboursOf(hosts, SOCKETS.map(path => read(path) ?? '').join('\n')),
    addresses: Object.values(networkInterfaces()).flatMap((infos = []) => infos.map(({ address }) => address)),
  };
}

/** The services of `hosts` in an nsswitch.conf, without what is done about their results. */
const hostsOf = (text: string): readonly string[] =>
  (/^\s*hosts:([^\n#]*)/m.exec(text)?.[1] ?? '')
    .replace(/\[[^\]]*\]/g, ' ')
    .split(/\s+/)
    .filter(word => /^[\w-]+$/.test(word))
    .slice(0, MOST_WORDS);

function neighboursOf(hosts: readonly string[], sockets: string): Surroundings['neighbours'] {
  const isOpen = new RegExp(`^\\s*\\d+: [0-9A-F]+:${LLMNR_PORT.toString(16).toUpperCase()} `, 'm').test(sockets);
  return [
    ...(isOpen ? (['LLMNR'] as const) : []),
    ...(hosts.some(each => each.startsWith('mdns')) ? (['mDNS'] as const) : []),
    ...(hosts.includes('wins') ? (['WINS'] as const) : []),
  ];
}

function resolvedIn(root: string, read: (path: string) => string | undefined): ResolvedOverview | undefined {
  const servers = read(RESOLVED_SERVERS);
  if (servers === undefined) return undefined;
  const { nameservers, search } = readResolvConf(servers);
  return { servers: nameservers, search, routesAll: domainsOf(root, read).includes('~.') };
}

/** The value of `Domains=` in the section [Resolve] of resolved.conf(5) and its drop-ins. */
function domainsOf(root: string, read: (path: string) => string | undefined): readonly string[] {
  const main = RESOLVED_CONF.find(path => existsSync(join(root, path)));
  const dropIns = new Map<string, string>();
  for (const directory of RESOLVED_DIRECTORIES)
    for (const name of namesIn(join(root, directory)))
      if (!dropIns.has(name)) dropIns.set(name, `${directory}/${name}`);
  const sorted = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  let domains: readonly string[] = [];
  for (const path of [...(main === undefined ? [] : [main]), ...sorted])
    for (const [, value = ''] of (read(path) ?? '').matchAll(/^\s*Domains\s*=(.*)$/gm)) {
      const words = value.split(/\s+/).filter(word => word !== '');
      // An empty value forgets those before.
      domains = words.length === 0 ? [] : [...domains, ...words].slice(-MOST_WORDS);
    }
  return domains;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter(name => name.endsWith('.conf'))
      .slice(0, MOST_FILES);
  } catch (error) {
    if (isOutOfFiles(error)) throw error;
    // Most systems have only some of them.
    return [];
  }
}

/** The first octets of a file; undefined: it is missing, or cannot be read. */
function textOf(path: string): string | undefined {
  try {
    // Opening a pipe would wait for a writer.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const octets = Buffer.allocUnsafe(MOST_BYTES);
      let length = 0;
      // Files of /proc come in pieces.
      for (let read = -1; read !== 0 && length < octets.length; length += read)
        read = readSync(file, octets, length, octets.length - length, null);
      return octets.toString('utf8', 0, length);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (isOutOfFiles(error)) throw error;
    return undefined;
  }
}

/** Without descriptors, nothing is known: that a file cannot be read does not mean that it says nothing. */
const isOutOfFiles = (error: unknown): boolean => OUT_OF_FILES.has((error as NodeJS.ErrnoException).code ?? '');
const OUT_OF_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);
