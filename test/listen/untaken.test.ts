// What a session has handed over to another thread (listen/untaken).

import t from 'tap';

import type { Entrance } from '../../src/front/front.js';
import { Turns } from '../../src/listen/turns.js';
import { Untaken } from '../../src/listen/untaken.js';

await t.test('a session waits once two of its messages were not taken, whatever their numbers are', t => {
  for (const start of [0, 2 ** 31 - 10, 2 ** 31 + 10, 2 ** 32 - 10, 2 ** 32 + 10]) {
    const handOver = {
      last: start,
      taken: start,
      isTaken: (id: number): boolean => ((id - handOver.taken) | 0) <= 0,
      whenTaken: (): void => undefined,
    };
    const front: Entrance = { handOver, handle: () => true };
    const untaken = new Untaken({ front, turns: new Turns() }, { takeTurn: () => undefined });
    t.equal(untaken.isFull, false, `a new session, after ${start}`);
    const full = [1, 2, 3].map(() => {
      handOver.last++;
      untaken.add();
      return untaken.isFull;
    });
    t.same(full, [false, true, true]);
    handOver.taken = handOver.last;
    t.equal(untaken.isFull, false);
    untaken.close();
    t.equal(untaken.isFull, false);
  }
  t.end();
});
