// Runs rounds in which the contenders take turns, and makes tables of the medians.

import { type Contender } from './contenders.js';
import { type Load, median, quantile, table } from './measure.js';

/** A section of the results, for the screen and RESULTS.md. */
export interface Section {
  readonly title: string;
  /** How it was measured, in a sentence or two. */
  readonly how: string;
  readonly table: string;
}

/**
 * Measures each contender once per round. Each round begins with another one. dnsperf gives up when a server breaks off
 * connections: such a round of a peer is told and left out. @throws if that happens with dotstub
 */
export async function alternate(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender, round: number) => Promise<Load>,
): Promise<ReadonlyMap<string, readonly Load[]>> {
  const results = new Map<string, Load[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const first = round % contenders.length;
    for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      try {
        results.get(contender.name)?.push(await measure(contender, round));
      } catch (error) {
        if (contender.name.startsWith('dotstub')) throw error;
        console.error(`${contender.name}, round ${round + 1} of ${rounds}: left out`, error);
      }
    }
  }
  return results;
}

const REFERENCE = 'Unbound';

/** The contender, and how many of its rounds count if some were left out. */
function rowName(results: ReadonlyMap<string, readonly Load[]>, who: string): string {
  const counted = results.get(who)?.length ?? 0;
  const rounds = Math.max(...[...results.values()].map(each => each.length));
  return counted === rounds ? who : `${who} (${counted} of ${rounds})`;
}

/** A row per contender, with ratios to Unbound, and to the floor if there is one. */
export function loadTable(results: ReadonlyMap<string, readonly Load[]>, floor?: string): string {
  const middle = (who: string, of: (one: Load) => number): number => median((results.get(who) ?? []).map(of));
  const cpu = (who: string): number => middle(who, each => each.cpuMicrosecondsPerQuery);
  const rate = (who: string): number => middle(who, each => each.perSecond);
  const total = (who: string, of: (one: Load) => number): string =>
    String((results.get(who) ?? []).reduce((sum, each) => sum + of(each), 0));
  const ratio = (a: number, b: number): string => (Number.isFinite(a / b) ? (a / b).toFixed(2) : '');
  return table([
    [
      '',
      'CPU µs/query',
      'x Unbound',
      ...(floor === undefined ? [] : ['x floor']),
      'queries/s',
      'x Unbound',
      'lost',
      'failed',
    ],
    ...[...results.keys()].map(who => [
      rowName(results, who),
      cpu(who).toFixed(1),
      ratio(cpu(who), cpu(REFERENCE)),
      ...(floor === undefined ? [] : [ratio(cpu(who), cpu(floor))]),
      rate(who).toFixed(0),
      ratio(rate(who), rate(REFERENCE)),
      total(who, each => each.lost),
      who === floor ? '' : total(who, each => each.failed),
    ]),
  ]);
}

/** A row per contender: quantiles of the latency of all its queries, in milliseconds. */
export function latencyTable(results: ReadonlyMap<string, readonly Load[]>): string {
  return table([
    ['', 'p50 ms', 'p99 ms', 'p99.9 ms', 'worst ms', 'lost'],
    ...[...results].map(([who, loads]) => {
      const all = loads.flatMap(({ latencies }) => latencies).sort((a, b) => a - b);
      const lost = loads.reduce((sum, each) => sum + each.lost, 0);
      return [
        rowName(results, who),
        ...[0.5, 0.99, 0.999, 1].map(q => (1000 * quantile(all, q)).toFixed(3)),
        String(lost),
      ];
    }),
  ]);
}
