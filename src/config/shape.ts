// The shapes that a configuration is made of, and the type of the configuration that follows from them. A schema is a
// value built from these; checking, defaults, the example file, the JSON schema and the README table all walk it.

import type { Kind } from './kinds.js';

/** What every row says about itself. */
interface About {
  /** One sentence or two, for the example file and the README. */
  readonly help: string;
  /** False: accepted and checked, but nothing happens yet; the daemon says so at start. */
  readonly built?: boolean;
  /** A change waits for a restart. Left out: a reload brings it into force at once. */
  readonly restart?: true;
  /** It only chooses what other options default to: those are what a reload compares. */
  readonly choosesDefaults?: true;
}

/** What a row may say about itself beside its help. */
type More = Pick<About, 'built' | 'restart' | 'choosesDefaults'>;

/** One value. Without a default it may be left out, and is then undefined. */
export interface OptionRow<T, D extends T | undefined> extends About {
  readonly row: 'option';
  readonly kind: Kind<T>;
  readonly default: D;
  /** Shown in the example file where there is no default. */
  readonly example?: T;
}

/** A list of values. */
export interface ListRow<T> extends About {
  readonly row: 'list';
  readonly kind: Kind<T>;
  readonly default: readonly T[];
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
  readonly most: number;
}

/** Any row, where its value's type does not matter. */
export type Row = OptionRow<unknown, unknown> | ListRow<unknown> | GroupRow<Fields> | GroupsRow<Fields>;
/** Rows by key. */
export interface Fields {
  readonly [key: string]: Row;
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
export type ValuesOf<F> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Makes an option with a default. */
export const option = <T>(kind: Kind<T>, fallback: NoInfer<T>, help: string, more: More = {}): OptionRow<T, T> => ({
  row: 'option',
  kind,
  default: fallback,
  help,
  ...more,
});
/** Makes an option that may be absent. */
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
