// `npm run bench [-- ROUNDS [PATH…]]`: measures dotstub and its peers, path by path, and writes RESULTS.md.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';

import { bench, missing } from '../test/fixtures/servers.js';
import { cached } from './cached.js';
import type { Section } from './compare.js';
import { installed, KINDS, PEERS, type Setting, upstream, versionOf } from './contenders.js';
import { memory, starting } from './footprint.js';
import { fronts } from './fronts.js';
import { crowded, missed, mixed, sparse } from './missed.js';
import { cold, validated } from './validated.js';

type Path = (setting: Setting, rounds: number) => Promise<Section[]>;
const PATHS: Readonly<Record<string, Path>> = {
  cached,
  fronts,
  missed,
  sparse,
  cold,
  validated,
  mixed,
  crowded,
  starting,
  memory,
};

const [roundsText = '5', ...wanted] = process.argv.slice(2);
const rounds = Number(roundsText);
const unknown = wanted.filter(name => !Object.hasOwn(PATHS, name));
const lacking = missing('unbound', 'dnsperf', 'taskset');
if (!Number.isInteger(rounds) || rounds < 1 || unknown.length > 0 || lacking !== false) {
  console.error(
    lacking === false
      ? `usage: npm run bench [-- ROUNDS [PATH...]], with paths from: ${Object.keys(PATHS).join(', ')}`
      : `bench: ${lacking}`,
  );
  process.exit(2);
}

const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Linux ${release()}, Node.js ${process.versions.node}`;
const versions = KINDS.filter(each => each.package !== undefined).map(each =>
  installed(each) ? versionOf(each) : `${each.name}: left out`,
);
console.log(`${machine}\n${versions.join('\n')}`);

const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const setting: Setting = { on, upstream: await upstream(on), cacheMiB: 48 };
const sections: Section[] = [];
for (const [name, path] of Object.entries(PATHS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const section of await path(setting, rounds)) {
    sections.push(section);
    console.log(`\n${section.title}: ${section.how}\n${section.table}`);
  }
}
for (const end of ends) await end();
// A row that was not measured would be missed in the file.
if (PEERS !== undefined) process.exit(0);

// Sections that were not measured this time stay.
const file = new URL('RESULTS.md', import.meta.url);
const before = (existsSync(file) ? readFileSync(file, 'utf8') : '').split(/^(?=## )/m).slice(1);
const now = sections.map(
  ({ title, how, table }) =>
    `## ${title}\n\n${how} Medians of ${rounds}, Node.js ${process.versions.node}.\n\n\`\`\`text\n${table}\n\`\`\`\n\n`,
);
const titleOf = (text: string): string => text.slice(0, text.indexOf('\n'));
const kept = before.map(old => now.find(each => titleOf(each) === titleOf(old)) ?? old);
const added = now.filter(each => !before.some(old => titleOf(old) === titleOf(each)));
writeFileSync(
  file,
  `# Benchmark results

Written by \`npm run bench\`. The contenders take turns in every round. Each runs on one core with one thread; dnsperf and the
server that they forward to run on the other core. CPU time is the kernel's account of the whole process. The machine is shared,
so ratios say more than absolute figures.

- ${machine}
${versions.map(version => `- ${version}`).join('\n')}

${[...kept, ...added].join('').trimEnd()}
`,
);
process.exit(0);
