// The shapes of a schema's rows, and the type of the configuration that follows from them. The check, the defaults, the example
// file, the JSON schema, the manual and docs/options.md all walk the schema.

import type { Kind } from './kind.js';

/** What a row of one value or a list says about itself. */
interface About {
  /** A few sentences for the documents. */
  readonly help: string;
  /** A change needs a restart. Left out: a reload brings it into force. */
  readonly restart?: true;
  /** The option only chooses defaults of other options. A reload compares those. */
  readonly choosesDefaults?: true;
}

/** What a row may say about itself in addition to its help. */
type More = Pick<About, 'restart' | 'choosesDefaults'>;

/** One value. An option without a default may be left out; its value is undefined then. */
export interface OptionRow<T, D extends T | undefined> extends About {
  readonly row: 'option';
  readonly kind: Kind<T>;
  readonly default: D;
  /** The example file shows it if there is no default. */
  readonly example?: T;
}

/** A list of values. */
export interface ListRow<T> extends About {
  readonly row: 'list';
  readonly kind: Kind<T>;
  readonly default: readonly T[];
  /** How many values it may have. */
  readonly most: number;
  readonly example?: readonly T[];
}

/** Named rows under one key. */
export interface GroupRow<F extends Fields> {
  readonly row: 'group';
  readonly help: string;
  readonly fields: F;
}

/** A list of groups. */
export interface GroupsRow<F extends Fields> {
  readonly row: 'groups';
  readonly help: string;
  readonly fields: F;
  /** How many groups it may have. */
  readonly most: number;
}

/** Any row, with the type of its value left open. */
export type SchemaRow = OptionRow<unknown, unknown> | ListRow<unknown> | GroupRow<Fields> | GroupsRow<Fields>;

/** Rows by key. */
export interface Fields {
  readonly [key: string]: SchemaRow;
}

/** The type of a row's value. */
export type ValueOf<R> =
  R extends OptionRow<infer T, infer D>
    ? D extends undefined
      ? T | undefined
      : T
    : R extends ListRow<infer T>
      ? readonly T[]
      : R extends GroupRow<infer F>
        ? ValuesOf<F>
        : R extends GroupsRow<infer F>
          ? readonly ValuesOf<F>[]
          : never;
/** The type of the values of rows by key. */
export type ValuesOf<F> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Makes an option with a default. */
export const option = <T>(kind: Kind<T>, fallback: NoInfer<T>, help: string, more: More = {}): OptionRow<T, T> => ({
  row: 'option',
  kind,
  default: fallback,
  help,
  ...more,
});

/** Makes an option without a default. */
export const optional = <T>(
  kind: Kind<T>,
  help: string,
  more: More & { readonly example: NoInfer<T> },
): OptionRow<T, undefined> => ({ row: 'option', kind, default: undefined, help, ...more });

/** Makes a list of at most `most` values. */
export const list = <T>(
  kind: Kind<T>,
  fallback: readonly NoInfer<T>[],
  most: number,
  help: string,
  more: More & { readonly example?: readonly NoInfer<T>[] } = {},
): ListRow<T> => ({ row: 'list', kind, default: fallback, most, help, ...more });

/** Makes a group. */
export const group = <F extends Fields>(help: string, fields: F): GroupRow<F> => ({ row: 'group', help, fields });

/** Makes a list of at most `most` groups. */
export const groups = <F extends Fields>(most: number, help: string, fields: F): GroupsRow<F> => ({
  row: 'groups',
  most,
  help,
  fields,
});
