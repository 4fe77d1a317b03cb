import t from 'tap';

import { FAILURES, type FailureCode } from '../../src/base/outcome.js';
import { ageSec } from '../../src/base/time.js';
import { FailureCache, type Hold, HOLDS } from '../../src/cache/failures.js';

const KEY = '\x03www\x07example\0\0\x01\0\x01\0';

/** How long failures hold that follow each other `pauseSec` after the hold of the one before. */
function holds(cache: FailureCache<string>, hold: Hold, times: number, pauseSec = 0): number[] {
  let now = 1000;
  return Array.from({ length: times }, () => {
    cache.put(KEY, 'failed', hold, ageSec(now), cache.epoch);
    const from = now;
    while (cache.get(KEY, ageSec(now)) !== undefined) now += 0.5;
    const held = now - from;
    now += pauseSec;
    return held;
  });
}

await t.test('RFC 9520 §3.2: a failure holds for a second, twice as long each time, and at most 30 s', t => {
  t.same(holds(new FailureCache(1 << 20, () => 0), 'growing', 7), [1, 2, 4, 8, 16, 30, 30]);
  t.same(
    holds(new FailureCache(1 << 20, () => 0), 'growing', 3, 50),
    [1, 2, 4],
    'a while later it is still a repetition',
  );
  t.same(holds(new FailureCache(1 << 20, () => 0), 'growing', 3, 61), [1, 1, 1], 'a minute later it is a new failure');
  t.end();
});

await t.test('a bogus failure is stored for a minute, a brief one for a second', t => {
  t.same(holds(new FailureCache(1 << 20, () => 0), 'bogus', 2), [60, 60]);
  t.same(holds(new FailureCache(1 << 20, () => 0), 'brief', 3), [1, 1, 1]);
  t.end();
});

await t.test('timeouts grow only while other questions are answered: else the network may be to blame', t => {
  t.same(holds(new FailureCache(1 << 20, () => 0), 'timeout', 3), [1, 1, 1]);
  const cache = new FailureCache<string>(1 << 20, () => 0);
  cache.succeeded('other', ageSec(999));
  t.same(holds(cache, 'timeout', 4), [1, 2, 4, 1], 'the last one, when nothing was answered for 8 s');
  t.end();
});

await t.test('an answer ends it, and the next failure is a first one', t => {
  const cache = new FailureCache<string>(1 << 20, () => 0);
  const put = (now: number): void => cache.put(KEY, 'failed', 'growing', ageSec(now), cache.epoch);
  put(0);
  put(1);
  cache.succeeded(KEY, ageSec(2));
  t.equal(cache.get(KEY, ageSec(2)), undefined);
  put(3);
  t.equal(cache.get(KEY, ageSec(4)), undefined);
  t.end();
});

await t.test('failures are forgotten by name, and all at once', t => {
  const cache = new FailureCache<string>(1 << 20, () => 0);
  const other = KEY.replace('www', 'xxx');
  for (const key of [KEY, other]) cache.put(key, key, 'bogus', ageSec(0), cache.epoch);
  cache.forget(name => name === '\x03www\x07example\0');
  t.equal(cache.get(KEY, ageSec(1)), undefined);
  t.equal(cache.get(other, ageSec(1)), other);
  const before = cache.epoch;
  cache.clear();
  t.equal(cache.entries, 0);
  cache.put(KEY, 'of another network', 'bogus', ageSec(2), before);
  t.equal(cache.get(KEY, ageSec(2)), undefined, 'what was asked before is not kept after');
  t.end();
});

await t.test('the table has a bound in octets, and what leaves is counted', t => {
  const cache = new FailureCache<string>(10_000, ({ length }) => length);
  const fill = (words: string): number => {
    for (let i = 0; i < 25; i++) cache.put(`${words.slice(0, 9)}${i}`, words, 'growing', ageSec(0), cache.epoch);
    return cache.entries;
  };
  t.ok(fill('short') >= 12);
  t.equal(cache.evictions, 25 - cache.entries);
  t.equal(cache.get('short24', ageSec(0)), 'short');
  t.equal(fill('l'.repeat(4000)), 2);
  t.equal(fill('too long'.repeat(10_000)), 2, 'what is larger than the table is not kept');
  t.end();
});

await t.test('only what speaks of the question is kept, never what speaks of the network or of this program', t => {
  const kept = (Object.keys(FAILURES) as FailureCode[]).filter(code => HOLDS[code] !== undefined);
  t.same(kept.sort(), [
    'alias_loop',
    'bogus',
    'dnskey_missing',
    'dnssec_indeterminate',
    'dnssec_limit',
    'no_zone_key',
    'nsec_missing',
    'parse',
    'rrsigs_missing',
    'sentinel',
    'signature_early',
    'signature_expired',
    'timeout',
  ]);
  t.end();
});
