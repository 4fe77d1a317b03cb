// Views of the memory for octets of clients.

import t from 'tap';

import { Memory } from '../../src/listen/memory.js';

await t.test('the beginning of a piece shares its memory, whichever piece was looked at before', t => {
  const memory = new Memory();
  const [one, other] = [memory.take(10), memory.take(10)];
  for (const [piece, octet] of [
    [one, 1],
    [other, 2],
    [one, 3],
  ] as const) {
    piece.fill(octet);
    for (let bytes = 1; bytes < 300; bytes++) {
      const view = memory.beginning(piece, bytes);
      if (view.length !== bytes || view[0] !== octet || view[bytes - 1] !== octet) t.fail(`${bytes} octets`);
    }
  }
  t.equal(memory.beginning(one, 20), memory.beginning(one, 20), 'kept');
  t.end();
});

await t.test('not all views are kept', t => {
  const memory = new Memory();
  const piece = memory.take(4096);
  const first = memory.beginning(piece, 1);
  for (let bytes = 2; bytes < 1000; bytes++) memory.beginning(piece, bytes);
  t.not(memory.beginning(piece, 1), first);
  t.end();
});
