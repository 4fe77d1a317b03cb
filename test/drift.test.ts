// What is written twice must say the same: files from the schema, the README's commands, the unit and the image.

import { readFileSync } from 'node:fs';

import t from 'tap';

import { FAILURES } from '../src/base/outcome.js';
import { generated } from './fixtures/generated.js';

const text = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const manifest = JSON.parse(text('package.json')) as {
  version: string;
  scripts: Record<string, string>;
  engines: { node: string };
};

await t.test('files written from the schema are up to date (npm run render)', t => {
  for (const [path, render] of generated) t.equal(text(path), render(), path);
  t.end();
});

await t.test('every npm command that the README and CI use is there', t => {
  const used = [...`${text('README.md')}\n${text('.ci/run')}`.matchAll(/npm run (?:--silent )?([a-z-]+)/g)].map(
    ([, name]) => name ?? '',
  );
  t.ok(used.length >= 4);
  for (const name of used) t.ok(name in manifest.scripts, name);
  t.end();
});

await t.test('the newest entry of the CHANGELOG is this version', t => {
  t.equal(/^## (\d+\.\d+\.\d+)/m.exec(text('CHANGELOG.md'))?.[1], manifest.version);
  t.end();
});

await t.test('every failure has words, and an RCODE that says it failed', t => {
  for (const [code, row] of Object.entries(FAILURES)) {
    t.ok(row.words.length > 10, code);
    t.ok(row.rcode !== 0 && row.rcode !== 3, code);
  }
  t.end();
});
