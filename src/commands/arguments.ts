// Command-line arguments: `node:util` parses them, and its errors become UsageErrors.

import { parseArgs } from 'node:util';

import { UsageError } from './command.js';

/** Options by name, without dashes. */
export type Options = Readonly<Record<string, { readonly type: 'boolean' | 'string'; readonly multiple?: true }>>;

/** Parsed arguments. */
export interface Arguments {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  value(name: string): string | undefined;
  /** All values of an option that may be given several times. */
  values(name: string): readonly string[];
}

/**
 * Parses `args`.
 * @throws UsageError on an unknown option, a missing value, or more than `most` positionals
 */
export function parseArguments(args: readonly string[], options: Options, most: number): Arguments {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    // parseArgs explains `--` in a second sentence, which is no help here.
    throw new UsageError(error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error));
  }
  const { values, positionals } = parsed;
  if (positionals.length > most) throw new UsageError(`unexpected argument: ${positionals[most] ?? ''}`);
  return {
    positionals,
    flag: name => values[name] === true,
    value: name => {
      const value = values[name];
      return typeof value === 'string' ? value : undefined;
    },
    values: name => {
      const all = values[name];
      return Array.isArray(all) ? all.filter(each => typeof each === 'string') : [];
    },
  };
}
