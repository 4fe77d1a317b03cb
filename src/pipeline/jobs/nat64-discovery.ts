// Finds the prefix of the network's translator (NAT64) by asking for addresses that only DNS64 can make: AAAA of
// ipv4only.arpa (RFC 7050). The answer counts for its TTL, and until the network changes.

import type { Clock } from '../../base/ports.js';
import { RCODE, type Failure } from '../../base/outcome.js';
import { monoAfter, type MonoMs } from '../../base/time.js';
import { nameOf } from '../../dnssec/name.js';
import { isSamePrefix, type Nat64Prefix, prefixAmong } from '../../policy/nat64.js';
import type { Upstream, UpstreamReply } from '../../upstream/pool.js';
import { ScannedRecords } from '../../wire/records.js';
import { CLASS_IN, TYPE } from '../../wire/rrtype.js';
import { ownQuery } from '../internal-query.js';
import type { Job, JobRun } from './jobs.js';

/** The parts that it uses. */
export interface Nat64DiscoveryParts {
  readonly clock: Clock;
  readonly upstream: Upstream;
  /** The prefix has changed: ready replies have the one of before. */
  readonly changed: (prefix: Nat64Prefix | undefined) => void;
  /** It must look at the time of the job again. */
  readonly due: () => void;
}

const IPV4ONLY = nameOf(Buffer.from('\x08ipv4only\x04arpa\0', 'latin1'));
/** After a failure it asks again, ever more rarely. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 3_600_000;
/** How long an answer counts that there is no translator, ms. */
const NONE_MS = 3_600_000;
/** A prefix is asked for anew shortly before its TTL is over (RFC 7050 §3), but neither all the time nor never. */
const BEFORE_END_SEC = 10;
const LEAST_SEC = 60;
const MOST_SEC = 86_400;
/** The most addresses that are looked at. */
const MOST_ADDRESSES = 16;
const V6_BYTES = 16;

type State =
  | { readonly at: 'off' }
  /** It asks, or will ask again after so many failures. A prefix that was found before counts meanwhile. */
  | { readonly at: 'asking'; readonly failures: number }
  /** It has an answer. */
  | { readonly at: 'known' };

/** What an answer says. */
export interface Discovered {
  /** Undefined: there is no translator, as far as the server knows. */
  readonly prefix: Nat64Prefix | undefined;
  /** The shortest TTL of the addresses. */
  readonly ttlSec: number;
}

/** The discovery. */
export class Nat64Discovery {
  private state: State = { at: 'off' };
  private found: Nat64Prefix | undefined = undefined;
  private nextAt: MonoMs;
  /** Grows with each network: an answer that comes after a change is about the network of before. */
  private generation = 0;

  constructor(private readonly parts: Nat64DiscoveryParts) {
    this.nextAt = parts.clock.monotonicMs();
  }

  /** The prefix; undefined: none was found, or none is looked for. */
  get prefix(): Nat64Prefix | undefined {
    return this.found;
  }

  /** Switches it on or off. */
  configure(isOn: boolean): void {
    if (isOn === (this.state.at !== 'off')) return;
    if (isOn) return this.begin();
    this.state = { at: 'off' };
    this.generation++;
    this.take(undefined);
    this.parts.due();
  }

  /** Another network, or other servers: what was found counts no more. */
  networkChanged(): void {
    if (this.state.at === 'off') return;
    this.take(undefined);
    this.begin();
  }

  readonly job: Job = {
    name: 'nat64-prefix',
    dueInMs: () => (this.state.at === 'off' ? Infinity : Math.max(0, this.nextAt - this.parts.clock.monotonicMs())),
    run: run => this.run(run),
  };

  private begin(): void {
    this.generation++;
    this.state = { at: 'asking', failures: 0 };
    this.nextAt = this.parts.clock.monotonicMs();
    this.parts.due();
  }

  private run(run: JobRun): void {
    const { generation } = this;
    if (this.state.at === 'off') return run.done();
    // Without CD (RFC 7050 §3) and without DO: with both, nothing is made (RFC 6147 §5.5).
    const { upstream } = this.parts;
    const query = ownQuery(IPV4ONLY, TYPE.AAAA, { checkingDisabled: false, avoid: [] }).derive({ dnssecOk: false });
    upstream.exchange(query, TYPE.AAAA, reply => {
      if (!run.closed && generation === this.generation) this.took(reply);
      run.done();
    });
  }

  private took(reply: UpstreamReply | Failure): void {
    const said = reply.at === 'failure' ? undefined : discovered(reply);
    if (said === undefined) {
      const failures = this.state.at === 'asking' ? this.state.failures + 1 : 1;
      this.state = { at: 'asking', failures };
      return this.again(Math.min(RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS));
    }
    this.state = { at: 'known' };
    this.take(said.prefix);
    const leftSec = Math.min(Math.max(said.ttlSec - BEFORE_END_SEC, LEAST_SEC), MOST_SEC);
    this.again(said.prefix === undefined ? NONE_MS : 1000 * leftSec);
  }

  private again(afterMs: number): void {
    this.nextAt = monoAfter(this.parts.clock.monotonicMs(), afterMs);
  }

  private take(prefix: Nat64Prefix | undefined): void {
    if (isSamePrefix(prefix, this.found)) return;
    this.found = prefix;
    this.parts.changed(prefix);
  }
}

/** Reads an answer. @returns undefined: it is an error, or cut */
export function discovered({ message, scan }: Pick<UpstreamReply, 'message' | 'scan'>): Discovered | undefined {
  if (scan.truncated || (scan.rcode !== RCODE.NOERROR && scan.rcode !== RCODE.NXDOMAIN)) return undefined;
  const record = new ScannedRecords({ octets: message, ...scan }, scan.questionEnd);
  const addresses: Buffer[] = [];
  let ttlSec = Infinity;
  while (record.next() && record.section === 'answer' && addresses.length < MOST_ADDRESSES) {
    if (record.type !== TYPE.AAAA || record.class !== CLASS_IN || record.rdataBytes !== V6_BYTES) continue;
    addresses.push(message.subarray(record.rdata, record.end));
    ttlSec = Math.min(ttlSec, record.ttlSec);
  }
  return { prefix: prefixAmong(addresses), ttlSec };
}
