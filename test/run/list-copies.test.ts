// Copies of lists that come over HTTPS: when they are fetched.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

import t, { type Test } from 'tap';

import type { Downloaded } from '../../src/os/download.js';
import type { StateStore } from '../../src/os/state-store.js';
import { ListCopies } from '../../src/run/list-copies.js';
import { ageClock, fakeClock, fakeRandom } from '../fixtures/clock.js';

const URL = 'https://lists.example/ads.txt';
const DAY_MS = 86_400_000;

const NO_STORE: StateStore = {
  read: () => '',
  async *pieces() {},
  ...{ begin: () => undefined, remove: () => undefined, leave: () => undefined, write: () => undefined, unwritten: [] },
  ...{ flush: async () => Promise.resolve(), close: async () => Promise.resolve() },
};

/** Copies of what the server sends. Its text is a list unless it has `error` in it. */
function copiesOf(t: Test, results: Downloaded[]) {
  const clock = fakeClock();
  const directory = t.testdir();
  const sent = { text: 'ads.example' };
  const etags: (string | undefined)[] = [];
  const copies = new ListCopies(
    {
      ...{ clock, ageNow: ageClock(clock), random: fakeRandom(), store: NO_STORE, directory },
      download: async ({ path, etag }) => {
        etags.push(etag);
        const result = results.shift() ?? { at: 'failed', why: 'it is down' };
        if (result.at === 'new') writeFileSync(path, sent.text);
        return Promise.resolve(result);
      },
      addressesOf: async () => Promise.resolve(['192.0.2.1']),
      roots: () => undefined,
    },
    async (_, path) => Promise.resolve(readFileSync(path, 'utf8').includes('error') ? 'it is no list' : undefined),
  );
  return { clock, copies, directory, sent, etags };
}

await t.test('what is no list does not replace the copy, nor its tags, and is a failed fetch', async t => {
  const results: Downloaded[] = ['"1"', '"2"', '"3"'].map(etag => ({ at: 'new', etag, lastModified: undefined }));
  const { copies, directory, sent, etags } = copiesOf(t, results);
  t.ok(await copies.fetch(URL, DAY_MS));
  const current = copies.currentAt(URL);
  sent.text = 'an error';
  t.notOk(await copies.fetch(URL, DAY_MS));
  t.equal(readFileSync(copies.pathOf(URL), 'utf8'), 'ads.example');
  t.equal(copies.problemOf(URL), 'it is no list');
  t.equal(copies.currentAt(URL), current);
  t.equal(Math.round(copies.dueInMs(URL, DAY_MS)), 60_000);
  sent.text = 'more.example';
  t.ok(await copies.fetch(URL, DAY_MS));
  t.equal(readFileSync(copies.pathOf(URL), 'utf8'), 'more.example');
  t.same([etags, copies.problemOf(URL)], [[undefined, '"1"', '"1"'], undefined]);
  t.equal(readdirSync(directory).length, 1, 'nothing is left over');
});

await t.test('a copy is due after its time, of which the machine may sleep a part', async t => {
  const { clock, copies } = copiesOf(t, [{ at: 'new', etag: undefined, lastModified: undefined }]);
  t.ok(await copies.fetch(URL, DAY_MS));
  t.ok(copies.dueInMs(URL, DAY_MS) > 0.8 * DAY_MS);
  clock.sleep(DAY_MS);
  t.ok(copies.dueInMs(URL, DAY_MS) <= 0);
});

await t.test('after a failure it is due later each time; on another network, or after a sleep, at once', async t => {
  const { clock, copies } = copiesOf(t, []);
  for (let i = 0; i < 6; i++) await copies.fetch(URL, DAY_MS);
  t.equal(Math.round(copies.dueInMs(URL, DAY_MS)), 32 * 60_000);
  copies.networkChanged();
  t.equal(copies.dueInMs(URL, DAY_MS), 0);
  t.match(copies.problemOf(URL), 'it is down', 'until then, nothing has become right');
  await copies.fetch(URL, DAY_MS);
  t.equal(Math.round(copies.dueInMs(URL, DAY_MS)), 60_000, 'and failures count anew');
  clock.sleep(60_000);
  t.ok(copies.dueInMs(URL, DAY_MS) <= 0);
});

await t.test('what did not fail is not due because the network has changed', async t => {
  const { copies } = copiesOf(t, [{ at: 'new', etag: undefined, lastModified: undefined }]);
  await copies.fetch(URL, DAY_MS);
  copies.networkChanged();
  t.ok(copies.dueInMs(URL, DAY_MS) > 0.8 * DAY_MS);
});
