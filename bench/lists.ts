// Lists: memory, time to make the table, and what a search adds to an answer from the cache. `npx tsx bench/lists.ts [NAMES]`

import { Compilation } from '../src/policy/lists/compile.js';
import { Lists } from '../src/policy/lists/choice.js';
import { lowerCased, nameFromText } from '../src/wire/name.js';

const NAMES = Number(process.argv[2] ?? 1_000_000);
const SEARCHES = 2_000_000;
const CHUNK_BYTES = 1 << 18;

/** A text of names as lists have them: 10 to 30 characters, two to four labels. */
function listText(names: number): Buffer {
  const lines = Array.from({ length: names }, (_, i) => {
    const mixed = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    const labels = ['ads', 'track', 'metrics', 'cdn'].slice(mixed & 3).concat(mixed.toString(36));
    return `${labels.join('.')}.${['com', 'net', 'example', 'io'][(mixed >> 2) & 3] ?? ''}`;
  });
  return Buffer.from(`${lines.join('\n')}\n`);
}

/** CPU time of this thread and its helpers, ms: other work on the machine does not count. */
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const ms = (from: number): string => `${(cpuMs() - from).toFixed(0)} ms`;

const text = listText(NAMES);
const before = process.memoryUsage().arrayBuffers;
const made = cpuMs();
const compilation = new Compilation({ first: 0x12345678, second: 0x7edcba98 });
const reader = compilation.source('auto');
for (let at = 0; at < text.length; at += CHUNK_BYTES) reader.push(text.subarray(at, at + CHUNK_BYTES));
reader.end();
const read = ms(made);
const peak = process.memoryUsage().arrayBuffers - before;
const compiled = compilation.finish();
const bytes = compiled.table.byteLength;
console.log(
  `${compiled.sources[0]?.rules ?? 0} names of ${(text.length / 1e6).toFixed(1)} MB: read in ${read}, made in ${ms(made)}`,
);
console.log(
  `${(bytes / 1e6).toFixed(1)} MB, ${(bytes / NAMES).toFixed(1)} octets a name; while it is made ${((peak + bytes) / 1e6).toFixed(1)} MB`,
);

const lists = new Lists([{ name: 'all', action: 'nxdomain' }], [0], compiled);
const view = { lists: 1, group: undefined };
const asked = (label: string, make: (i: number) => string): void => {
  const names = Array.from({ length: 10_000 }, (_, i) => lowerCased(nameFromText(make(i)) ?? Buffer.from([0])));
  let found = 0;
  for (const warm of [true, false]) {
    const from = cpuMs();
    for (let i = 0; i < SEARCHES; i++)
      if (lists.ofName(view, names[i % names.length] ?? Buffer.alloc(1)) !== undefined) found++;
    if (!warm)
      console.log(
        `${label}: ${(((cpuMs() - from) * 1e6) / SEARCHES).toFixed(0)} ns a search (${found / 2 / SEARCHES} found)`,
      );
  }
};
asked('10,000 names on no list, four labels', i => `www.host${i}.fresh.example`);
asked('10,000 names on no list, three labels', i => `www.host${i}.com`);
const listed = text.toString().split('\n');
asked('10,000 names on a list', i => listed[(i * 97) % NAMES] ?? '.');
