// A list in a few words, for `dotstub status` and the status page.

import { durationText } from './rates.js';

/** The part of a list's overview that is said: base/overview cannot be read by a browser. */
export interface ListFacts {
  readonly name: string;
  readonly rules: number;
  readonly sources: readonly {
    readonly source: string;
    readonly ageMs?: number | undefined;
    readonly problem?: string | undefined;
  }[];
}

/** E.g. `1,000 rules, checked 3 h 2 min ago; https://lists.example/ads.txt: it took too long`. */
export function listWords({ rules, sources }: Pick<ListFacts, 'rules' | 'sources'>): string {
  const ages = sources.flatMap(({ ageMs }) => ageMs ?? []);
  const checked = ages.length === 0 ? '' : `, checked ${durationText(Math.max(...ages) / 1000)} ago`;
  const problems = sources.flatMap(({ source, problem }) => (problem === undefined ? [] : [`; ${source}: ${problem}`]));
  return `${rules.toLocaleString('en')} rules${checked}${problems.join('')}`;
}
