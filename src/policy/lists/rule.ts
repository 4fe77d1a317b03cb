// What a rule of a list is: which names it is about, and what becomes of them. A rule is a few bits beside the hash of its name.

import { isAtOrBelow, MAX_NAME_BYTES } from '../../wire/name.js';

/** The largest source of a list. */
export const MOST_LIST_BYTES = 1 << 28;

/** Which part of a query or an answer a rule looks at. */
export const TRIGGER = {
  /** The name that is asked for, or one that its aliases lead to. */
  name: 0,
  /** An address in the answer (RPZ IP). */
  address: 1,
  /** The name of a name server in the answer (RPZ NSDNAME). */
  server: 2,
} as const;
export type Trigger = (typeof TRIGGER)[keyof typeof TRIGGER];

/** For which names a rule is. */
export const SCOPE = {
  /** The name alone. */
  exact: 1,
  /** The name, and all below it. */
  subtree: 2,
  /** All below the name. */
  below: 3,
} as const;
export type Scope = (typeof SCOPE)[keyof typeof SCOPE];

/** What a rule does. */
export const EFFECT = {
  /** What `action` of its list says. */
  listed: 0,
  allow: 1,
  nxdomain: 2,
  nodata: 3,
  /** No reply at all. */
  drop: 4,
  /** The records that stand beside the rule. */
  data: 5,
} as const;
export type Effect = (typeof EFFECT)[keyof typeof EFFECT];

const SCOPE_MASK = 3;
const EFFECT_SHIFT = 2;
const EFFECT_MASK = 7;
const IMPORTANT = 1 << 5;
/** All bits of a rule. */
export const RULE_MASK = 63;

/** The bits of a rule. @param important whether it counts before those that are not ($important) */
export const ruleBits = (scope: Scope, effect: Effect, important = false): number =>
  scope | (effect << EFFECT_SHIFT) | (important ? IMPORTANT : 0);
export const scopeOf = (bits: number): number => bits & SCOPE_MASK;
export const effectOf = (bits: number): number => (bits >> EFFECT_SHIFT) & EFFECT_MASK;
export const isImportant = (bits: number): boolean => (bits & IMPORTANT) !== 0;

/** The formats of sources. */
export const LIST_FORMATS = ['auto', 'hosts', 'domains', 'adblock', 'rpz'] as const;
export type ListFormat = (typeof LIST_FORMATS)[number];

/** Why a line is not used, in words. */
export const SKIPPED = {
  browser: 'it is for browsers, not about names',
  regex: 'regular expressions are not used: their cost has no bound',
  pattern: 'a pattern that does not end at dots is not used',
  modifier: 'it has a modifier that is not known here',
  name: 'this is no domain name',
  rewrite: 'a hosts line of a list can only block: addresses of names belong into local data',
  syntax: 'it is not of the form of its list',
  trigger: 'this RPZ trigger is not known here',
  servers: 'answers of resolvers do not show the addresses of name servers, so RPZ rules about these are not used',
  action: 'this RPZ action is not known here',
  long: 'the line is too long',
  full: 'there are too many rules',
} as const;
export type Skipped = keyof typeof SKIPPED;

/** For whom, and for which names, a rule is not. */
export interface RuleLimit {
  /** Only for these groups of clients; empty: for all, ($client) */
  readonly only: readonly string[];
  /** but not for these. */
  readonly except: readonly string[];
  /** Not for these names and those below them ($denyallow), in wire form in lower case. */
  readonly exempt: readonly Buffer[];
}

/** The label `*`. */
export const WILDCARD = Buffer.from('\x01*', 'latin1');

/** A record of a rule with local data. The target of a CNAME may begin with WILDCARD: see `targetFor`. */
export interface LocalRecord {
  readonly type: number;
  readonly ttlSec: number;
  readonly rdata: Buffer;
}

/** The name that is meant by a target with WILDCARD, below which it makes names; undefined: it is another target. */
const gardenOf = ({ rdata }: LocalRecord): Buffer | undefined =>
  rdata.subarray(0, WILDCARD.length).equals(WILDCARD) ? rdata.subarray(WILDCARD.length) : undefined;

/**
 * Where an alias leads from a name: in place of WILDCARD stands all of the name, so that whoever answers there knows it.
 * @param name in wire form in lower case
 * @returns undefined: that would be too long
 */
export function targetFor(name: Buffer, alias: LocalRecord): Buffer | undefined {
  const garden = gardenOf(alias);
  if (garden === undefined) return alias.rdata;
  const bytes = name.length - 1 + garden.length;
  return bytes > MAX_NAME_BYTES ? undefined : Buffer.concat([name.subarray(0, -1), garden]);
}

/** Whether a name is where an alias leads already: it must not lead on from there. @param name in wire form in lower case */
export function isTargetOf(name: Buffer, alias: LocalRecord): boolean {
  const garden = gardenOf(alias);
  return garden === undefined ? name.equals(alias.rdata) : isAtOrBelow(name, garden);
}

/** Takes the rules of a source. Octets are borrowed. */
export interface RuleSink {
  /**
   * @param name the name in wire form in lower case, or for an address: 4 or 6, the prefix length, and the address
   * @param bytes how many octets of `name` count
   * @param line where the rule stands, from 1
   */
  rule(trigger: Trigger, name: Uint8Array, bytes: number, bits: number, line: number): void;
  /**
   * The rule of a line, which comes next, is not for all.
   * @returns false: the limit cannot be kept, and the rule must not be used without it
   */
  limit(line: number, limit: RuleLimit): boolean;
  /** A record for the rule of a line. */
  record(line: number, record: LocalRecord): void;
  /** A line is not used. `text`: what stands there. */
  skip(line: number, why: Skipped, text: string): void;
}
