// The store that replicas share: when it is opened and closed, what it is told to forget, and what the log says.

import t from 'tap';

import type { StoreEvents } from '../../src/base/ports.js';
import { ageSec } from '../../src/base/time.js';
import type { Name } from '../../src/dnssec/name.js';
import { SharedCache } from '../../src/run/shared-cache.js';
import type { Plan } from '../../src/run/plan.js';
import { fakeClock, fakeRandom } from '../fixtures/clock.js';
import { fakeFiles, planFor } from '../fixtures/plans.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';

const key = (octet: number): string => Buffer.alloc(32, octet).toString('base64');
const FILES = fakeFiles({ '/one.key': key(1), '/other.key': key(2) });
const planned = (url = 'redis://127.0.0.1', keyFile = '/one.key', more = ''): Plan =>
  planFor(`cache: { shared: { url: "${url}", key_file: ${keyFile} } }\n${more}`, FILES);
const NONE = planFor('');

function scene(plan: Plan) {
  const clock = fakeClock();
  const log = recordedLog();
  const stores: { readonly at: string; readonly events: StoreEvents; isClosed: boolean }[] = [];
  const settings = { unsigned: [] as readonly Name[], clockIsWrong: false };
  const cache = new SharedCache(
    {
      ...{ clock, log, random: fakeRandom(), observer: recorder().observer },
      ageNow: () => ageSec(clock.monotonicMs() / 1000),
      openStore: address => events => {
        const store = { at: JSON.stringify(address.at), events, isClosed: false };
        stores.push(store);
        return { read: () => undefined, write: () => undefined, close: () => void (store.isClosed = true) };
      },
      clockIsWrong: () => settings.clockIsWrong,
      unsigned: () => settings.unsigned,
    },
    plan,
  );
  const take = (next: Plan): void => cache.prepare(next).commit();
  const place = (): string | undefined => cache.answers?.place('\x03www\0\0\x01\0\x01', 0)?.storeKey.toString('hex');
  return { clock, log, stores, settings, cache, take, place };
}

await t.test('a connection is opened for each store, and kept while its address is the same', t => {
  const { stores, cache, take, place } = scene(NONE);
  t.same([cache.answers, cache.overview, stores.length], [undefined, undefined, 0]);
  take(planned());
  stores[0]?.events.opened();
  const before = place();
  t.ok(before);
  take(planned('redis://127.0.0.1', '/other.key'));
  t.equal(stores.length, 1, 'another key needs no other connection');
  t.not(place(), before);
  take(planned('redis://127.0.0.1', '/one.key', 'dnssec: { mode: off }'));
  t.not(place(), before, 'nor do other settings');
  take(planned('redis://127.0.0.2'));
  t.same(
    stores.map(each => each.isClosed),
    [true, false],
  );
  take(NONE);
  t.same([stores.map(each => each.isClosed), cache.answers], [[true, true], undefined]);
  cache.close();
  t.end();
});

await t.test('under temporary negative trust anchors, nothing is shared with those that have others', t => {
  const { stores, settings, place } = scene(planned());
  stores[0]?.events.opened();
  const before = place();
  settings.unsigned = ['\x04corp\0'];
  t.not(place(), before);
  settings.unsigned = [];
  t.equal(place(), before);
  t.end();
});

await t.test('while the clock is wrong, the age of an answer is not known, and nothing is shared', t => {
  const { stores, settings, cache } = scene(planned());
  stores[0]?.events.opened();
  settings.clockIsWrong = true;
  t.equal(cache.answers, undefined);
  settings.clockIsWrong = false;
  t.ok(cache.answers);
  t.end();
});

await t.test('the log says once that the store is gone, and once that it is back', async t => {
  const { clock, log, stores, cache } = scene(planned());
  stores[0]?.events.opened();
  stores[0]?.events.closed('connection reset');
  for (const pauseMs of [1000, 2000, 4000]) {
    await clock.advance(pauseMs);
    stores.at(-1)?.events.closed('connection refused');
  }
  t.same(cache.overview, { at: 'off', why: 'connection refused' });
  await clock.advance(8000);
  stores.at(-1)?.events.opened();
  t.same(log.lines, [
    'info: answers are shared with other replicas (cache.shared)',
    'warn: the store of cache.shared is not used (connection reset); it is tried again',
    'info: answers are shared with other replicas (cache.shared)',
  ]);
  cache.close();
  t.equal(clock.pending, 0);
});
