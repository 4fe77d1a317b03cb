// The version of the program, read from package.json, which is one folder above both dist/ and src/.

import { readFileSync } from 'node:fs';

const { version: read } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The version, such as `0.1.0`. */
export const version = read;

/** When this version was made, seconds since 1970. A clock that shows an earlier time is wrong. Each release sets it anew. */
export const BUILT_SEC = Date.UTC(2026, 10, 24) / 1000;
