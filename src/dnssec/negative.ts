// Negative trust anchors (RFC 7646): subtrees that count as unsigned. There are three kinds, and a name may have
// several at once: special names have one from the start, the configuration sets some, and an operator sets temporary
// ones.

import { ageAfter, type AgeSec } from '../base/time.js';
import { nameFromText } from '../wire/name.js';
import { type Name, nameOf } from './name.js';

/** A negative trust anchor of the configuration or of an operator. A name may have both. */
export type NegativeAnchor =
  | { readonly at: 'configured'; readonly name: Name }
  /** Set while running; it ends by itself. */
  | { readonly at: 'temporary'; readonly name: Name; readonly until: AgeSec };

/** The result of removing one. */
export type NegativeAnchorRemoval =
  /** The temporary one was removed; a configured one at the same name stays. */
  | 'removed'
  /** Only the configuration has one, and it can be removed only there. */
  | 'configured'
  | 'none';

const NONE: readonly Name[] = [];

/** The most temporary ones. */
const MOST_TEMPORARY = 256;

/**
 * Names that only the local network can answer: RFC 6762 §3 and Appendix G, RFC 8375, ICANN's "internal", and the
 * reverse zones of RFC 6303 §4 and RFC 7793.
 */
const SPECIAL_NAMES: readonly string[] = [
  'local',
  'home.arpa',
  'internal',
  'intranet',
  'private',
  'corp',
  'home',
  'lan',
  'test',
  'invalid',
  'localhost',
  'onion',
  'alt',
  '10.in-addr.arpa',
  ...Array.from({ length: 16 }, (_, i) => `${16 + i}.172.in-addr.arpa`),
  '168.192.in-addr.arpa',
  '254.169.in-addr.arpa',
  '0.in-addr.arpa',
  '127.in-addr.arpa',
  '2.0.192.in-addr.arpa',
  '100.51.198.in-addr.arpa',
  '113.0.203.in-addr.arpa',
  '255.255.255.255.in-addr.arpa',
  ...Array.from({ length: 64 }, (_, i) => `${64 + i}.100.in-addr.arpa`),
  `${'0.'.repeat(32)}ip6.arpa`,
  `1.${'0.'.repeat(31)}ip6.arpa`,
  'd.f.ip6.arpa',
  '8.e.f.ip6.arpa',
  '9.e.f.ip6.arpa',
  'a.e.f.ip6.arpa',
  'b.e.f.ip6.arpa',
  '8.b.d.0.1.0.0.2.ip6.arpa',
];

const nameFrom = (text: string): Name => nameOf(nameFromText(text) ?? Buffer.from([0]));

/** The table. */
export class NegativeAnchors {
  private readonly special: ReadonlySet<Name> = new Set(SPECIAL_NAMES.map(nameFrom));
  private configured: ReadonlySet<Name>;
  /** When each ends, by name, in the order in which they were set. */
  private readonly temporary = new Map<Name, AgeSec>();

  constructor(
    configured: readonly Name[],
    private readonly ageNow: () => AgeSec,
  ) {
    this.configured = new Set(configured);
  }

  /**
   * Whether a name counts as unsigned, although it is at or below a trust anchor. A trust anchor below a negative one has
   * precedence (RFC 7646 §2). At the same name, the negative one has it, unless it is only that of a special name: nobody
   * configures a trust anchor there for nothing.
   */
  covers(name: Name, trustAnchor: Name): boolean {
    const lastAt = name.length - trustAnchor.length;
    for (let at = 0; at <= lastAt; at += name.charCodeAt(at) + 1) {
      const ancestor = at === 0 ? name : name.slice(at);
      if (this.configured.has(ancestor) || this.isTemporary(ancestor)) return true;
      if (at < lastAt && this.special.has(ancestor)) return true;
    }
    return false;
  }

  private isTemporary(name: Name): boolean {
    if (this.temporary.size === 0) return false;
    const until = this.temporary.get(name);
    return until !== undefined && this.ageNow() < until;
  }

  private dropEnded(): void {
    const now = this.ageNow();
    for (const [name, until] of this.temporary) if (until <= now) this.temporary.delete(name);
  }

  /** Sets a temporary one, or changes its end; false: there are too many. */
  add(name: Name, forSec: number): boolean {
    this.dropEnded();
    if (this.temporary.size >= MOST_TEMPORARY && !this.temporary.has(name)) return false;
    this.temporary.delete(name);
    this.temporary.set(name, ageAfter(this.ageNow(), forSec));
    return true;
  }

  /** Removes a temporary one. */
  remove(name: Name): NegativeAnchorRemoval {
    this.dropEnded();
    if (this.temporary.delete(name)) return 'removed';
    return this.configured.has(name) ? 'configured' : 'none';
  }

  /** Replaces those of the configuration; returns the names that came or went. Temporary ones stay. */
  configure(names: readonly Name[]): Name[] {
    const before = this.configured;
    const wanted = new Set(names);
    this.configured = wanted;
    return [...[...before].filter(name => !wanted.has(name)), ...[...wanted].filter(name => !before.has(name))];
  }

  /** The names of the temporary ones, in order. */
  get temporaryNames(): readonly Name[] {
    if (this.temporary.size === 0) return NONE;
    this.dropEnded();
    return [...this.temporary.keys()].sort();
  }

  /** All but those of special names. */
  get list(): readonly NegativeAnchor[] {
    this.dropEnded();
    return [
      ...[...this.configured].map(name => ({ at: 'configured' as const, name })),
      ...[...this.temporary].map(([name, until]) => ({ at: 'temporary' as const, name, until })),
    ];
  }
}

/** Makes the table. */
export const negativeAnchors = (configured: readonly Name[], ageNow: () => AgeSec): NegativeAnchors =>
  new NegativeAnchors(configured, ageNow);
