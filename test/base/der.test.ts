// DER, as X.690 has it.

import t from 'tap';

import {
  bitString,
  certificateTime,
  objectIdentifier,
  octetString,
  positiveInteger,
  sequence,
} from '../../src/base/der.js';

await t.test('lengths, numbers and identifiers have their shortest form', t => {
  const hex = (octets: Buffer): string => octets.toString('hex');
  t.equal(hex(sequence()), '3000');
  t.equal(hex(octetString(Buffer.alloc(127))).slice(0, 4), '047f');
  t.equal(hex(octetString(Buffer.alloc(128))).slice(0, 6), '048180');
  t.equal(hex(octetString(Buffer.alloc(256))).slice(0, 8), '04820100');
  t.equal(hex(octetString(Buffer.alloc(65_536))).slice(0, 10), '0483010000');
  t.equal(hex(positiveInteger(Buffer.from([0, 0, 1]))), '020101');
  t.equal(hex(positiveInteger(Buffer.from([0x80]))), '02020080', 'the first bit would be a sign');
  t.equal(hex(positiveInteger(Buffer.from([0]))), '020100');
  t.equal(hex(objectIdentifier('1.2.840.10045.4.3.2')), '06082a8648ce3d040302');
  t.equal(hex(bitString(Buffer.from([0x84]), 2)), '03020284');
  t.end();
});

await t.test('times have two digits of the year until 2049 (RFC 5280 §4.1.2.5)', t => {
  const text = (iso: string): string => certificateTime(Date.parse(iso)).toString('latin1');
  t.equal(text('2049-12-31T23:59:59Z'), '\x17\x0d491231235959Z');
  t.equal(text('2050-01-01T00:00:00Z'), '\x18\x0f20500101000000Z');
  t.end();
});
