// Negative trust anchors (RFC 7646): subtrees that are taken as unsigned. Those of the configuration stay, those set while
// running end by themselves, and names that are nobody's in the public tree have one from the start.

import { isWithin, type Name, nameOf } from './name.js';
import { nameFromText } from '../wire/name.js';

/** A negative trust anchor. */
export interface NegativeAnchor {
  readonly name: Name;
  /** On the age clock; Infinity: it stays. */
  readonly untilSec: number;
}

/** The table. */
export interface NegativeAnchors {
  /** The one that covers a name; undefined: none does. */
  covering(name: Name): Name | undefined;
  add(name: Name, forSec: number): void;
  /** False: there was none that can be taken away. */
  remove(name: Name): boolean;
  /** Replaces those of the configuration; returns the names that came or went. */
  configure(names: readonly string[]): Name[];
  /** Those that were set, without those from the start. */
  readonly list: readonly NegativeAnchor[];
}

/** More than that, and it is no exception any more. */
const MOST = 256;

/**
 * Names whose answers come from the local network, if from anywhere: RFC 6762 §3 and Appendix G, RFC 8375, ICANN's
 * "internal", and the reverse zones of RFC 6303 §4 and RFC 7793.
 */
const LOCAL: readonly string[] = [
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

/**
 * Makes the table.
 * @param configured presentation form
 */
export function negativeAnchors(configured: readonly string[], nowSec: () => number): NegativeAnchors {
  const local = new Set(LOCAL.map(nameFrom));
  let set: readonly NegativeAnchor[] = configured.map(text => ({ name: nameFrom(text), untilSec: Infinity }));
  const current = (): readonly NegativeAnchor[] => {
    const now = nowSec();
    if (set.some(({ untilSec }) => untilSec <= now)) set = set.filter(({ untilSec }) => untilSec > now);
    return set;
  };
  return {
    covering(name) {
      const own = set.length === 0 ? undefined : current().find(each => isWithin(name, each.name));
      if (own !== undefined) return own.name;
      for (let at = 0; at < name.length - 1; at += name.charCodeAt(at) + 1) {
        const ancestor = at === 0 ? name : name.slice(at);
        if (local.has(ancestor)) return ancestor;
      }
      return undefined;
    },
    add(name, forSec) {
      set = [...current().filter(each => each.name !== name), { name, untilSec: nowSec() + forSec }].slice(-MOST);
    },
    remove(name) {
      const before = current();
      set = before.filter(each => each.name !== name);
      return set.length < before.length;
    },
    configure(names) {
      const before = current()
        .filter(({ untilSec }) => untilSec === Infinity)
        .map(({ name }) => name);
      const wanted = names.map(nameFrom);
      set = [
        ...wanted.map(name => ({ name, untilSec: Infinity })),
        ...current().filter(({ name, untilSec }) => untilSec !== Infinity && !wanted.includes(name)),
      ].slice(0, MOST);
      return [...before.filter(name => !wanted.includes(name)), ...wanted.filter(name => !before.includes(name))];
    },
    get list() {
      return current();
    },
  };
}
