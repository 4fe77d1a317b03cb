// Finds the TLSA records of a server (RFC 7671 §7): those of the port of its name, or, if these do not exist and the
// name is an alias, those of the port of the name that it is an alias for. All of that must be proven by DNSSEC.

import { isCertificateName } from '../base/host-name.js';
import { type Failure, failureWords, isDnssecFailure } from '../base/outcome.js';
import { lowerCased, nameFromText, nameToText, readName, type WireName } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import { readTlsa } from '../wire/tlsa.js';
import type { TlsaSet } from './dane.js';
import type { Upstream } from './pool.js';

/** What validation says about an answer. */
export type ProvenAnswer =
  /** RDATA of the records, aliases followed; empty: it is proven that there are none. */
  | { readonly at: 'secure'; readonly rdata: readonly Buffer[]; readonly ttlSec: number }
  /** The zone is not signed. */
  | { readonly at: 'insecure' }
  /** Bogus, or not received. */
  | Failure;

/**
 * Looks records up and validates them.
 * @param name lower case
 * @param over asks the question, and all others that validation needs
 * @param take called once
 */
export type ProvenLookup = (name: WireName, type: number, over: Upstream, take: (answer: ProvenAnswer) => void) => void;

/** The records, or why there are none that could be used. */
export type TlsaFound =
  | { readonly at: 'found'; readonly set: TlsaSet; readonly ttlSec: number }
  | { readonly at: 'refused'; readonly detail: string };

/** The most aliases that are followed from a server's name. */
const MOST_ALIASES = 4;

/** The owner of the TLSA records of a server (RFC 6698 §3), as text. */
export const tlsaOwner = (name: string, port: number): string => `_${port}._tcp.${name}.`;

/**
 * Looks up the TLSA records of a server.
 * @param take called once
 */
export function lookUpTlsa(
  lookup: ProvenLookup,
  over: Upstream,
  { name, port }: { readonly name: string; readonly port: number },
  take: (found: TlsaFound) => void,
): void {
  new TlsaLookup(lookup, over, name, port, take).askTlsa();
}

class TlsaLookup {
  /** The names so far: the server's own, and those that it is an alias for. */
  private readonly names: string[];
  /** The lowest TTL of everything that the result depends on. */
  private ttlSec = Infinity;

  constructor(
    private readonly lookup: ProvenLookup,
    private readonly over: Upstream,
    name: string,
    private readonly port: number,
    private readonly take: (found: TlsaFound) => void,
  ) {
    this.names = [name.toLowerCase()];
  }

  askTlsa(): void {
    this.ask(this.owner, TYPE.TLSA, answer => {
      switch (answer.at) {
        case 'failure':
          return this.refuse(
            isDnssecFailure(answer.code)
              ? `the TLSA records of ${this.owner} are bogus: ${failureWords(answer)}`
              : `the TLSA records of ${this.owner} were not received: ${failureWords(answer)}`,
          );
        case 'insecure':
          return this.refuse(
            `${this.owner} is in a zone that is not signed or counts as unsigned here (negative trust anchors, special names), so its TLSA records would prove nothing: ask its operator for DNSSEC, or configure the server without dane`,
          );
        case 'secure':
          this.ttlSec = Math.min(this.ttlSec, answer.ttlSec);
          return answer.rdata.length > 0 ? this.found(answer.rdata) : this.askAlias();
      }
    });
  }

  /** There are no records there. Is the server's name an alias? */
  private askAlias(): void {
    if (this.names.length > MOST_ALIASES) return this.missing();
    this.ask(this.name, TYPE.CNAME, answer => {
      const [target] = answer.at === 'secure' ? answer.rdata : [];
      const name = target === undefined ? undefined : hostName(target);
      if (answer.at !== 'secure' || name === undefined || this.names.includes(name)) return this.missing();
      this.ttlSec = Math.min(this.ttlSec, answer.ttlSec);
      this.names.push(name);
      this.askTlsa();
    });
  }

  private ask(name: string, type: number, take: (answer: ProvenAnswer) => void): void {
    const wire = nameFromText(name);
    if (wire === undefined) this.refuse(`${name} is not a domain name`);
    else this.lookup(lowerCased(wire), type, this.over, take);
  }

  /** The server's name, or the last one that it is an alias for. */
  private get name(): string {
    return this.names.at(-1) ?? '';
  }

  private get owner(): string {
    return tlsaOwner(this.name, this.port);
  }

  private found(rdata: readonly Buffer[]): void {
    const { owner, names, ttlSec } = this;
    const records = rdata.flatMap(each => readTlsa(each) ?? []);
    this.take({ at: 'found', set: { owner, names, records }, ttlSec });
  }

  private missing(): void {
    const owners = this.names.map(name => tlsaOwner(name, this.port)).join(' and ');
    this.refuse(`there are no TLSA records at ${owners}, which DNSSEC proves: its operator does not offer DANE there`);
  }

  private refuse(detail: string): void {
    this.take({ at: 'refused', detail });
  }
}

/** RDATA of a CNAME as a host name without its final dot; undefined: a certificate cannot hold it. */
function hostName(rdata: Buffer): string | undefined {
  const read = readName(rdata, 0);
  const text = read && nameToText(lowerCased(read.name)).slice(0, -1);
  return text !== undefined && isCertificateName(text) ? text : undefined;
}
