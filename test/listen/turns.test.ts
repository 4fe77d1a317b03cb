// How sessions share the event loop.

import { setImmediate as nextTurn } from 'node:timers/promises';

import t from 'tap';

import { Turns, type Worker } from '../../src/listen/turns.js';

/** Somebody with so much work, who takes a unit at a time. */
function busy(turns: Turns, work: number, sessions?: number): Worker & { left: number } {
  const worker = {
    left: work,
    ...(sessions !== undefined && { sessions }),
    takeTurn(): void {
      while (!turns.isOver && worker.left > 0) {
        worker.left--;
        turns.spend(1);
      }
      if (worker.left > 0) turns.add(worker);
    },
  };
  turns.add(worker);
  return worker;
}

await t.test('one that works for many sessions has as much as they would have one by one', async t => {
  const turns = new Turns();
  const floods = Array.from({ length: 20 }, () => busy(turns, 1e9));
  const many = busy(turns, 6400, 200);
  while (many.left > 0) await nextTurn();
  const done = floods.map(({ left }) => 1e9 - left);
  t.ok(Math.max(...done) <= 3 * 32, `the others have done ${Math.max(...done)} meanwhile`);
  const one = busy(turns, 320);
  while (one.left > 0) await nextTurn();
  t.ok(Math.max(...floods.map(({ left }, i) => 1e9 - left - (done[i] ?? 0))) <= 11 * 32, 'one session has one piece');
  for (const each of floods) turns.remove(each);
});

await t.test('one that was interrupted and leaves has no turn any more', async t => {
  const turns = new Turns();
  const many = busy(turns, 1e9, 1000);
  await nextTurn();
  turns.remove(many);
  const { left } = many;
  t.ok(left < 1e9);
  for (let i = 0; i < 5; i++) await nextTurn();
  t.equal(many.left, left);
});
