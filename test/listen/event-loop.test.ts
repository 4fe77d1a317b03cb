// The event loop over epoll, with descriptors that are always readable.

import t, { type Test } from 'tap';

import { EventLoop, type Watcher } from '../../src/listen/event-loop.js';
import { LINUX, loadLibc } from '../../src/os/libc.js';

const libc = loadLibc();
const skip = 'unavailable' in libc ? libc.unavailable : false;

function looping(t: Test) {
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  const loop = new EventLoop(libc);
  const told: string[] = [];
  const fds: number[] = [];
  t.teardown(() => {
    for (const fd of fds) libc.close(fd);
    loop.close();
  });
  const readable = (name: string, isNew: boolean, then?: () => void): number => {
    const fd = libc.eventfd();
    fds.push(fd);
    libc.wake(fd);
    const watcher: Watcher = {
      use: 0,
      isNew,
      ready() {
        told.push(name);
        then?.();
      },
    };
    t.ok(loop.watch(fd, watcher, LINUX.EPOLLIN));
    return fd;
  };
  return { loop, told, readable, libc };
}

await t.test('sessions come before connections that have none yet', { skip }, t => {
  const { loop, told, readable } = looping(t);
  for (let i = 0; i < 3; i++) {
    readable('new', true);
    readable('session', false);
  }
  loop.runRound(0);
  t.same(told, ['session', 'session', 'session', 'new', 'new', 'new']);
  loop.runRound(0);
  t.equal(told.length, 12, 'what was not read is told of again');
  t.end();
});

await t.test('what is closed in a round is not told of, nor is what then has its number', { skip }, t => {
  const { loop, told, readable, libc } = looping(t);
  const first: number = readable('first', false, () => {
    if (told.length > 1) return;
    loop.forget(second);
    libc.close(second);
    t.equal(readable('third', true), second);
  });
  const second = readable('second', false);
  loop.runRound(0);
  t.same(told, ['first'], 'the event of the second is not one of the third');
  loop.forget(first);
  loop.change(first, 0);
  loop.runRound(0);
  t.ok(told.includes('third'));
  t.end();
});

await t.test('what nobody waits for is not told of', { skip }, t => {
  const { loop, told, readable } = looping(t);
  const fd = readable('a', false);
  loop.change(fd, 0);
  loop.runRound(0);
  loop.change(fd, LINUX.EPOLLIN);
  loop.runRound(0);
  t.same(told, ['a']);
  t.end();
});

await t.test('what is scheduled runs at the end of the round, and then nothing is waited for', { skip }, t => {
  const { loop } = looping(t);
  const done: number[] = [];
  loop.soon(() => {
    done.push(1);
    loop.soon(() => void done.push(3));
  });
  loop.soon(() => void done.push(2));
  // It would wait for ever.
  loop.runRound(-1);
  t.same(done, [1, 2]);
  loop.runRound(-1);
  t.same(done, [1, 2, 3]);
  t.end();
});

await t.test('after an exception, what others have scheduled still runs, once', { skip }, t => {
  const { loop } = looping(t);
  const done: number[] = [];
  loop.soon(() => void done.push(1));
  loop.soon(() => {
    throw new Error('broken');
  });
  loop.soon(() => void done.push(2));
  t.throws(() => loop.runRound(0), { message: 'broken' });
  loop.runRound(0);
  t.same(done, [1, 2]);
  t.end();
});

await t.test('a round waits no longer than until the next timer, and what was cancelled does not run', { skip }, t => {
  const { loop } = looping(t);
  const done: string[] = [];
  const cancel = loop.after(5, () => void done.push('cancelled'));
  loop.after(20, () => void done.push('first'));
  loop.after(3_600_000, () => void done.push('late'));
  cancel();
  const startedAt = loop.monotonicMs();
  for (let round = 0; round < 10 && done.length === 0; round++) loop.runRound(-1);
  t.same(done, ['first']);
  t.ok(loop.monotonicMs() - startedAt >= 20);
  t.end();
});

await t.test('a wait ends in time, whatever was waited for before, and its end is no event', { skip }, t => {
  const { loop, readable, libc } = looping(t);
  const waited = (mostMs: number): number => {
    const startedAt = performance.now();
    t.equal(loop.runRound(mostMs), 0);
    return performance.now() - startedAt;
  };
  t.ok(waited(30) >= 29);
  const done: string[] = [];
  loop.after(60_000, () => void done.push('late'));
  const fd = readable('event', false, () => libc.awake(fd));
  // It waits for the timer, and then for another that is due earlier.
  t.equal(loop.runRound(-1), 1);
  loop.after(20, () => void done.push('early'));
  for (let round = 0; round < 10 && done.length === 0; round++) t.ok(waited(-1) < 10_000);
  t.same(done, ['early']);
  t.end();
});
