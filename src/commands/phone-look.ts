// What phones find here: the listeners that they can reach, the certificates that these show, and where the name leads.

import { lookup } from 'node:dns/promises';
import { rootCertificates } from 'node:tls';

import { isLinkLocal, isLoopback } from '../base/address.js';
import { DOT_PORT, HTTPS_PORT } from '../base/port-numbers.js';
import { isSystemError } from '../base/system-error.js';
import { ALPN } from '../upstream/dial.js';
import { judgeChain, type JudgedChain } from '../upstream/fetch-chain.js';
import { expand, type ListenAddress, reachable } from '../os/listen-address.js';
import { certificateFacts } from '../policy/server-certificate.js';
import { questionOf } from '../wire/compose.js';
import { messageToText } from '../wire/message.js';
import { nameFromText } from '../wire/name.js';
import { typeFromText } from '../wire/rrtype.js';
import type { DaemonListener } from './listener.js';
import { isSameAddress, ledTo, nameFor, type Obstacle, obstaclesOf, type Phones } from './phone-checks.js';
import { isPrivate } from './phone-profile.js';
import { ask } from './query.js';

/** What is looked at. */
export interface LookAt {
  readonly listeners: readonly DaemonListener[];
  /** At which address of ours phones ask; undefined: at all that they can reach. */
  readonly address: string | undefined;
  /** The name that phones are to use; undefined: that of the certificate. */
  readonly name: string | undefined;
  /** Certificates of authorities of one's own that phones get, PEM. */
  readonly authorities: readonly string[];
  /** The authorities that phones come with, PEM; left out: those of Node.js, which are Mozilla's. */
  readonly roots?: readonly string[];
  /** The path of the URL for queries over HTTPS. */
  readonly path: string;
  readonly nowMs: number;
}

/** A listener that phones may use, and what keeps them from it. */
export interface Service {
  readonly transport: 'tls' | 'https';
  /** Where phones ask it. */
  readonly addresses: readonly string[];
  readonly name: string | undefined;
  /** The URL for queries; undefined: over TLS. */
  readonly url: string | undefined;
  readonly obstacles: readonly Obstacle[];
  /** Whether phones accept the certificate only with an authority of one's own. */
  readonly isOwnAuthority: boolean;
}

/** What was found. */
export interface Found {
  /** The listeners that phones reach, with the one for TLS first. */
  readonly services: readonly Service[];
  /** What keeps phones of each kind from all of them; none: they can use one. */
  readonly obstacles: readonly Obstacle[];
}

const OPTIONS = { tls: 'listen_tls', https: 'listen_https' } as const;
const ALPN_OF = { tls: [ALPN], https: ['h2', 'http/1.1'] } as const;
const ALL: readonly Phones[] = ['android', 'apple'];

/** Looks at what a daemon serves. */
export async function look(at: LookAt): Promise<Found> {
  const services: Service[] = [];
  for (const transport of ['tls', 'https'] as const) {
    const all = at.listeners.filter(each => each.transport === transport).flatMap(expand);
    const [first, ...others] = all.filter(({ address }) => isReachable(address, at.address));
    if (first !== undefined) services.push(await lookAtService(at, transport, [first, ...others]));
  }
  const [{ name } = { name: undefined }] = services;
  if (services.length === 0) return { services, obstacles: [nothingListens(at)] };
  const found = name === undefined ? [] : await addressesOf(name, at.listeners);
  const led = services.map(each => ({ ...each, addresses: chosen(found, each.addresses) }));
  const elsewhere = name === undefined ? [] : nameObstacle(name, found, services);
  // With an authority of one's own, nobody expects that Android takes the name.
  const isExpected = !services.some(({ isOwnAuthority }) => isOwnAuthority);
  const android = isExpected ? [...androidObstacles(services), ...elsewhere] : [];
  return { services: led, obstacles: [...appleObstacles(services), ...android] };
}

/** Whether a phone can reach a listener at this address. @param wanted the address at which it shall */
const isReachable = (address: string, wanted: string | undefined): boolean =>
  wanted === undefined ? !isLoopback(address) && !isLinkLocal(address) : isSameAddress(address, wanted);

/**
 * The addresses that phones get. A machine has some that are none of the LAN, such as those of containers: the owner has
 * said which are, if the name has them.
 */
function chosen(found: readonly string[], ours: readonly string[]): readonly string[] {
  const led = ledTo(found, ours);
  if (led.length > 0) return led;
  // Clients with public addresses may mostly not ask (access.allow), and phones use these towards a public address.
  const inOrder = [...ours.filter(isPrivate), ...ours.filter(each => !isPrivate(each))];
  const first = (isV6: boolean): string[] => inOrder.filter(each => each.includes(':') === isV6).slice(0, 1);
  return [...first(false), ...first(true)];
}

function nothingListens({ listeners, address }: LookAt): Obstacle {
  const own = listeners.filter(({ transport }) => transport in OPTIONS);
  const advice = 'set listen_tls (docs/household.md), and restart the daemon';
  if (own.length === 0) return { phones: ALL, words: 'the daemon listens for neither TLS nor HTTPS', advice };
  const places = [...new Set(own.map(each => each.address))].join(', ');
  const words =
    address === undefined
      ? `the daemon listens for TLS and HTTPS at ${places} only, which no phone reaches`
      : `the daemon listens for TLS and HTTPS at ${places}, and not at ${address}`;
  return { phones: ALL, words, advice: 'add the address of this machine in the LAN to listen_tls.addresses' };
}

async function lookAtService(
  at: LookAt,
  transport: Service['transport'],
  listeners: readonly [ListenAddress, ...ListenAddress[]],
): Promise<Service> {
  const [{ address: host, port }] = listeners;
  const addresses = listeners.filter(each => each.port === port).map(({ address }) => address);
  const option = OPTIONS[transport];
  const about = { transport, addresses, isOwnAuthority: false, name: at.name, url: undefined };
  const target = { host, port, name: at.name, alpn: ALPN_OF[transport] };
  const first = await judgeChain(target, at.roots ?? rootCertificates);
  const own = typeof first !== 'string' && first.problem !== undefined && at.authorities.length > 0;
  const judged = own ? await judgeChain(target, at.authorities) : first;
  if (typeof judged === 'string') {
    const words = `${option}: there was no TLS session with ${host} port ${port} (${judged})`;
    return { ...about, obstacles: [{ phones: ALL, words, advice: '"dotstub status" says more' }] };
  }
  const name = nameOf(judged, at.name);
  if (typeof name !== 'string') return { ...about, obstacles: [name] };
  const url = transport === 'https' ? `https://${name}${port === HTTPS_PORT ? '' : `:${port}`}${at.path}` : undefined;
  const obstacles = [
    ...portObstacle(transport, port),
    ...obstaclesOf({ ...judged, name, option: `${option}.certificate`, isOwnAuthority: own, nowMs: at.nowMs }),
  ];
  return { ...about, name, url, obstacles, isOwnAuthority: own };
}

function nameOf({ certificates: [leaf] }: JudgedChain, given: string | undefined): string | Obstacle {
  return nameFor(leaf === undefined ? { names: [] } : certificateFacts(leaf.raw), given);
}

/** Neither Android nor a profile can say another port for DNS over TLS. */
function portObstacle(transport: Service['transport'], port: number): Obstacle[] {
  if (transport !== 'tls' || port === DOT_PORT) return [];
  const words = `listen_tls listens on port ${port}, and phones ask port ${DOT_PORT} alone`;
  return [{ phones: ALL, words, advice: `listen on port ${DOT_PORT}` }];
}

/** Whether something keeps phones of a kind. */
export const isBlocked = ({ obstacles }: Pick<Found, 'obstacles'>, kind: Phones): boolean =>
  obstacles.some(({ phones }) => phones.includes(kind));

function appleObstacles(services: readonly Service[]): readonly Obstacle[] {
  if (services.some(each => !isBlocked(each, 'apple'))) return [];
  return services.flatMap(({ obstacles }) => obstacles.filter(({ phones }) => phones.includes('apple')));
}

function androidObstacles(services: readonly Service[]): readonly Obstacle[] {
  const overTls = services.find(({ transport }) => transport === 'tls');
  if (overTls !== undefined) return overTls.obstacles.filter(({ phones }) => phones.includes('android'));
  const words = 'Android asks a host name over TLS alone, and the daemon listens for HTTPS alone';
  return [{ phones: ['android'], words, advice: 'set listen_tls' }];
}

/** Why an Android phone that looks the name up does not get here. Profiles have the addresses in them. */
function nameObstacle(name: string, found: readonly string[], services: readonly Service[]): Obstacle[] {
  const ours = [...new Set(services.flatMap(({ addresses }) => addresses))];
  if (ledTo(found, ours).length > 0) return [];
  const [own = ''] = chosen([], ours);
  const words =
    found.length === 0
      ? `${name} has no address, and an Android phone looks it up`
      : `${name} leads to ${found.join(', ')}, and not to ${ours.join(' or ')}`;
  const record = `"${name}. 300 ${own.includes(':') ? 'AAAA' : 'A'} ${own}"`;
  const advice = `add ${record} to local.records of this daemon, if phones ask it, or to the zone of the name`;
  return [{ phones: ['android'], words, advice }];
}

const MOST_ADDRESSES = 8;

/** The addresses of a name, as phones in this network get them: from the daemon, or else from the system. */
async function addressesOf(name: string, listeners: readonly DaemonListener[]): Promise<readonly string[]> {
  const daemon = listeners.find(({ transport }) => transport === 'udp');
  if (daemon === undefined) return systemAddresses(name);
  const found: string[] = [];
  for (const typeText of ['A', 'AAAA']) {
    const [owner, type] = [nameFromText(name), typeFromText(typeText)];
    if (owner === undefined || type === undefined) continue;
    const asked = await ask(reachable(daemon), questionOf(owner, type), false, false);
    const answers = (asked && messageToText(asked.reply))?.answers ?? [];
    found.push(...answers.filter(each => each.type === typeText).map(({ data }) => data));
  }
  return found.slice(0, MOST_ADDRESSES);
}

async function systemAddresses(name: string): Promise<readonly string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address).slice(0, MOST_ADDRESSES);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return [];
  }
}
