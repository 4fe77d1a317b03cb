// The options as a list: a reload compares them one by one, and tests and documents walk it.

import { type Config, schema } from './schema.js';
import type { Fields, ListRow, OptionRow } from './shape.js';

/** What brings a changed value into force. `defaults`: the option only chooses defaults of others, which a reload compares. */
export type OptionChange = 'reload' | 'restart' | 'defaults';

/** What brings a changed value of a row into force. */
export const changeOf = ({
  restart,
  choosesDefaults,
}: Pick<OptionRow<unknown, unknown> | ListRow<unknown>, 'restart' | 'choosesDefaults'>): OptionChange =>
  restart === true ? 'restart' : choosesDefaults === true ? 'defaults' : 'reload';

/** One option. A list of groups, such as `upstream.servers`, is one option, because its entries have no stable identity. */
export interface OptionEntry {
  /** E.g. `cache.size`. */
  readonly path: string;
  readonly change: OptionChange;
}

/** All options, in the order of the schema. */
export const OPTIONS: readonly OptionEntry[] = entriesOf(schema, '');

function entriesOf(rows: Fields, path: string): OptionEntry[] {
  return Object.entries(rows).flatMap(([key, row]): OptionEntry[] => {
    const name = path === '' ? key : `${path}.${key}`;
    if (row.row === 'group') return entriesOf(row.fields, name);
    if (row.row === 'groups') return [{ path: name, change: 'reload' }];
    return [{ path: name, change: changeOf(row) }];
  });
}

/** The value of an option as text. Equal values have equal texts. */
export function optionText(config: Config, path: string): string {
  let value: unknown = config;
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null) throw new TypeError(`${path} is not an option`);
    value = Object.entries(value).find(([each]) => each === key)?.[1];
  }
  return value === undefined ? '' : JSON.stringify(value);
}
