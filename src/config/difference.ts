// What is different between two configurations, as options are written: `upstream.servers[0].port`.

/** The paths of all values that differ, in the order of the options. */
export function changedPaths(before: unknown, after: unknown, path = ''): string[] {
  if (Object.is(before, after)) return [];
  if (!isObject(before) || !isObject(after) || Array.isArray(before) !== Array.isArray(after)) return [path];
  // A list is one value: what is at a place in it says little when something came before it.
  if (Array.isArray(before)) return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys.flatMap(key => changedPaths(before[key], after[key], path === '' ? key : `${path}.${key}`));
}

/** A configuration with some values of another one, whose paths are given. */
export function withPaths<T>(before: T, after: T, paths: readonly string[], path = ''): T {
  if (paths.includes(path)) return after;
  if (!isObject(before) || !isObject(after) || Array.isArray(before)) return before;
  const taken: Record<string, unknown> = { ...before };
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
    taken[key] = withPaths(before[key], after[key], paths, path === '' ? key : `${path}.${key}`);
  // The same keys, and values of the same kinds.
  return taken as T;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;
