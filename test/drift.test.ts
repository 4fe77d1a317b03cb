// Holds what is written in two places against each other: files from the schema, npm's commands, versions, words.

import { readdirSync, readFileSync } from 'node:fs';

import t from 'tap';

import { FAILURES } from '../src/base/outcome.js';
import { DOCUMENTS as FOR_USERS } from './fixtures/documents.js';
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

await t.test('every npm command in the documents and CI exists', t => {
  const texts = [...FOR_USERS, 'CONTRIBUTING.md', '.ci/run'].map(text).join('\n');
  const used = [...texts.matchAll(/npm run (?:--silent )?([a-z-]+)/g)].map(([, name]) => name ?? '');
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

/** All that people read. */
const SPELT = ['src', 'test', 'bench', 'systemd', 'deploy', 'packaging'];
const DOCUMENTS = [...FOR_USERS, 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'ARCHITECTURE.md'];

await t.test('"cannot" has one spelling', t => {
  const files = SPELT.flatMap(folder =>
    readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true, encoding: 'utf8' })
      .filter(file => /\.(ts|md|yaml|service|socket|conf)$/.test(file))
      .map(file => `${folder}/${file}`),
  );
  t.ok(files.length > 60, 'the files were found');
  for (const file of [...files, ...DOCUMENTS].filter(each => each !== 'test/drift.test.ts'))
    t.notMatch(text(file), /\bcan not\b|\bcan't\b/i, file);
  t.end();
});
