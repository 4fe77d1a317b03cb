import fc from 'fast-check';
import t from 'tap';

import { framed, frameReader } from '../../src/wire/frame.js';

await t.test('messages are complete, however the stream is split', t => {
  const stream = fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 8 });
  fc.assert(
    fc.property(
      stream,
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 40 }),
      (messages, cuts) => {
        const octets = Buffer.concat(messages.map(message => framed(Buffer.from(message))));
        const reader = frameReader();
        const out: Buffer[] = [];
        let at = 0;
        for (let i = 0; at < octets.length; i++) {
          const size = cuts[i % cuts.length] ?? 1;
          reader.push(octets.subarray(at, at + size), message => out.push(Buffer.from(message)));
          at += size;
        }
        return (
          out.length === messages.length &&
          out.every((message, i) => message.equals(messages[i] ?? Buffer.alloc(0))) &&
          !reader.partial
        );
      },
    ),
    { numRuns: 2000 },
  );
  t.end();
});

await t.test('a message of 65,535 octets, one octet at a time', t => {
  const message = Buffer.alloc(65535, 7);
  const octets = framed(message);
  const reader = frameReader();
  const out: Buffer[] = [];
  for (let i = 0; i < octets.length; i++) {
    reader.push(octets.subarray(i, i + 1), each => out.push(Buffer.from(each)));
    if (i === 0) t.ok(reader.partial);
  }
  t.equal(out.length, 1);
  t.same(out[0], message);
  t.notOk(reader.partial);
  t.end();
});

await t.test('a message is a part of the octets that came, and what is enough comes again', t => {
  const messages = ['one', 'two', 'three'].map(text => Buffer.from(text));
  const octets = Buffer.concat(messages.map(framed));
  const reader = frameReader();
  const seen: string[] = [];
  const each = (from: Buffer, start: number, end: number): void => {
    t.equal(from, octets);
    seen.push(from.toString('latin1', start, end));
  };
  const taken = reader.split(octets, each, () => seen.length === 2);
  t.equal(taken, 10);
  t.same(seen, ['one', 'two']);
  t.equal(
    reader.push(octets.subarray(taken), message => seen.push(message.toString())),
    7,
  );
  t.same(seen, ['one', 'two', 'three']);
  t.end();
});
