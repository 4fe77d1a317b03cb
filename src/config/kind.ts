// What kinds of values are made of (config/kinds, config/network-kinds).

/**
 * A value, or what is wrong with it in a few words: `not a duration`, `out of range`. `warning`: the value is used, but
 * it is probably not what was meant.
 */
export type Read<T> =
  | { readonly ok: true; readonly value: T; readonly warning?: string }
  | { readonly ok: false; readonly problem: string };

/** A kind of scalar value. */
export interface Kind<T> {
  /** What is allowed, for people: `a duration such as 30s, 0 to 7d`. */
  readonly allowed: string;
  read(input: unknown): Read<T>;
  /** The value as a file would have it. */
  write(value: T): string | number | boolean;
  /** JSON Schema for editors. */
  readonly schema: Readonly<Record<string, unknown>>;
}

/** A value. */
export const good = <T>(value: T): Read<T> => ({ ok: true, value });
/** What is wrong. */
export const bad = (problem: string): Read<never> => ({ ok: false, problem });

/** Text. `parse` returns undefined for text that is not allowed. */
export function text<T>(
  allowed: string,
  parse: (input: string) => T | undefined,
  write: (value: T) => string,
): Kind<T> {
  return {
    allowed,
    read(input) {
      if (typeof input !== 'string') return bad('not text');
      const value = parse(input);
      return value === undefined ? bad(`not ${allowed.replace(/ (such as|\().*/, '')}`) : good(value);
    },
    write,
    schema: { type: 'string' },
  };
}

/** Writes text as it is. */
export const same = (value: string): string => value;
