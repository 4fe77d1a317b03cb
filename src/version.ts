// The program's version, from package.json beside dist/ and src/ alike.

import { readFileSync } from 'node:fs';

const { version: read } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** E.g. `0.1.0`. */
export const version = read;

/** Seconds since 1970 when this version was made: a clock that says less is wrong. Moved with each release. */
export const BUILT_SEC = Date.UTC(2026, 10, 24) / 1000;
