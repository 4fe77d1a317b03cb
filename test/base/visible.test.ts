// Characters that do something to a terminal, and those that do not.

import t from 'tap';

import { visible, visibleJson, visibleLines } from '../../src/base/visible.js';

const HOSTILE = 'a\x1b[2J\x9b2J\x07\x7f\r\n\t\0\u202ebc\u2028\u200b\ufeff\ud800';

await t.test('hidden characters become the decimal values of their octets; all others stay', async t => {
  t.equal(visible('\x1b[31mred\r\n'), '\\027[31mred\\013\\010');
  t.equal(visible('\x9b\u202e'), '\\194\\155\\226\\128\\174');
  t.equal(visible('Größe, 大きさ, 🙂, \\ and "'), 'Größe, 大きさ, 🙂, \\ and "');
  t.match(visible(HOSTILE), /^[\x21-\x7e]+$/);
  t.equal(visibleLines('one\n\ttwo\x1b'), 'one\n\\009two\\027');
});

await t.test('JSON stays the same data', async t => {
  for (const indent of [undefined, 2]) {
    const json = JSON.stringify({ [HOSTILE]: [HOSTILE, 'é\u{e0001}'] }, undefined, indent);
    t.match(visibleJson(json), /^[\n\x20-\x7eé]+$/);
    t.same(JSON.parse(visibleJson(json)), JSON.parse(json));
  }
});
