// Copies of lists that come over HTTPS: when they are fetched.

import t from 'tap';

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

function copiesOf(results: Downloaded[]) {
  const clock = fakeClock();
  const copies = new ListCopies({
    ...{ clock, ageNow: ageClock(clock), random: fakeRandom(), store: NO_STORE, directory: '/nowhere' },
    download: async () => Promise.resolve(results.shift() ?? { at: 'failed', why: 'it is down' }),
    addressesOf: async () => Promise.resolve(['192.0.2.1']),
    roots: () => undefined,
  });
  return { clock, copies };
}

await t.test('a copy is due after its time, of which the machine may sleep a part', async t => {
  const { clock, copies } = copiesOf([{ at: 'new', etag: undefined, lastModified: undefined }]);
  t.ok(await copies.fetch(URL, DAY_MS));
  t.ok(copies.dueInMs(URL, DAY_MS) > 0.8 * DAY_MS);
  clock.sleep(DAY_MS);
  t.ok(copies.dueInMs(URL, DAY_MS) <= 0);
});

await t.test('after a failure it is due later each time; on another network, or after a sleep, at once', async t => {
  const { clock, copies } = copiesOf([]);
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
  const { copies } = copiesOf([{ at: 'new', etag: undefined, lastModified: undefined }]);
  await copies.fetch(URL, DAY_MS);
  copies.networkChanged();
  t.ok(copies.dueInMs(URL, DAY_MS) > 0.8 * DAY_MS);
});
