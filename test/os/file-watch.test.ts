// Files whose contents change, in the ways in which programs change them.

import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { watchFiles } from '../../src/os/file-watch.js';
import { temporaryDirectory } from '../fixtures/program.js';

/** @param tells whether lost files are told */
function setUp(t: Test, tells = false) {
  const directory = temporaryDirectory();
  const at = (name: string): string => join(directory.path, name);
  const name = (path: string): string => path.slice(directory.path.length + 1);
  const changes: string[][] = [];
  const troubles: string[] = [];
  const lost: string[][] = [];
  writeFileSync(at('cert'), 'one');
  writeFileSync(at('key'), 'one');
  const watch = watchFiles([at('cert'), at('key')], {
    changed: paths => changes.push(paths.map(name)),
    ...(tells ? { lost: (paths: readonly string[]) => lost.push(paths.map(name)) } : {}),
    trouble: (path, error) => troubles.push(`${path}: ${error.message}`),
  });
  t.teardown(() => {
    watch.close();
    directory.remove();
  });
  return { at, watch, changes, troubles, lost };
}

await t.test('files that change together are told together; the same contents are no change', async t => {
  const { at, changes } = setUp(t);
  writeFileSync(at('cert'), 'two');
  writeFileSync(at('key.new'), 'two');
  renameSync(at('key.new'), at('key'));
  await sleep(500);
  t.same(changes, [['cert', 'key']]);
  writeFileSync(at('cert'), 'two');
  writeFileSync(at('other'), 'three');
  await sleep(500);
  t.same(changes.length, 1);
});

await t.test(
  'who wants to know is told once that a file is gone, and again when it is back, as it was or not',
  async t => {
    const { at, changes, lost } = setUp(t, true);
    rmSync(at('key'));
    while (lost.length === 0) await sleep(20);
    writeFileSync(at('other'), 'x');
    await sleep(500);
    t.same(lost, [['key']]);
    writeFileSync(at('key'), 'one');
    while (changes.length === 0) await sleep(20);
    t.same(changes, [['key']]);
  },
);

await t.test('a change is told although another file of the directory changes all the time', async t => {
  const { at, changes } = setUp(t);
  writeFileSync(at('key'), 'two');
  for (let i = 0; changes.length === 0 && i < 200; i++) {
    writeFileSync(at('busy'), String(i));
    await sleep(50);
  }
  t.same(changes, [['key']]);
});

await t.test('a file that is away for a moment has not changed', async t => {
  const { at, changes } = setUp(t);
  rmSync(at('key'));
  await sleep(500);
  writeFileSync(at('key'), 'one');
  await sleep(500);
  t.same(changes, []);
  writeFileSync(at('key'), 'two');
  await sleep(500);
  t.same(changes, [['key']]);
});

await t.test('a link that leads elsewhere, and a file that a link leads to', async t => {
  const { at, watch, changes } = setUp(t);
  for (const name of ['a', 'b']) {
    mkdirSync(at(name));
    writeFileSync(join(at(name), 'file'), name);
  }
  symlinkSync('a/file', at('link'));
  watch.follow([at('link')]);
  writeFileSync(join(at('a'), 'file'), 'a2');
  await sleep(500);
  t.same(changes, [['link']]);
  symlinkSync('b/file', at('link.new'));
  renameSync(at('link.new'), at('link'));
  await sleep(500);
  t.same(changes, [['link'], ['link']]);
  writeFileSync(join(at('b'), 'file'), 'b2');
  await sleep(500);
  t.equal(changes.length, 3);
});

await t.test('a link to a directory in the path, and a directory that another one replaces', async t => {
  const { at, watch, changes } = setUp(t);
  for (const name of ['a', 'b', 'c']) {
    mkdirSync(at(name));
    writeFileSync(join(at(name), 'file'), name);
  }
  symlinkSync('a', at('current'));
  watch.follow([at('current/file')]);
  for (const [i, name] of ['b', 'a'].entries()) {
    symlinkSync(name, at('current.new'));
    renameSync(at('current.new'), at('current'));
    await sleep(500);
    t.equal(changes.length, 2 * i + 1, `now ${name}`);
    writeFileSync(join(at(name), 'file'), `${name}2`);
    await sleep(500);
    t.equal(changes.length, 2 * i + 2, 'the directory that it leads to now is watched');
  }
  renameSync(at('a'), at('old'));
  renameSync(at('c'), at('a'));
  await sleep(500);
  t.equal(changes.length, 5);
  writeFileSync(join(at('a'), 'file'), 'c2');
  await sleep(500);
  t.equal(changes.length, 6);
  watch.follow([at('loop')]);
  symlinkSync('loop', at('loop'));
  await sleep(500);
  t.equal(changes.length, 6, 'links that lead to themselves end somewhere');
});

await t.test('other files can be watched; a directory that cannot be watched is reported once', async t => {
  const { at, watch, changes, troubles } = setUp(t);
  watch.follow([at('cert'), at('nowhere/file')]);
  watch.follow([at('cert'), at('nowhere/file')]);
  t.match(troubles, [/nowhere: ENOENT/]);
  t.equal(troubles.length, 1);
  writeFileSync(at('key'), 'two');
  writeFileSync(at('cert'), 'two');
  await sleep(500);
  t.same(changes, [['cert']]);
  watch.close();
  writeFileSync(at('cert'), 'three');
  await sleep(500);
  t.equal(changes.length, 1);
});
