// The options as a list, one entry each: what a reload compares, and what tests hold every part of the daemon against.

import { type Config, schema } from './schema.js';
import type { Fields } from './shape.js';

/** One option. A list of groups, such as `upstream.servers`, is one option: a place in it says little. */
export interface OptionEntry {
  /** E.g. `cache.size`. */
  readonly path: string;
  /** False: it has no effect yet. */
  readonly built: boolean;
  /** What a change needs: nothing but a reload, a restart, or nothing at all, since it only chooses other defaults. */
  readonly change: 'reload' | 'restart' | 'defaults';
}

/** All options, in the order of the schema. */
export const OPTIONS: readonly OptionEntry[] = entriesOf(schema, '');

function entriesOf(rows: Fields, path: string): OptionEntry[] {
  return Object.entries(rows).flatMap(([key, row]): OptionEntry[] => {
    const name = path === '' ? key : `${path}.${key}`;
    if (row.row === 'group') return entriesOf(row.fields, name);
    if (row.row === 'groups') return [{ path: name, built: true, change: 'reload' }];
    const change = row.restart === true ? 'restart' : row.choosesDefaults === true ? 'defaults' : 'reload';
    return [{ path: name, built: row.built !== false, change }];
  });
}

/** The value of an option, as text that is the same for equal values. */
export function optionText(config: Config, path: string): string {
  let value: unknown = config;
  for (const key of path.split('.')) value = Object(value)[key] as unknown;
  return JSON.stringify(value) ?? '';
}
