// Whether the programs of this machine really ask this daemon, and what leaves beside it: the other resolvers of
// resolv.conf, systemd-resolved with the servers of its links, search domains, and questions to neighbours.

import { isLoopback, withoutZone } from '../base/address.js';
import type { Facts, Finding, ResolvedOverview, Surroundings } from '../base/overview.js';
import { DNS_PORT } from '../base/port-numbers.js';

/** Where the daemon takes queries. */
export type Listening = Facts['listening'];

/** systemd-resolved's own addresses. */
const STUBS: ReadonlySet<string> = new Set(['127.0.0.53', '127.0.0.54']);
/** The C library reads so many (resolv.conf(5)). */
const MOST_NAMESERVERS = 3;

const INSTALL = '"sudo dotstub install" makes them ask it';
const CLOSE = 'docs/health.md says how to close that';

const note = (id: Finding['id'], words: string, advice: string): Finding => ({ id, level: 'note', words, advice });
const weak = (id: Finding['id'], words: string, advice: string): Finding => ({ id, level: 'weak', words, advice });

/** The findings. */
export function besideFindings({ surroundings, listening }: Pick<Facts, 'surroundings' | 'listening'>): Finding[] {
  return surroundings === undefined
    ? []
    : [...asking(surroundings, listening), ...search(surroundings), ...neighbours(surroundings)];
}

/** Whom the programs ask. */
function* asking(surroundings: Surroundings, listening: Listening): Iterable<Finding> {
  const { resolved } = surroundings;
  const isOurs = (address: string): boolean => listening.some(at => receives(at, address, surroundings));
  // Without a resolver, the C library asks this one.
  const nameservers = (surroundings.resolvConf?.nameservers ?? []).slice(0, MOST_NAMESERVERS);
  const direct = nameservers.length === 0 ? ['127.0.0.1'] : nameservers.filter(each => !STUBS.has(each));
  const ofResolved = resolved !== undefined && (direct.length < nameservers.length || asksByItself(surroundings));
  const asked = ofResolved ? resolved.servers : direct;
  if (!asked.some(isOurs)) yield notAsked(asked, ofResolved, listening);
  else if (ofResolved)
    yield* links(
      resolved,
      resolved.servers.filter(each => !isOurs(each)),
    );
  else {
    const others = direct.filter(each => !isOurs(each));
    if (others.length === 0) return;
    const words = `programs also ask ${others.join(', ')} (/etc/resolv.conf), in cleartext: when dotstub answers late or with an error, and with some C libraries always`;
    yield weak('asked_beside', words, 'leave only the address of dotstub in /etc/resolv.conf');
  }
}

/** Whether the C library asks systemd-resolved whatever is in resolv.conf (nss-resolve). */
function asksByItself({ hosts }: Surroundings): boolean {
  const [resolve, dns] = [hosts.indexOf('resolve'), hosts.indexOf('dns')];
  return resolve !== -1 && (dns === -1 || resolve < dns);
}

function receives({ address, port }: Listening[number], asked: string, { addresses }: Surroundings): boolean {
  if (port !== DNS_PORT) return false;
  if (address === asked) return true;
  const isAny = address === (asked.includes(':') ? '::' : '0.0.0.0');
  return isAny && (isLoopback(asked) || addresses.includes(withoutZone(asked)));
}

function notAsked(asked: readonly string[], ofResolved: boolean, listening: Listening): Finding {
  const whom = asked.length === 0 ? 'nobody' : asked.join(', ');
  const way = ofResolved ? `systemd-resolved, which asks ${whom}` : `${whom} (/etc/resolv.conf)`;
  const words = `the programs of this machine do not ask dotstub, but ${way}`;
  const [first] = listening;
  const onPort = listening.some(({ port }) => port === DNS_PORT);
  if (!onPort && first !== undefined)
    return note('not_asked', `${words}: it listens on port ${first.port}, and they ask port 53`, INSTALL);
  // One that listens on other addresses, too, serves other machines.
  const isForThese = listening.every(({ address }) => isLoopback(address));
  return isForThese ? weak('not_asked', words, INSTALL) : note('not_asked', words, INSTALL);
}

/** systemd-resolved asks us, and the servers of links. */
function* links({ search: domains, routesAll }: ResolvedOverview, others: readonly string[]): Iterable<Finding> {
  if (others.length === 0 || (routesAll && domains.length === 0)) return;
  const which = routesAll ? `for names below ${domains.join(', ')}` : 'for all names';
  const words = `systemd-resolved also asks ${others.join(', ')} ${which}, in cleartext`;
  yield weak('resolved_links', words, routesAll ? CLOSE : `set Domains=~. in resolved.conf; ${CLOSE}`);
}

function* search({ resolvConf }: Surroundings): Iterable<Finding> {
  const domains = resolvConf?.search ?? [];
  if (domains.length === 0) return;
  const words = `names that are not found are asked for again with ${domains.join(', ')} behind them (search in /etc/resolv.conf)`;
  yield note('search', words, CLOSE);
}

function* neighbours({ neighbours: ways }: Surroundings): Iterable<Finding> {
  if (ways.length === 0) return;
  const names = ways.map(way => WAYS[way]).join(', and ');
  yield note('neighbours', `everybody on the local network is asked, in cleartext, for ${names}`, CLOSE);
}

const WAYS: Readonly<Record<Surroundings['neighbours'][number], string>> = {
  LLMNR: 'names without a dot (LLMNR)',
  mDNS: 'names below local (mDNS)',
  WINS: 'names without a dot (WINS in nsswitch.conf)',
};
