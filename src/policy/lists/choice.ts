// Which of the rules that a search has found counts.
//
// In a response policy zone the closest rule counts, and its others do not. Of the rules that are left, in this order: allowing with
// $important, blocking with $important, allowing, blocking. Of equal ones the list that stands first in the configuration, then the
// name that is closest to the one that was asked for.

import { isAtOrBelow } from '../../wire/name.js';
import type { CompiledLists } from './compile.js';
import { EFFECT, effectOf, isImportant, type LocalRecord, type RuleLimit, SCOPE, scopeOf } from './rule.js';
import { lineOf, ListTable, sourceOf } from './table.js';

/** What becomes of a name on a list. `null`: the address 0.0.0.0 or ::. */
export const LIST_ACTIONS = ['nxdomain', 'nodata', 'null', 'refused', 'allow'] as const;
export type ListAction = (typeof LIST_ACTIONS)[number];

/** One list. */
export interface ListSettings {
  readonly name: string;
  readonly action: ListAction;
}

/** Who asks, as far as rules depend on it. */
export interface ListView {
  /** A bit for each list that is looked at, by its number. */
  readonly lists: number;
  /** The group of the client; undefined: none. */
  readonly group: string | undefined;
}

/** What a rule does: what its list says, or what it says itself. */
export type ChosenAction = ListAction | 'data' | 'drop';

/** The rule that counts. */
export interface ListChoice {
  readonly action: ChosenAction;
  /** The number of its list, of its source among all sources, and its line there. */
  readonly list: number;
  readonly source: number;
  readonly line: number;
  /** How many labels the name that was asked for has more than that of the rule. */
  readonly above: number;
  /** What is answered, for `data`. */
  readonly records: readonly LocalRecord[];
}

const NO_RECORDS: readonly LocalRecord[] = [];
const ACTION_OF: Readonly<Record<number, ChosenAction>> = {
  [EFFECT.allow]: 'allow',
  [EFFECT.nxdomain]: 'nxdomain',
  [EFFECT.nodata]: 'nodata',
  [EFFECT.drop]: 'drop',
  [EFFECT.data]: 'data',
};

/** The most lists: a bit for each in a number. */
export const MOST_LISTS = 31;

/** All lists, as they are searched. */
export class Lists {
  readonly table: ListTable;

  /**
   * @param listOf the number of the list of each source
   */
  constructor(
    readonly settings: readonly ListSettings[],
    readonly listOf: readonly number[],
    readonly compiled: CompiledLists,
  ) {
    this.table = new ListTable(compiled.table);
  }

  /** No lists. */
  static none(): Lists {
    const compiled = { table: ListTable.empty().memory, sources: [], records: new Map(), limits: new Map() };
    return new Lists([], [], compiled);
  }

  /** The rule for a name in wire form in lower case; undefined: there is none. */
  ofName(view: ListView, name: Buffer): ListChoice | undefined {
    if (view.lists === 0 || this.table.findName(name) === 0) return undefined;
    return this.choose(view, name);
  }

  /** The rule for an address of 4 or 16 octets. */
  ofAddress(view: ListView, octets: Uint8Array): ListChoice | undefined {
    if (view.lists === 0 || this.table.findAddress(octets) === 0) return undefined;
    return this.choose(view);
  }

  /** The rule for a name server, by its name in wire form in lower case. */
  ofServer(view: ListView, name: Buffer): ListChoice | undefined {
    if (view.lists === 0 || this.table.findServer(name) === 0) return undefined;
    return this.choose(view);
  }

  private choose(view: ListView, name?: Buffer): ListChoice | undefined {
    const { table, listOf, compiled } = this;
    let best: ListChoice | undefined;
    let bestRank = 0;
    // At this distance, the rule of a zone was found: those further up do not count.
    const zones = new Map<number, number>();
    for (let i = 0; i < table.hits; i++) {
      const bits = table.bits[i] ?? 0;
      const place = table.at[i] ?? 0;
      const above = table.above[i] ?? 0;
      const source = sourceOf(place);
      const list = listOf[source];
      if (list === undefined || ((view.lists >>> list) & 1) === 0 || !covers(scopeOf(bits), above)) continue;
      if (!isFor(compiled.limits.get(place), view.group, name)) continue;
      if (compiled.sources[source]?.isZone === true) {
        if ((zones.get(source) ?? above) < above) continue;
        zones.set(source, above);
      }
      const action = ACTION_OF[effectOf(bits)] ?? this.settings[list]?.action ?? 'nxdomain';
      const rank = rankOf(action, isImportant(bits));
      const isBetter = rank > bestRank || (rank === bestRank && best !== undefined && list < best.list);
      if (!isBetter) continue;
      bestRank = rank;
      const records = compiled.records.get(place) ?? NO_RECORDS;
      best = { action, list, source, line: lineOf(place), above, records };
    }
    return best;
  }
}

const covers = (scope: number, above: number): boolean =>
  scope === SCOPE.subtree || (scope === SCOPE.exact ? above === 0 : above > 0);

const rankOf = (action: ChosenAction, important: boolean): number => (important ? 3 : 1) + (action === 'allow' ? 1 : 0);

function isFor(limit: RuleLimit | undefined, group: string | undefined, name: Buffer | undefined): boolean {
  if (limit === undefined) return true;
  if (name !== undefined && limit.exempt.some(each => isAtOrBelow(name, each))) return false;
  if (group !== undefined && limit.except.includes(group)) return false;
  return limit.only.length === 0 || (group !== undefined && limit.only.includes(group));
}
