// The neighbour table of the kernel, from octets and as it is here.

import fc from 'fast-check';
import t from 'tap';

import { type Neighbour, NeighbourWatch, takeNeighbours } from '../../src/os/neighbours.js';
import { loadLibc } from '../../src/os/libc.js';

/** A message RTM_NEWNEIGH. */
function message(state: number, attributes: readonly (readonly [type: number, value: string])[], type = 28): Buffer {
  const all = attributes.map(([each, hex]) => {
    const value = Buffer.from(hex, 'hex');
    const made = Buffer.alloc((4 + value.length + 3) & ~3);
    made.writeUInt16LE(4 + value.length, 0);
    made.writeUInt16LE(each, 2);
    value.copy(made, 4);
    return made;
  });
  const head = Buffer.alloc(28);
  const whole = Buffer.concat([head, ...all]);
  whole.writeUInt32LE(whole.length, 0);
  whole.writeUInt16LE(type, 4);
  whole.writeUInt16LE(state, 16 + 8);
  return whole;
}

const [DST, LLADDR, CACHEINFO] = [1, 2, 3];
const REACHABLE = 2;
const DONE = message(0, [], 3);

await t.test('messages of the kernel', t => {
  const all: Neighbour[] = [];
  const piece = Buffer.concat([
    message(REACHABLE, [
      [DST, 'c0a80109'],
      [LLADDR, 'aabbccddeeff'],
      [CACHEINFO, '00'.repeat(16)],
    ]),
    message(4, [
      [LLADDR, '020000000001'],
      [DST, 'fe80000000000000000000000000000a'],
    ]),
    // Not answered yet, without a hardware address, with one of another kind, another message.
    message(1, [
      [DST, 'c0a80101'],
      [LLADDR, 'aabbccddee00'],
    ]),
    message(REACHABLE, [[DST, 'c0a80102']]),
    message(REACHABLE, [
      [DST, 'c0a80103'],
      [LLADDR, 'aabbccdd'],
    ]),
    message(REACHABLE, [[DST, 'c0a80104']], 29),
  ]);
  t.equal(takeNeighbours(piece, all), false);
  t.equal(takeNeighbours(DONE, all), true);
  t.same(all, [
    { mac: 'aa:bb:cc:dd:ee:ff', address: '192.168.1.9' },
    { mac: '02:00:00:00:00:01', address: 'fe80::a' },
  ]);
  t.end();
});

await t.test('any octets are read to their end', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), octets => {
      takeNeighbours(Buffer.from(octets), []);
    }),
  );
  t.end();
});

await t.test('the table here is read, with system calls and without', t => {
  const libc = loadLibc();
  for (const calls of ['unavailable' in libc ? undefined : libc, undefined]) {
    const watch = new NeighbourWatch(calls, () => undefined);
    for (const { mac, address } of watch.read()) {
      t.match(mac, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
      t.match(address, /[.:]/);
    }
    watch.close();
  }
  t.pass('it was read');
  t.end();
});
