// RDATA and names as text: whatever octets a server sends, what is shown of them is printable ASCII.

import t from 'tap';

import { compose, questionOf } from '../../src/wire/compose.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE, typeToText } from '../../src/wire/rrtype.js';
import { fakeRandom } from '../fixtures/clock.js';

const random = fakeRandom(15);
const EACH = 300;

/** Mostly octets that hurt: control characters, and those of UTF-8 and of ISO 8859-1. */
const HURTING = [0x1b, 0x9b, 0xc2, 0x07, 0x0a, 0x0d, 0x00, 0x7f, 0x22, 0x5c, 0x2c, 0xff];
const octet = (): number => HURTING[random.below(2 * HURTING.length)] ?? random.below(256);
const octets = (most: number): Buffer => Buffer.from(Array.from({ length: random.below(most) }, octet));
const string = (most: number): Buffer => {
  const text = octets(most);
  return Buffer.concat([Buffer.from([text.length]), text]);
};
const name = (): Buffer => {
  const labels = Array.from({ length: random.below(4) }, () => string(20)).filter(label => label.length > 1);
  return Buffer.concat([...labels, Buffer.from([0])]);
};
/** A value of a service parameter (RFC 9460 §2.2). */
const parameter = (): Buffer => {
  const value = random.below(2) === 0 ? string(20) : octets(20);
  return Buffer.concat([Buffer.from([0, random.below(12), 0, value.length]), value]);
};
/** RDATA that begins like that of many types. */
const FORMS: readonly (() => Buffer)[] = [
  () => octets(60),
  name,
  () => Buffer.concat([octets(3), name(), octets(20)]),
  () => Buffer.concat([name(), name(), octets(30)]),
  () => Buffer.concat([string(60), string(60)]),
  () => Buffer.concat([Buffer.from([0, 1]), name(), parameter(), parameter()]),
  () => Buffer.concat([Buffer.alloc(6), name()]),
  () => Buffer.concat([Buffer.alloc(18), name(), octets(10)]),
  () => Buffer.concat([Buffer.from([0, 5]), Buffer.from('issue'), octets(30)]),
  () => Buffer.concat([Buffer.from([0, 5]), octets(30)]),
];

for (const type of Object.values(TYPE).filter(each => each !== TYPE.OPT))
  await t.test(`${typeToText(type)}: only printable ASCII`, async t => {
    let shown = 0;
    for (const form of FORMS)
      for (let i = 0; i < EACH; i++) {
        const owner = name();
        const record = { owner, type, ttlSec: 1, rdata: form() };
        const text = messageToText(compose(questionOf(owner, type), { answer: [record] }).octets);
        const [answer] = text?.answers ?? [];
        if (text === undefined || answer === undefined) continue;
        shown++;
        for (const each of [answer.name, answer.data, text.question?.name ?? ''])
          if (!/^[\x20-\x7e]+$/.test(each)) t.fail(JSON.stringify(each));
      }
    t.ok(shown > EACH);
  });
