// The store as seen by queries, under a fake clock: deadlines, bounds, and when it is left alone.

import t from 'tap';

import type { SharedCacheOverview } from '../../src/base/overview.js';
import type { SharedWrite } from '../../src/base/observer.js';
import type { SharedStore, StoreEvents, StoreReply } from '../../src/base/ports.js';
import {
  FIRST_PAUSE_MS,
  LEAST_SILENT_MS,
  MOST_FAILURES,
  MOST_PAUSE_MS,
  MOST_READS,
  MOST_WRITE_BYTES,
  OPEN_MS,
  READS_WHILE_LATE,
  SharedLevel,
  STEADY_MS,
} from '../../src/cache/shared-level.js';
import { type FakeClock, fakeClock } from '../fixtures/clock.js';

const TIMEOUT_MS = 20;
const KEY = Buffer.from('key');
const octets = (text: string): StoreReply => ({ at: 'octets', octets: Buffer.from(text) });

/** A connection that a test answers on. */
class ScriptedStore implements SharedStore {
  readonly reads: ((reply: StoreReply) => void)[] = [];
  readonly writes: ((reply: StoreReply) => void)[] = [];
  isClosed = false;

  constructor(readonly events: StoreEvents) {}

  read(_key: Buffer, _mostBytes: number, take: (reply: StoreReply) => void): void {
    this.reads.push(take);
  }

  write(_key: Buffer, _octets: Buffer, _seconds: number, take: (reply: StoreReply) => void): void {
    this.writes.push(take);
  }

  close(): void {
    this.isClosed = true;
  }
}

interface Scene {
  readonly clock: FakeClock;
  readonly level: SharedLevel;
  readonly stores: readonly ScriptedStore[];
  readonly states: readonly SharedCacheOverview[];
  /** The store that was opened last. */
  readonly store: ScriptedStore;
  /** What reads have found, in order. */
  readonly found: string[];
  read(): void;
}

function scene({ isOpen = true, lateMs = 0 } = {}): Scene {
  const clock = fakeClock();
  const stores: ScriptedStore[] = [];
  const states: SharedCacheOverview[] = [];
  const found: string[] = [];
  const level = new SharedLevel({
    clock: { ...clock, after: (ms, then) => clock.after(ms === 0 ? 1 : ms + lateMs, then) },
    timeoutMs: TIMEOUT_MS,
    open(events) {
      const store = new ScriptedStore(events);
      stores.push(store);
      return store;
    },
    changed: state => states.push(state),
  });
  const made: Scene = {
    ...{ clock, level, stores, states, found },
    get store() {
      const last = stores.at(-1);
      if (last === undefined) throw new Error('no store was opened');
      return last;
    },
    read: () => level.read(KEY, 100, each => found.push(each.at === 'octets' ? each.octets.toString() : each.at)),
  };
  if (isOpen) made.store.events.opened();
  return made;
}

/** Lets it fail as often as it must to be off. */
async function silence({ clock, read }: Scene): Promise<void> {
  for (let i = 0; i < MOST_FAILURES - 1; i++) read();
  await clock.advance(TIMEOUT_MS + LEAST_SILENT_MS);
  read();
  await clock.advance(TIMEOUT_MS);
}

await t.test('a read gives what is there, or that there is nothing', t => {
  const { level, store, read, found } = scene();
  read();
  read();
  store.reads[0]?.(octets('answer'));
  store.reads[1]?.(octets(''));
  t.same(found, ['answer', 'miss']);
  t.ok(level.isOpen);
  t.end();
});

await t.test('nobody waits for longer than the deadline, and what comes later is not given', async t => {
  const { clock, store, read, found, level } = scene();
  read();
  await clock.advance(TIMEOUT_MS / 2);
  read();
  await clock.advance(TIMEOUT_MS / 2 - 1);
  t.same(found, []);
  await clock.advance(1);
  t.same(found, ['timeout']);
  store.reads[0]?.(octets('late'));
  store.reads[1]?.(octets('in time'));
  await clock.advance(1000);
  t.same(found, ['timeout', 'in time']);
  t.ok(level.isOpen, 'one that is late is no reason to leave it alone');
  t.equal(clock.pending, 0, 'and no timer is left');
});

await t.test('before it has answered for the first time, nobody waits for it', async t => {
  const { clock, level, store, read, found, states } = scene({ isOpen: false });
  read();
  t.same(found, ['skipped']);
  t.same(level.overview, { at: 'opening' });
  await clock.advance(OPEN_MS);
  t.match(states, [{ at: 'off', why: /has not answered within/ }]);
  t.ok(store.isClosed);
});

await t.test('frozen: the first clients wait for the deadline, and the others for nothing', async t => {
  const seen = scene();
  const { clock, level, store, read, found } = seen;
  const timeouts = (): number => found.filter(each => each === 'timeout').length;
  for (let i = 0; i < MOST_FAILURES + 3; i++) read();
  await clock.advance(TIMEOUT_MS);
  t.equal(timeouts(), MOST_FAILURES + 3);
  t.ok(level.isOpen, 'a burst of late answers is no proof');
  for (let i = 0; i < 100; i++) read();
  t.equal(found.filter(each => each === 'skipped').length, 100 - READS_WHILE_LATE, 'while it is late, few wait');
  await clock.advance(LEAST_SILENT_MS - TIMEOUT_MS);
  read();
  read();
  await clock.advance(TIMEOUT_MS);
  t.match(level.overview, { at: 'off', why: /11 questions in a row within 20 ms/ });
  t.equal(found.at(-2), 'skipped', 'all that wait are let go together');
  t.ok(store.isClosed, 'what is queued in it is given up');
  const asked = store.reads.length;
  read();
  t.equal(found.at(-1), 'skipped', 'at once');
  t.equal(store.reads.length, asked, 'and it is asked nothing');
});

await t.test('a store that has not answered for half of the deadline is asked little more', async t => {
  const { clock, store, read, found } = scene();
  for (let i = 0; i < 10; i++) read();
  await clock.advance(TIMEOUT_MS / 2 - 1);
  read();
  t.equal(store.reads.length, 11, 'not yet');
  await clock.advance(1);
  read();
  t.equal(store.reads.length, 11);
  t.same(found, ['skipped']);
  for (const answer of store.reads) answer(octets('x'));
  read();
  t.equal(store.reads.length, 12, 'it answers again');
  read();
  await clock.advance(TIMEOUT_MS / 2);
  read();
  t.equal(store.reads.length, 13, 'two wait');
});

await t.test('late, and then in time: it stays open', async t => {
  const { clock, level, store, read, found } = scene();
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < MOST_FAILURES; i++) read();
    await clock.advance(TIMEOUT_MS);
    await clock.advance(LEAST_SILENT_MS);
    read();
    store.reads.at(-1)?.(octets('answer'));
  }
  t.ok(level.isOpen);
  t.equal(found.filter(each => each === 'answer').length, 5);
});

await t.test('after a pause it is tried, at no cost for clients, and the pauses grow', async t => {
  const seen = scene();
  const { clock, stores, level, read, found } = seen;
  await silence(seen);
  let pauseMs = FIRST_PAUSE_MS;
  for (let tries = 2; tries < 12; tries++) {
    await clock.advance(pauseMs - 1);
    t.equal(stores.length, tries - 1);
    await clock.advance(1);
    t.equal(stores.length, tries, `tried after ${pauseMs} ms`);
    read();
    t.equal(found.at(-1), 'skipped');
    await clock.advance(OPEN_MS);
    pauseMs = Math.min(2 * pauseMs, MOST_PAUSE_MS);
  }
  t.equal(pauseMs, MOST_PAUSE_MS);
  await clock.advance(pauseMs);
  seen.store.events.opened();
  t.ok(level.isOpen);
  read();
  seen.store.reads[0]?.(octets('again'));
  t.equal(found.at(-1), 'again');
});

await t.test(
  'a store that works for a while and fails again begins with the first pause, one that flaps does not',
  async t => {
    for (const [workedMs, pauseMs] of [
      [STEADY_MS, FIRST_PAUSE_MS],
      [STEADY_MS - 1, 2 * FIRST_PAUSE_MS],
    ] as const) {
      const seen = scene();
      await silence(seen);
      await seen.clock.advance(FIRST_PAUSE_MS);
      seen.store.events.opened();
      await seen.clock.advance(workedMs);
      seen.store.events.closed('it was killed');
      await seen.clock.advance(pauseMs - 1);
      t.equal(seen.stores.length, 2);
      await seen.clock.advance(1);
      t.equal(seen.stores.length, 3, `${workedMs} ms, then ${pauseMs} ms`);
    }
  },
);

await t.test('killed: whoever waits is let go at once', t => {
  const { store, read, found, level, states } = scene();
  read();
  store.events.closed('connection reset');
  t.same(found, ['skipped']);
  t.same(level.overview, { at: 'off', why: 'connection reset' });
  store.reads[0]?.(octets('of a closed store'));
  store.events.closed('twice');
  store.events.opened();
  t.same(found, ['skipped']);
  t.same(states, [{ at: 'open' }, { at: 'off', why: 'connection reset' }]);
  t.end();
});

await t.test('refusals count as failures, and an answer in between begins the count anew', t => {
  const { store, read, found, level } = scene();
  const replies: readonly StoreReply[] = Array.from({ length: MOST_FAILURES - 1 }, () => ({
    at: 'refused',
    words: 'it refuses: NOPERM',
  }));
  const say = (reply: StoreReply): void => {
    read();
    store.reads.at(-1)?.(reply);
  };
  replies.forEach(say);
  say(octets('fine'));
  replies.forEach(say);
  t.ok(level.isOpen);
  t.equal(found.filter(each => each === 'refused').length, 2 * (MOST_FAILURES - 1));
  say({ at: 'refused', words: 'it refuses: NOPERM' });
  t.same(level.overview, { at: 'off', why: 'it refuses: NOPERM' });
  t.end();
});

await t.test('reads without an answer are bounded, those that nobody waits for any more included', async t => {
  const { clock, store, read, found } = scene();
  for (let i = 0; i < MOST_READS + 10; i++) read();
  t.equal(store.reads.length, MOST_READS);
  t.equal(found.length, 10);
  store.reads.forEach(take => take(octets('answer')));
  read();
  t.equal(store.reads.length, MOST_READS + 1, 'when it has answered, there is room again');
  store.reads.at(-1)?.(octets('answer'));
  t.equal(found.filter(each => each === 'answer').length, MOST_READS + 1);
  await clock.advance(TIMEOUT_MS);
  t.notOk(found.includes('timeout'));
});

await t.test('octets of writes without an answer are bounded, and nobody waits for them', t => {
  const { level, store } = scene();
  const results: SharedWrite[] = [];
  const large = Buffer.alloc(MOST_WRITE_BYTES / 4);
  const write = (): void => level.write(KEY, large, 60, each => results.push(each));
  for (let i = 0; i < 6; i++) write();
  t.same([store.writes.length, results], [4, ['skipped', 'skipped']]);
  store.writes[0]?.(octets(''));
  store.writes[1]?.({ at: 'refused', words: 'OOM' });
  write();
  write();
  write();
  t.same([store.writes.length, results], [6, ['skipped', 'skipped', 'stored', 'refused', 'skipped']]);
  t.end();
});

await t.test('after a store was exchanged for a new connection, its bounds are those of the new one', async t => {
  const seen = scene();
  for (let i = 0; i < MOST_READS; i++) seen.read();
  seen.level.write(KEY, Buffer.alloc(MOST_WRITE_BYTES), 60, () => undefined);
  seen.store.events.closed('killed');
  await seen.clock.advance(FIRST_PAUSE_MS);
  seen.store.events.opened();
  seen.level.write(KEY, Buffer.alloc(MOST_WRITE_BYTES), 60, () => undefined);
  for (let i = 0; i < MOST_READS; i++) seen.read();
  t.same([seen.store.reads.length, seen.store.writes.length], [MOST_READS, 1]);
});

await t.test(
  'when this process was busy, answers that have arrived meanwhile are read before it is called late',
  async t => {
    // Its timers fire 200 ms late, as those of a busy process do.
    const seen = scene({ lateMs: 200 });
    const { clock, level, store, read, found } = seen;
    for (let i = 0; i < MOST_FAILURES; i++) read();
    await clock.advance(TIMEOUT_MS + 199);
    // In the turn of the event loop after the timer, the socket is read.
    clock.after(1, () => store.reads.forEach(take => take(octets('had arrived'))));
    await clock.advance(100);
    t.same([...new Set(found)], ['had arrived']);
    t.ok(level.isOpen);
  },
);

await t.test('closed, it lets everybody go, and opens nothing any more', async t => {
  for (const isOff of [false, true]) {
    const seen = scene();
    const { clock, level, stores, store, read, found } = seen;
    if (isOff) await silence(seen);
    found.length = 0;
    read();
    level.close();
    read();
    t.same(found, ['skipped', 'skipped']);
    t.ok(store.isClosed);
    await clock.advance(10 * MOST_PAUSE_MS);
    t.equal(stores.length, 1);
    t.equal(clock.pending, 0);
  }
});
