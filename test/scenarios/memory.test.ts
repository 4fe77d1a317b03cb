// cache.size is what the process spends on it: resident memory of a daemon that is asked for many more names than fit.
// NAMES=1000000 asks for that many, in about three minutes for each size.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { HEADER_BYTES } from '../../src/wire/header.js';
import { nameToText, readName } from '../../src/wire/name.js';
import { authority, certificate } from '../fixtures/certificates.js';
import type { At } from '../fixtures/client.js';
import { dotServer, type Handler } from '../fixtures/dot-server.js';
import { flood, oneAddress } from '../fixtures/flood.js';
import { residentBytes } from '../fixtures/memory.js';
import { freePort } from '../fixtures/free-port.js';
import { responseTo } from '../fixtures/messages.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';

const MIB = 1 << 20;
/** How many names before the first look, and how many in all. */
const FIRST = 10_000;
const NAMES = Number(process.env['NAMES'] ?? 120_000);
/** How many names are asked for again and again, and after how many others. */
const POPULAR = 50;
const BETWEEN = 2000;
/** What the measure of a heap that grows in steps may be off, for the smallest caches. */
const STEP_BYTES = 6 * MIB;

t.setTimeout(NAMES * 3 + 120_000);

interface Running {
  readonly at: At;
  /** Names that were asked upstream, and how often. */
  readonly asked: ReadonlyMap<string, number>;
  resident(): Promise<number>;
}

async function running(t: Test, mib: number, handler: Handler): Promise<Running> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory.path, 'state'));
  const ca = authority();
  writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
  const asked = new Map<string, number>();
  const upstream = await dotServer({
    identity: certificate({ common: 'dns.test', names: ['dns.test'], issuer: ca }),
    handler: (query, session) => {
      const name = nameToText(readName(query, HEADER_BYTES)?.name ?? Buffer.alloc(1)).toLowerCase();
      if (name.startsWith('popular')) asked.set(name, (asked.get(name) ?? 0) + 1);
      handler(query, session);
    },
  });
  const port = await freePort();
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
special_names: { forward: [test] }
front: { threads: 1 }
state_directory: ${join(directory.path, 'state')}
cache: { size: ${mib}MiB, persist: false }
upstream:
  mode: strict
  ca_file: ${join(directory.path, 'ca.pem')}
  servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }]
`);
  t.teardown(async () => {
    await daemon.stop();
    await upstream.close();
    directory.remove();
  });
  return {
    at: { address: '127.0.0.1', port },
    asked,
    async resident() {
      await sleep(500);
      return residentBytes(daemon.child.pid ?? 0);
    },
  };
}

const inMib = (bytes: number): string => (bytes / MIB).toFixed(1);

for (const mib of [4, 16, 64])
  await t.test(
    `cache.size ${mib} MiB: ${NAMES} names grow the process by no more; what is asked for stays`,
    async t => {
      const { at, asked, resident } = await running(t, mib, oneAddress);
      let known = 0;
      const some = async (count: number): Promise<number> => {
        const { errors } = await flood(at, count, i => `n${known + i}.flood.test`);
        known += count;
        return errors + (await flood(at, POPULAR, i => `popular${i}.test`)).errors;
      };
      t.equal(await some(FIRST), 0);
      const before = await resident();
      let errors = 0;
      while (known < NAMES) errors += await some(BETWEEN);
      t.equal(errors, 0);
      const grown = (await resident()) - before;
      t.comment(`${inMib(before)} MiB after ${FIRST} names, ${inMib(grown)} MiB more after ${known}`);
      t.ok(grown <= 1.2 * mib * MIB + STEP_BYTES, `${inMib(grown)} MiB`);
      t.equal(asked.size, POPULAR);
      const again = [...asked.values()].reduce((sum, count) => sum + count - 1, 0);
      t.ok(again <= POPULAR / 10, `popular names were asked for again ${again} times`);
    },
  );

await t.test('a server whose errors are long: they take no more than their part of cache.size', async t => {
  const data = Buffer.concat([Buffer.from([0, 22]), Buffer.alloc(15_000, 'a')]);
  const options = Array.from({ length: 4 }, () => ({ code: 15, data }));
  const { at, resident } = await running(t, 4, (query, session) =>
    session.reply(responseTo(query, { rcode: 2, options })),
  );
  await flood(at, 1000, i => `n${i}.flood.test`);
  const before = await resident();
  const bytes: number[] = [];
  for (let known = 1000; known < 4000; known += 500) {
    await flood(at, 500, i => `n${known + i}.flood.test`);
    bytes.push(await resident());
  }
  // What is garbage waits for a collection, so that the least of some counts.
  const grown = Math.min(...bytes.slice(-4)) - before;
  t.comment(`${inMib(before)} MiB after 1000 failures, ${inMib(grown)} MiB more after 4000`);
  // The messages themselves were 180 MB.
  t.ok(grown <= 25 * MIB, `${inMib(grown)} MiB`);
});

await t.test('lists that are read again and again take the memory of the lists of before', async t => {
  const NAMED = 300_000;
  const TIMES = 16;
  const directory = temporaryDirectory();
  mkdirSync(join(directory.path, 'state'));
  const list = join(directory.path, 'list');
  writeFileSync(list, Array.from({ length: NAMED }, (_, i) => `n${i}.flood.test\n`).join(''));
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${await freePort()}"]
metrics: { listen: off }
state_directory: ${join(directory.path, 'state')}
lists: [{ name: all, sources: [${list}] }]
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.1:1"] }] }
`);
  t.teardown(async () => {
    await daemon.stop();
    directory.remove();
  });
  const bytes: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    t.equal((await dotstub(['lists', 'refresh', '--config', daemon.configFile])).code, 0);
    bytes.push(residentBytes(daemon.child.pid ?? 0));
  }
  // A table has 5 MiB. What is free is used again after the next garbage collection, so that the least of some counts.
  const before = Math.min(...bytes.slice(0, 4));
  const grown = Math.min(...bytes.slice(-4)) - before;
  t.comment(`${inMib(before)} MiB, ${inMib(grown)} MiB more after ${TIMES} times`);
  t.ok(grown <= 25 * MIB, `${inMib(grown)} MiB`);
});
