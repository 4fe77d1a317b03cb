// `npm run bench [-- rounds]`: every comparison, one file per path.

import { cpus } from 'node:os';

import { forward } from './forward.js';

const rounds = Number(process.argv[2] ?? 5);
console.log(`${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.versions.node}; server on CPU 0, load on CPU 1`);
await forward(rounds);
process.exit(0);
