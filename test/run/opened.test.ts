// What was opened is closed in the opposite order, whatever fails.

import t from 'tap';

import { Opened } from '../../src/run/opened.js';

await t.test('the last one opened is closed first, and each is awaited before the next', async t => {
  const opened = new Opened();
  const closed: string[] = [];
  const part = (name: string) => ({
    async close() {
      await new Promise(resolve => setImmediate(resolve));
      closed.push(name);
    },
  });
  const first = part('first');
  t.equal(opened.add(first), first, 'the part itself');
  opened.add(part('second'));
  opened.add({ close: () => void closed.push('third') });
  await opened.close();
  t.same(closed, ['third', 'second', 'first']);
  await opened.close();
  t.equal(closed.length, 3, 'once, however often it is asked for');
});

await t.test('one that cannot be closed keeps no other open, and what went wrong is told', async t => {
  const opened = new Opened();
  const closed: string[] = [];
  opened.add({ close: () => void closed.push('first') });
  opened.add({
    close: () => {
      throw new Error('thrown');
    },
  });
  opened.add({ close: async () => Promise.reject(new Error('rejected')) });
  opened.add({ close: () => void closed.push('last') });
  const problem = await opened.close().then(
    () => undefined,
    (error: unknown) => error,
  );
  t.same(closed, ['last', 'first']);
  t.ok(problem instanceof AggregateError);
  t.same(problem instanceof AggregateError ? problem.errors.map(each => String(each)) : [], [
    'Error: rejected',
    'Error: thrown',
  ]);
});
