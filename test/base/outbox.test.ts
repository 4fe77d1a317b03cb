// Octets that wait to leave together (base/outbox).

import fc from 'fast-check';
import t from 'tap';

import { Outbox } from '../../src/base/outbox.js';

await t.test('what leaves is what was added, in order, and stays as it was', t => {
  const step = fc.oneof(
    fc.constant('take' as const),
    fc.integer({ min: 1, max: 40_000 }),
    fc.integer({ min: 1, max: 300 }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const outbox = new Outbox();
      const waiting: Buffer[] = [];
      const left: { readonly octets: Buffer; readonly expected: Buffer }[] = [];
      const lent = Buffer.alloc(40_000);
      for (const [i, each] of steps.entries()) {
        if (each === 'take') left.push({ octets: outbox.take(), expected: Buffer.concat(waiting.splice(0)) });
        else {
          // The memory is used again, as that of queries is.
          const bytes = lent.subarray(0, each).fill(i);
          outbox.add(bytes);
          waiting.push(Buffer.from(bytes));
        }
        if (outbox.isEmpty !== (waiting.length === 0)) return false;
      }
      return left.every(({ octets, expected }) => octets.equals(expected));
    }),
  );
  t.end();
});
