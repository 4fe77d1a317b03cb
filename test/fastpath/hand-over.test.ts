// The ring between a front thread and the main thread, with the writer and the reader in one thread: every order of
// writing, reading and resting that a test can think of.

import fc from 'fast-check';
import t from 'tap';

import { HandOver } from '../../src/fastpath/hand-over.js';
import type { Messages } from '../../src/os/datagrams.js';

const ROUTE_BYTES = 17;

/** Stands for a batch of one datagram whose octets all have the same value. */
function datagram(messageBytes: number, value: number): Messages {
  const route = Buffer.alloc(ROUTE_BYTES, value ^ 0xff);
  const message = Buffer.alloc(messageBytes, value);
  const batch: Pick<Messages, 'bytes' | 'routeBytes' | 'copyRoute' | 'copyMessage'> = {
    bytes: () => message.length,
    routeBytes: () => route.length,
    copyRoute: (_i, out, at) => void route.copy(out, at),
    copyMessage: (_i, out, at) => void message.copy(out, at),
  };
  return batch as Messages;
}

const ROUTES = { take: (): Buffer => Buffer.alloc(ROUTE_BYTES) };

await t.test('records are read in the order of writing, and a reader at rest is always woken', t => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 12, max: 4096 }).map(bytes => ({ at: 'write' as const, bytes })) },
    { weight: 2, arbitrary: fc.integer({ min: 12, max: 100 }).map(bytes => ({ at: 'burst' as const, bytes })) },
    { weight: 1, arbitrary: fc.constant({ at: 'read' as const, bytes: 0 }) },
  );
  let wraps = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 1500, size: 'max' }), steps => {
      const memory = HandOver.memory();
      const writer = new HandOver(memory);
      const reader = new HandOver(memory);
      const expected: { socket: number; bytes: number; value: number }[] = [];
      const reading = { resting: true };
      let volume = 0;
      let turn = 0;
      const check = (): void => {
        reading.resting = reader.read(ROUTES, (socket, route, message) => {
          const next = expected.shift();
          if (
            next === undefined ||
            socket !== next.socket ||
            message.length !== next.bytes ||
            route.length !== ROUTE_BYTES
          )
            throw new Error('another than was written');
          if (!message.every(octet => octet === next.value) || !route.every(octet => octet === (next.value ^ 0xff)))
            throw new Error('other octets');
        });
        if (reading.resting && expected.length > 0) throw new Error('rests before all was read');
      };
      for (const { at, bytes } of steps) {
        if (at === 'read') {
          if (!reading.resting) check();
          continue;
        }
        for (let n = at === 'burst' ? 300 : 1; n > 0; n--) {
          const value = turn++ & 0xff;
          if (writer.write(turn % 7, datagram(bytes, value), 0)) expected.push({ socket: turn % 7, bytes, value });
          else if (expected.length < 200) throw new Error('full too early');
          volume += bytes;
        }
        if (writer.mustWake()) {
          if (!reading.resting) throw new Error('woken while awake');
          check();
        } else if (reading.resting) throw new Error('left at rest');
      }
      while (!reading.resting) check();
      wraps += Math.floor(volume / (1 << 20));
      return expected.length === 0;
    }),
    { numRuns: 40 },
  );
  t.ok(wraps > 10, `${wraps} times around`);
  t.end();
});

await t.test('a full ring refuses records, and accepts them again when there is room', t => {
  const memory = HandOver.memory();
  const ring = new HandOver(memory);
  let written = 0;
  while (ring.write(0, datagram(4000, 1), 0)) written++;
  t.ok(written > 250, `${written} large ones fit`);
  t.notOk(ring.write(0, datagram(4000, 1), 0));
  let read = 0;
  while (!ring.read(ROUTES, () => read++));
  t.equal(read, written);
  t.ok(ring.write(0, datagram(4000, 1), 0));
  t.end();
});
