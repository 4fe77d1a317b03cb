// The program's version, from package.json beside dist/ and src/ alike.

import { readFileSync } from 'node:fs';

const { version: read } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };

/** E.g. `0.1.0`. */
export const version = read;
