// Where this daemon offers DNS over TLS and DNS over HTTPS, for clients that ask it in cleartext (RFC 9462 §4): what the
// answer about _dns.resolver.arpa says. Pure: it is worked out from the listeners and their certificate.

import { addressOctets, isAnyAddress, isLinkLocal, isLoopback } from '../base/address.js';
import { DOT_PORT, HTTPS_PORT } from '../base/port-numbers.js';
import type { RecordData, RecordSections } from '../wire/compose.js';
import { nameFromText } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { MOST_HINTS, writeServiceParameters } from '../wire/service-parameters.js';
import { svcbRdata } from '../wire/svcb.js';
import { announcedName, type CertificateFacts, coversAddress, isInForce } from './server-certificate.js';

/** How long clients may keep what they are told. Certificates, addresses and the configuration change. */
export const DESIGNATION_TTL_SEC = 300;

/** An address with a port. */
interface Place {
  readonly address: string;
  readonly port: number;
}

/** A listener that clients may be told about. */
export interface PrivateListener {
  /** `dot`: DNS over TLS. `h2`: DNS over HTTPS, with its path. */
  readonly protocol: { readonly alpn: 'dot' } | { readonly alpn: 'h2'; readonly path: string };
  readonly places: readonly Place[];
  /** Undefined: there is none, or none that can be read. */
  readonly certificate: CertificateFacts | undefined;
  /** Whether the configuration wants it announced. */
  readonly announces: boolean;
}

/** What it is worked out from. */
export interface DesignationFacts {
  /** Where queries in cleartext are taken. */
  readonly plain: readonly Place[];
  /** In the order of preference. */
  readonly listeners: readonly PrivateListener[];
  /** The addresses of this machine, which a wildcard stands for. */
  readonly own: readonly string[];
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** One offer: a protocol at a port of some addresses. */
export interface Service {
  readonly protocol: PrivateListener['protocol'];
  /** The name that its certificate is for. */
  readonly name: string;
  readonly port: number;
  readonly addresses: readonly string[];
}

/** What clients are told. */
export interface OwnDesignation {
  readonly services: readonly Service[];
  /**
   * Addresses at which clients ask in cleartext, and which a certificate of a service does not hold: clients that verify
   * what they have discovered (§4.2) do not use it there.
   */
  readonly unverified: readonly string[];
}

/** What clients are told, or why they are told nothing. */
export type OwnDesignationResult =
  | { readonly at: 'designated'; readonly designation: OwnDesignation }
  | { readonly at: 'nothing'; readonly why: string };

/** Works it out. Undefined: there is no listener that clients could be told about. */
export function ownDesignation(facts: DesignationFacts): OwnDesignationResult | undefined {
  const listeners = facts.listeners.filter(({ places }) => places.length > 0);
  if (listeners.length === 0) return undefined;
  const plain = facts.plain.flatMap(({ address }) => servedAddresses(address, facts.own));
  const found = listeners.map(each => servicesOf(each, plain, facts));
  const services = found.flatMap(each => (typeof each === 'string' ? [] : each));
  if (services.length === 0) return { at: 'nothing', why: found.find(each => typeof each === 'string') ?? '' };
  const certificates = listeners.flatMap((each, i) => (typeof found[i] === 'string' ? [] : (each.certificate ?? [])));
  // Programs of this machine ask at loopback addresses; they need no discovery.
  const asked = plain.filter(address => plain.every(isLoopback) || !isLoopback(address));
  const unverified = asked.filter(address => !certificates.every(each => coversAddress(each, address)));
  return { at: 'designated', designation: { services, unverified: [...new Set(unverified)] } };
}

/** What a listener offers, by port, or why clients are not told about it. */
function servicesOf(
  { protocol, places, certificate, announces }: PrivateListener,
  plain: readonly string[],
  { own, nowMs }: DesignationFacts,
): readonly Service[] | string {
  if (!announces) return 'the configuration says so';
  if (certificate === undefined) return 'there is no certificate';
  if (!isInForce(certificate, nowMs)) return 'the certificate is not valid now';
  const name = announcedName(certificate);
  if (name === undefined) return 'the certificate has no DNS name that is not a wildcard';
  // Loopback addresses are something else for clients on other machines.
  const isLocal = plain.every(isLoopback);
  const ports = new Map<number, string[]>();
  for (const { address, port } of places) {
    const reached = servedAddresses(address, own).filter(each => isLocal || !isLoopback(each));
    if (reached.length > 0) ports.set(port, [...(ports.get(port) ?? []), ...reached]);
  }
  if (ports.size === 0) return 'it listens at loopback addresses only';
  return [...ports].map(([port, addresses]) => ({ protocol, name, port, addresses: [...new Set(addresses)] }));
}

/** The addresses that an address of a listener stands for. Link-local ones mean something else on each link. */
function servedAddresses(address: string, own: readonly string[]): readonly string[] {
  if (!isAnyAddress(address)) return isLinkLocal(address) ? [] : [address];
  return own.filter(each => each.includes(':') === address.includes(':') && !isLinkLocal(each));
}

const RESOLVER = '_dns.resolver.arpa';
/** The first label of the names about resolvers (RFC 9461 §3), with its length octet. */
const DNS_LABEL = '\x04_dns';

/** Whether a question may be one about a resolver. @param name wire form, lower case, one character per octet */
export const isAboutResolver = (name: string, type: number): boolean =>
  type === TYPE.SVCB && name.startsWith(DNS_LABEL);

/** The names whose SVCB records say it: the one for every resolver (§4), and the one of each name itself (§5). */
export const designatedNames = ({ services }: OwnDesignation): readonly string[] => [
  RESOLVER,
  ...new Set(services.map(({ name }) => `_dns.${name}`)),
];

/**
 * The records for one of these names: SVCB, and with them the addresses of their targets (§4).
 * @param owner wire form
 */
export function designationRecords(
  { services }: OwnDesignation,
  owner: Buffer,
): Required<Omit<RecordSections, 'authority'>> {
  const ttlSec = DESIGNATION_TTL_SEC;
  const answer = services.flatMap((service, i): RecordData[] => {
    const target = nameFromText(service.name);
    return target === undefined
      ? []
      : [{ owner, type: TYPE.SVCB, ttlSec, rdata: svcbRdata(i + 1, target, parametersOf(service)) }];
  });
  const additional = [...new Set(services.map(({ name }) => name))].flatMap(name => {
    const target = nameFromText(name);
    const addresses = services.filter(each => each.name === name).flatMap(each => hintsOf(each.addresses));
    return target === undefined ? [] : addressRecords(target, [...new Set(addresses)]);
  });
  return { answer, additional };
}

const addressRecords = (owner: Buffer, addresses: readonly string[]): RecordData[] =>
  addresses.flatMap(address => {
    const rdata = addressOctets(address);
    if (rdata === undefined) return [];
    return [{ owner, type: rdata.length === 4 ? TYPE.A : TYPE.AAAA, ttlSec: DESIGNATION_TTL_SEC, rdata }];
  });

function parametersOf({ protocol, port, addresses }: Service): Buffer {
  return writeServiceParameters({
    alpn: [protocol.alpn],
    port: port === (protocol.alpn === 'dot' ? DOT_PORT : HTTPS_PORT) ? undefined : port,
    hints: hintsOf(addresses),
    dohpath: protocol.alpn === 'h2' ? `${protocol.path}{?dns}` : undefined,
  });
}

/** Of each family, as many as clients read. */
const hintsOf = (addresses: readonly string[]): readonly string[] =>
  [false, true].flatMap(is6 => addresses.filter(each => each.includes(':') === is6).slice(0, MOST_HINTS));
