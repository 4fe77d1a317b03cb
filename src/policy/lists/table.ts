// The rules of all lists as one table: made once, handed from thread to thread, never changed.
//
//   head    32-bit words, see HEAD
//   filter  a bit for each value of the lowest bits of a first hash: 0 where no rule has it. It stays in the processor's cache, and
//           most names are on no list
//   slots   three words each: first hash · second hash, whose lowest six bits are those of the rule · place of the rule; 0: empty
//
// Slots are in the order of their first hash, with a gap for every third of them. So a search begins where the hash says, and ends
// at the first slot that is empty or beyond it: two cache lines, mostly.
//
// A name itself is not stored. A name that is on no list is taken for one that is where 58 bits are equal by chance: for a million rules
// once in 2.7 * 10^11 searches. A household that looks up a hundred thousand names, with four names above each, meets that with a
// probability of 1 in 700,000. The key of the hash is chosen anew each time that a table is made, so nobody can aim at it, and it is
// gone after the next refresh. Only while a source cannot be read, whose rules are taken from the table of before, the key
// stays.

import { type HashKey, NameHash } from './name-hash.js';
import { RULE_MASK, TRIGGER, type Trigger } from './rule.js';

/** Triggers that are names. */
type NamedTrigger = Exclude<Trigger, typeof TRIGGER.address>;

const SLOT_WORDS = 3;
/** Slots in use, of all. */
const LOAD = 0.75;
/** Slots after the last place that a hash may have: the last rules of the order may be moved there. */
const MOST_SPARE_SLOTS = 4096;
/** Bits of the filter for each rule, at least: one search in eight gets past it by chance. */
const FILTER_BITS = 8;
const HALF = 2 ** 31;
const WHOLE = 2 ** 32;

const HEAD = {
  /** Places that a hash may have; there are spare slots behind them. */
  places: 0,
  rules: 1,
  firstKey: 2,
  secondKey: 3,
  /** Four words of bits: at which depths there are rules about names. */
  nameDepths: 4,
  /** Which lengths prefixes of IPv4 have: two words, */
  lengths4: 8,
  /** and of IPv6: five words. */
  lengths6: 10,
  /** At which depths there are rules about name servers: four words. */
  serverDepths: 15,
  /** Words of the filter, a power of two. */
  filterWords: 19,
  words: 20,
} as const;

/** Where a rule stands: its source, and its line there. */
const LINE_BITS = 24;
/** This line, and all behind it, are one place. */
export const MOST_LINE = 2 ** LINE_BITS - 1;
/** The most sources of all lists. */
export const MOST_SOURCES = 256;
/** The most rules of all lists: 140 MB. */
export const MOST_RULES = 8_000_000;

/** More than the table of as many rules takes. */
export const MOST_TABLE_BYTES = 1 << 28;

/** A place in one word. Lines behind the last that fits count as that one. */
export const placeOf = (source: number, line: number): number => (source << LINE_BITS) | Math.min(line, MOST_LINE);
export const sourceOf = (place: number): number => place >>> LINE_BITS;
export const lineOf = (place: number): number => place & MOST_LINE;

/**
 * The most rules of one source for one name: they differ in what they do, in the part of the name, and in the clients.
 * It bounds the row of slots with one hash, which every search for the name reads, and which each new rule must pass.
 */
const MOST_ALIKE = 32;

const CHUNK_RULES = 1 << 16;
/** Rules that are put into their places without a pause: some 50 microseconds. */
const BLOCK_RULES = 1 << 9;

/** What is known about rules beside the table. */
export interface RuleFacts {
  /** Whether nothing hangs on the line of a rule: then an equal rule elsewhere in its source is the same rule. */
  readonly isPlain: (place: number) => boolean;
  /** Called with each rule that is left out: the same one is there already, or there are too many for its name. */
  readonly leftOut: (place: number, why: 'same' | 'full') => void;
  /** Called every few hundred rules. */
  readonly pause: () => void;
}

const PLAIN: RuleFacts = { isPlain: () => true, leftOut: () => undefined, pause: () => undefined };

/** Collects rules, and makes the table of them. */
export class TableBuilder {
  private readonly hash: NameHash;
  private readonly chunks: Int32Array[] = [];
  private readonly head = new Int32Array(HEAD.words);
  private count = 0;

  constructor(key: HashKey) {
    this.hash = new NameHash(key);
    this.head[HEAD.firstKey] = key.first;
    this.head[HEAD.secondKey] = key.second;
  }

  /** Adds a rule, see RuleSink. @returns false: there are too many */
  add(trigger: Trigger, name: Uint8Array, bytes: number, bits: number, place: number): boolean {
    if (this.count >= MOST_RULES) return false;
    const { hash, head } = this;
    if (trigger === TRIGGER.address) {
      hash.readOctets(trigger, name, bytes);
      setBit(head, name[0] === 4 ? HEAD.lengths4 : HEAD.lengths6, name[1] ?? 0);
    } else {
      hash.read(trigger, name);
      setBit(head, depthsOf(trigger), hash.depth);
    }
    this.append(hash.first[hash.depth] ?? 0, ((hash.second[hash.depth] ?? 0) & ~RULE_MASK) | bits, place);
    return true;
  }

  /**
   * Adds the rules that a source has in another table, which must have the same key.
   * @param from the source there
   * @param to the source here
   * @returns how many were added
   */
  carry(table: ListTable, from: number, to: number): number {
    const { head, count } = this;
    // Depths and lengths of other sources make searches longer, and find nothing.
    table.shapes.forEach((word, i) => (head[HEAD.nameDepths + i] = (head[HEAD.nameDepths + i] ?? 0) | word));
    for (const [first, second, place] of table.rulesOf(from))
      if (this.count < MOST_RULES) this.append(first, second, placeOf(to, lineOf(place)));
    return this.count - count;
  }

  private append(first: number, second: number, place: number): void {
    const within = this.count % CHUNK_RULES;
    if (within === 0) this.chunks.push(new Int32Array(CHUNK_RULES * SLOT_WORDS));
    const chunk = this.chunks[this.chunks.length - 1];
    if (chunk === undefined) return;
    chunk[within * SLOT_WORDS] = first;
    chunk[within * SLOT_WORDS + 1] = second;
    chunk[within * SLOT_WORDS + 2] = place;
    this.count++;
  }

  /** The table. Plain rules that one source has twice are in it once. */
  finish(facts = PLAIN): ArrayBuffer {
    const { count, head, chunks } = this;
    const places = Math.ceil(count / LOAD) + 1;
    const spare = Math.min(count, MOST_SPARE_SLOTS) + 1;
    const filterWords = 2 ** Math.ceil(Math.log2(Math.max(1, (count * FILTER_BITS) / 32)));
    const memory = new ArrayBuffer((HEAD.words + filterWords + (places + spare) * SLOT_WORDS) * 4);
    const filter = new Int32Array(memory, HEAD.words * 4, filterWords);
    const slots = new Int32Array(memory, (HEAD.words + filterWords) * 4);
    const table = { slots, places, filter };
    let rules = 0;
    for (let from = 0; from < count; from += BLOCK_RULES) {
      const chunk = chunks[Math.floor(from / CHUNK_RULES)];
      const within = (from % CHUNK_RULES) * SLOT_WORDS;
      const words = Math.min(BLOCK_RULES, count - from) * SLOT_WORDS;
      if (chunk !== undefined) rules += insertAll(table, chunk.subarray(within, within + words), facts);
      facts.pause();
    }
    chunks.length = 0;
    head[HEAD.places] = places;
    head[HEAD.rules] = rules;
    head[HEAD.filterWords] = filterWords;
    new Int32Array(memory, 0, HEAD.words).set(head);
    return memory;
  }
}

/** Where the depths of rules of a trigger stand. */
const depthsOf = (trigger: NamedTrigger): number => (trigger === TRIGGER.name ? HEAD.nameDepths : HEAD.serverDepths);

/** The slot that a search for a hash begins at, in words. */
const slotOf = (first: number, places: number): number => Math.floor((first + HALF) * (places / WHOLE)) * SLOT_WORDS;

interface OpenTable {
  readonly slots: Int32Array;
  readonly places: number;
  readonly filter: Int32Array;
}

/** Puts rules into their places. @returns how many there are now that were not there before */
function insertAll({ slots, places, filter }: OpenTable, rules: Int32Array, facts: RuleFacts): number {
  const filterMask = filter.length * 32 - 1;
  let inserted = 0;
  for (let at = 0; at < rules.length; at += SLOT_WORDS) {
    const first = rules[at] ?? 0;
    const place = rules[at + 2] ?? 0;
    const why = insert(slots, places, first, rules[at + 1] ?? 0, place, facts.isPlain);
    if (why !== undefined) {
      facts.leftOut(place, why);
      continue;
    }
    inserted++;
    setBit(filter, 0, first & filterMask);
  }
  return inserted;
}

type IsPlain = RuleFacts['isPlain'];

/** Puts a rule into its place of the order. @returns why it is not there; undefined: it is */
function insert(
  slots: Int32Array,
  places: number,
  first: number,
  second: number,
  place: number,
  isPlain: IsPlain,
): 'same' | 'full' | undefined {
  const { length } = slots;
  let alike = 0;
  let at = slotOf(first, places);
  for (; at < length && slots[at + 2] !== 0 && (slots[at] ?? 0) <= first; at += SLOT_WORDS) {
    const other = slots[at + 2] ?? 0;
    const rest = (slots[at + 1] ?? 0) ^ second;
    if (slots[at] !== first || (rest & ~RULE_MASK) !== 0 || sourceOf(other) !== sourceOf(place)) continue;
    if (rest === 0 && (other === place || (isPlain(other) && isPlain(place)))) return 'same';
    if (++alike >= MOST_ALIKE) return 'full';
  }
  let end = at;
  while (end < length && slots[end + 2] !== 0) end += SLOT_WORDS;
  // Hundreds of sources may have all rules for one name that they can have.
  if (end >= length) return 'full';
  if (end > at) slots.copyWithin(at + SLOT_WORDS, at, end);
  slots[at] = first;
  slots[at + 1] = second;
  slots[at + 2] = place;
  return undefined;
}

function setBit(words: Int32Array, from: number, bit: number): void {
  const at = from + (bit >> 5);
  words[at] = (words[at] ?? 0) | (1 << (bit & 31));
}

const hasBit = (words: Int32Array, from: number, bit: number): boolean =>
  ((words[from + (bit >> 5)] ?? 0) & (1 << (bit & 31))) !== 0;

/** The most rules that one search finds: several lists may have the same names. */
const MOST_HITS = 256;
const IPV4_BYTES = 4;

/** A view of a table. A search allocates nothing; what it has found is valid until the next one. */
export class ListTable {
  private readonly head: Int32Array;
  private readonly filter: Int32Array;
  private readonly filterMask: number;
  private readonly slots: Int32Array;
  private readonly places: number;
  private readonly hash: NameHash;
  private readonly network = new Uint8Array(2 + 16);
  /** How many rules the last search has found, the closest to the name first: */
  hits = 0;
  /** their bits, */
  readonly bits = new Int32Array(MOST_HITS);
  /** their places, */
  readonly at = new Int32Array(MOST_HITS);
  /** and how many labels the name has more than their names. */
  readonly above = new Int32Array(MOST_HITS);

  constructor(readonly memory: ArrayBuffer) {
    this.head = new Int32Array(memory, 0, HEAD.words);
    const filterWords = this.head[HEAD.filterWords] ?? 0;
    this.filter = new Int32Array(memory, HEAD.words * 4, filterWords);
    this.filterMask = filterWords * 32 - 1;
    this.slots = new Int32Array(memory, (HEAD.words + filterWords) * 4);
    this.places = this.head[HEAD.places] ?? 0;
    this.hash = new NameHash(this.key);
  }

  /** A table without rules. */
  static empty(): ListTable {
    return new ListTable(new TableBuilder({ first: 0, second: 0 }).finish());
  }

  /** Whether memory from elsewhere is a table: its parts are of the sizes that it says, and are within it. */
  static isWhole(memory: ArrayBuffer): boolean {
    const words = memory.byteLength / 4;
    if (!Number.isInteger(words) || words < HEAD.words) return false;
    const head = new Int32Array(memory, 0, HEAD.words);
    const [filterWords = 0, places = 0, rules = 0] = [head[HEAD.filterWords], head[HEAD.places], head[HEAD.rules]];
    const isPowerOfTwo = filterWords > 0 && (filterWords & (filterWords - 1)) === 0;
    const slotWords = words - HEAD.words - filterWords;
    const slots = slotWords / SLOT_WORDS;
    return isPowerOfTwo && places > 0 && Number.isInteger(slots) && places <= slots && rules >= 0 && rules <= slots;
  }

  get rules(): number {
    return this.head[HEAD.rules] ?? 0;
  }

  /** The key of its hashes. */
  get key(): HashKey {
    return { first: this.head[HEAD.firstKey] ?? 0, second: this.head[HEAD.secondKey] ?? 0 };
  }

  /** At which depths there are names, and which lengths prefixes have: a part of the head. */
  get shapes(): Int32Array {
    return this.head.subarray(HEAD.nameDepths, HEAD.filterWords);
  }

  /** The rules of a source, as they stand in their slots. */
  *rulesOf(source: number): Iterable<readonly [first: number, second: number, place: number]> {
    const { slots } = this;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) {
      const place = slots[at + 2] ?? 0;
      if (place !== 0 && sourceOf(place) === source) yield [slots[at] ?? 0, slots[at + 1] ?? 0, place];
    }
  }

  /** Whether there are rules about addresses. */
  get hasAddresses(): boolean {
    return this.anyBit(HEAD.lengths4, HEAD.serverDepths);
  }

  /** Whether there are rules about name servers. */
  get hasServers(): boolean {
    return this.anyBit(HEAD.serverDepths, HEAD.filterWords);
  }

  /** Searches for a name in wire form in lower case, and for all names above it. @returns how many rules there are */
  findName(name: Uint8Array): number {
    return this.find(TRIGGER.name, name);
  }

  /** The same among rules about name servers. */
  findServer(name: Uint8Array): number {
    return this.find(TRIGGER.server, name);
  }

  private find(trigger: NamedTrigger, name: Uint8Array): number {
    this.hits = 0;
    if (this.rules === 0) return 0;
    const { hash, head } = this;
    hash.read(trigger, name);
    const depths = depthsOf(trigger);
    for (let depth = hash.depth; depth >= 0; depth--) if (hasBit(head, depths, depth)) this.search(depth);
    return this.hits;
  }

  /** Searches for an address of 4 or 16 octets, and for the networks that it is in. @returns how many rules there are */
  findAddress(octets: Uint8Array): number {
    this.hits = 0;
    const { network, head, hash } = this;
    const isFour = octets.length === IPV4_BYTES;
    network[0] = isFour ? 4 : 6;
    network.set(octets, 2);
    for (let length = octets.length * 8, at = 2 + octets.length - 1; ;) {
      if (hasBit(head, isFour ? HEAD.lengths4 : HEAD.lengths6, length)) {
        network[1] = length;
        hash.readOctets(TRIGGER.address, network, 2 + octets.length);
        this.search(0);
      }
      if (length === 0) return this.hits;
      length--;
      network[at] = (network[at] ?? 0) & ~(0x80 >> (length & 7));
      if ((length & 7) === 0) at--;
    }
  }

  private search(depth: number): void {
    const { slots, hash } = this;
    const first = hash.first[depth] ?? 0;
    if (!hasBit(this.filter, 0, first & this.filterMask)) return;
    const second = hash.second[depth] ?? 0;
    for (let at = slotOf(first, this.places); ; at += SLOT_WORDS) {
      const place = slots[at + 2] ?? 0;
      const other = slots[at] ?? 0;
      if (place === 0 || other > first) return;
      const rest = slots[at + 1] ?? 0;
      if (other !== first || ((rest ^ second) & ~RULE_MASK) !== 0 || this.hits >= MOST_HITS) continue;
      this.bits[this.hits] = rest & RULE_MASK;
      this.at[this.hits] = place;
      this.above[this.hits] = hash.depth - depth;
      this.hits++;
    }
  }

  private anyBit(from: number, to: number): boolean {
    for (let at = from; at < to; at++) if (this.head[at] !== 0) return true;
    return false;
  }
}
