// Makes the table of all lists from the octets of their sources. It runs in a thread of its own (run/lists), and needs the memory
// of the table twice at most, whatever the size of the files.

import type { HashKey } from './name-hash.js';
import { LineRules } from './line-rules.js';
import { RpzRules } from './rpz.js';
import type { ListFormat, LocalRecord, RuleLimit, RuleSink, Skipped, Trigger } from './rule.js';
import { lineOf, ListTable, MOST_LINE, MOST_SOURCES, placeOf, sourceOf, TableBuilder } from './table.js';
import { Lines, type TakeLine } from './text.js';

/** How many lines of a source that are not used are told one by one. */
const MOST_TOLD = 5;
/** Characters that are shown of such a line. */
const MOST_TEXT = 80;
/** The most rules with limits, and with local data; names that are exempt from rules count, too. */
const MOST_SPECIAL = 50_000;
/** The start of a file that tells which format it has. */
const HEAD_BYTES = 1 << 16;
const NOTHING = Buffer.alloc(0);

/** A line that is not used. */
export interface SkippedLine {
  readonly line: number;
  readonly why: Skipped;
  /** Its start, as it stands there: it may hold anything. */
  readonly text: string;
}

/** What was found in a source. */
export interface SourceReport {
  readonly lines: number;
  readonly rules: number;
  /** How many lines are not used, by reason. */
  readonly skipped: Readonly<Partial<Record<Skipped, number>>>;
  /** The first of those that should be looked at. */
  readonly told: readonly SkippedLine[];
  /** Whether it is a response policy zone, where the closest of several rules counts. */
  readonly isZone: boolean;
}

/** Lines of a zone that are as they should be, although there is no use for them here. */
const OF_ZONES: ReadonlySet<string> = new Set<Skipped>(['trigger', 'servers', 'action', 'full']);

/**
 * Whether a source reads as a list. That may have no rules: comments alone, or a zone with nothing but its SOA. Nothing at
 * all, an error in JSON and compressed octets do not.
 */
export const isList = ({ lines, rules, skipped, isZone }: SourceReport): boolean =>
  rules > 0 || (lines > 0 && Object.keys(skipped).every(why => isZone && OF_ZONES.has(why)));

const NO_REPORT: SourceReport = { lines: 0, rules: 0, skipped: {}, told: [], isZone: false };

/** All lists, ready to be searched. */
export interface CompiledLists {
  /** The table, see ListTable. */
  readonly table: ArrayBuffer;
  /** In the order of the sources. */
  readonly sources: readonly SourceReport[];
  /** Local data of rules, by place. */
  readonly records: ReadonlyMap<number, LocalRecord[]>;
  /** Rules that are not for all clients, or not for all names, by place. */
  readonly limits: ReadonlyMap<number, RuleLimit>;
}

/** Rules for browsers are a part of many lists, and nothing is wrong with them. */
const isExpected = (why: Skipped): boolean => why === 'browser';

/** Makes the table. Sources are read one after the other. */
export class Compilation {
  private readonly builder: TableBuilder;
  private readonly sources: Pick<SourceReader, 'report' | 'leftOut'>[] = [];
  private readonly records = new Map<number, LocalRecord[]>();
  private readonly limits = new Map<number, RuleLimit>();

  constructor(key: HashKey) {
    this.builder = new TableBuilder(key);
  }

  /** Begins to read the next source. */
  source(format: ListFormat): SourceReader {
    const index = this.nextIndex();
    const { builder, records, limits } = this;
    const source = new SourceReader(index, format, { builder, records, limits });
    this.sources.push(source);
    return source;
  }

  /** The next source has the rules of a source of before, in lists whose table has the same key. */
  carry(before: CompiledLists, from: number): void {
    const index = this.nextIndex();
    const { builder, records, limits, sources } = this;
    const rules = builder.carry(new ListTable(before.table), from, index);
    const move = <T>(kept: ReadonlyMap<number, T>, to: Map<number, T>): void => {
      for (const [place, value] of kept) if (sourceOf(place) === from) to.set(placeOf(index, lineOf(place)), value);
    };
    move(before.records, records);
    move(before.limits, limits);
    const report = before.sources[from] ?? NO_REPORT;
    sources.push({ report: { ...report, rules }, leftOut: () => undefined });
  }

  private nextIndex(): number {
    const index = this.sources.length;
    if (index >= MOST_SOURCES) throw new RangeError(`there are more than ${MOST_SOURCES} sources of lists`);
    return index;
  }

  /** The result. @param pause called every few hundred rules: others may run meanwhile */
  finish(pause: () => void = () => undefined): CompiledLists {
    const { sources, records, limits } = this;
    const table = this.builder.finish({
      isPlain: place => !limits.has(place),
      leftOut: (place, why) => sources[sourceOf(place)]?.leftOut(lineOf(place), why),
      pause,
    });
    return { table, sources: sources.map(({ report }) => report), records, limits };
  }
}

interface Target {
  readonly builder: TableBuilder;
  readonly records: Map<number, LocalRecord[]>;
  readonly limits: Map<number, RuleLimit>;
}

/** Reads one source, chunk by chunk. */
export class SourceReader implements RuleSink {
  private rules = 0;
  /** Names that are exempt from one of them. */
  private exempt = 0;
  private readonly skipped: Partial<Record<Skipped, number>> = {};
  private readonly told: SkippedLine[] = [];
  /** Octets of before its format is known. */
  private head: Buffer = NOTHING;
  private lines: Lines | undefined;
  private isZone = false;

  constructor(
    private readonly index: number,
    private readonly format: ListFormat,
    private readonly target: Target,
  ) {}

  /** What was found so far. */
  get report(): SourceReport {
    const { lines, rules, skipped, told, isZone } = this;
    return { lines: lines?.count ?? 0, rules, skipped, told, isZone };
  }

  /** Reads a chunk, which is not used after that. */
  push(chunk: Buffer): void {
    if (this.lines !== undefined) return this.lines.push(chunk);
    this.head = Buffer.concat([this.head, chunk]);
    if (this.head.length >= HEAD_BYTES) this.begin();
  }

  /** Reads what is left. */
  end(): void {
    this.begin();
    this.lines?.end();
  }

  /** A rule is not in the table: there is the same one already, or there are too many for its name. */
  leftOut(line: number, why: 'same' | 'full'): void {
    this.rules--;
    if (why === 'full') this.skip(line, 'full', '');
  }

  rule(trigger: Trigger, name: Uint8Array, bytes: number, bits: number, line: number): void {
    if (this.target.builder.add(trigger, name, bytes, bits, placeOf(this.index, line))) this.rules++;
    else this.skip(line, 'full', '');
  }

  limit(line: number, limit: RuleLimit): boolean {
    const { limits } = this.target;
    this.exempt += limit.exempt.length;
    if (line < MOST_LINE && limits.size < MOST_SPECIAL && this.exempt <= MOST_SPECIAL) {
      limits.set(placeOf(this.index, line), limit);
      return true;
    }
    this.skip(line, 'full', '');
    return false;
  }

  record(line: number, record: LocalRecord): void {
    const { records } = this.target;
    const place = placeOf(this.index, line);
    const own = records.get(place);
    if (own !== undefined) own.push(record);
    else if (records.size < MOST_SPECIAL) records.set(place, [record]);
    else this.skip(line, 'full', '');
  }

  skip(line: number, why: Skipped, text: string): void {
    this.skipped[why] = (this.skipped[why] ?? 0) + 1;
    if (this.told.length < MOST_TOLD && !isExpected(why)) this.told.push({ line, why, text: text.slice(0, MOST_TEXT) });
  }

  private begin(): void {
    if (this.lines !== undefined) return;
    const format = this.format === 'auto' && looksLikeZone(this.head) ? 'rpz' : this.format;
    this.isZone = format === 'rpz';
    const rules = format === 'rpz' ? new RpzRules(this) : new LineRules(format, this);
    const take: TakeLine = (octets, start, end, line) => rules.line(octets, start, end, line);
    this.lines = new Lines(take, line => this.skip(line, 'long', ''));
    const { head } = this;
    this.head = NOTHING;
    this.lines.push(head);
  }
}

/** Whether a file is a zone: before its first rules there is a SOA record, $TTL or $ORIGIN. */
function looksLikeZone(head: Buffer): boolean {
  const lines = head.toString('latin1').split('\n', 200);
  const first = lines.find(line => !/^\s*(?:[;#!]|$)/.test(line)) ?? '';
  return /^\$(?:TTL|ORIGIN)\s/i.test(first) || /^\S+\s+(?:\S+\s+){0,2}SOA\s/i.test(first);
}
