// Records left out of messages whose names point at one another in every way that is allowed.

import fc from 'fast-check';
import t from 'tap';

import { HEADER_BYTES } from '../../src/wire/header.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { scanResponse } from '../../src/wire/scan.js';
import { exceeds, select } from '../../src/wire/selection.js';
import { takeApart } from '../fixtures/mutations.js';
import type { ZoneRecord } from '../fixtures/records.js';

const QUESTION = Buffer.concat([Buffer.from('\x03www\x07example\0', 'latin1'), Buffer.from([0, 1, 0, 1])]);
const uint16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);

/** Writes names with pointers to names before: to the first of the same name, or to the last. */
class Writer {
  private readonly places = new Map<string, number[]>();
  private readonly out: Buffer[] = [];
  private length = 0;

  add(octets: Buffer): void {
    this.out.push(octets);
    this.length += octets.length;
  }

  /** @param choose which of the places where a suffix was written is pointed at; undefined: it is written in full */
  name(labels: readonly string[], choose: ((places: readonly number[]) => number | undefined) | undefined): void {
    for (let i = 0; i < labels.length; i++) {
      const suffix = labels.slice(i).join('.');
      const places = this.places.get(suffix) ?? [];
      const to = choose?.(places);
      // A pointer is a place, too, that others may point at.
      if (this.length < 0x4000) this.places.set(suffix, [...places, this.length]);
      if (to !== undefined) return this.add(uint16(0xc000 | to));
      const label = labels[i] ?? '';
      this.add(Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
    }
    this.add(Buffer.from([0]));
  }

  /** RDATA has its length before it. */
  measured(write: () => void): void {
    const at = this.out.length;
    this.add(Buffer.alloc(2));
    const before = this.length;
    write();
    this.out[at] = uint16(this.length - before);
  }

  get octets(): Buffer {
    return Buffer.concat(this.out);
  }
}

interface Line {
  readonly owner: readonly string[];
  readonly type: number;
  readonly names: readonly (readonly string[])[];
  readonly pick: number;
}

function written(lines: readonly Line[], answers: number): Buffer {
  const writer = new Writer();
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8180, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answers, 6);
  header.writeUInt16BE(lines.length - answers, 8);
  writer.add(header);
  writer.name(['www', 'example'], undefined);
  writer.add(QUESTION.subarray(-4));
  for (const { owner, type, names, pick } of lines) {
    const choose = pick === 0 ? undefined : (places: readonly number[]) => places.at(pick % 2 === 0 ? 0 : -1);
    writer.name(owner, choose);
    writer.add(Buffer.concat([uint16(type), uint16(1), Buffer.from([0, 0, 1, pick])]));
    writer.measured(() => {
      if (type === TYPE.MX) writer.add(uint16(pick));
      for (const each of names) writer.name(each, choose);
      if (type === TYPE.SOA) writer.add(Buffer.alloc(20, pick));
      if (type === TYPE.TXT) writer.add(Buffer.from([1, pick]));
    });
  }
  return writer.octets;
}

const LABELS = ['example', 'www', 'a', 'net', 'deep', 'x'.repeat(63)];
const name = fc.array(fc.constantFrom(...LABELS), { maxLength: 3 });
const NAMES_OF: ReadonlyMap<number, number> = new Map([
  [TYPE.NS, 1],
  [TYPE.MX, 1],
  [TYPE.CNAME, 1],
  [TYPE.SOA, 2],
  [TYPE.RP, 2],
  [TYPE.TXT, 0],
]);
const line: fc.Arbitrary<Line> = fc
  .record({
    owner: name,
    type: fc.constantFrom(...NAMES_OF.keys()),
    names: fc.tuple(name, name),
    // Never 0: messages with names in full are not ordinary, and may become longer.
    pick: fc.integer({ min: 1, max: 4 }),
  })
  .map(each => ({ ...each, names: each.names.slice(0, NAMES_OF.get(each.type)) }));

const plain = ({ owner, type, ttlSec, rdata }: ZoneRecord): string =>
  `${owner.toString('latin1')} ${type} ${ttlSec} ${rdata.toString('hex')}`;
function said(octets: Buffer, answers: number, authority: number): string {
  const counted = Buffer.from(octets);
  counted.writeUInt16BE(answers, 6);
  counted.writeUInt16BE(authority, 8);
  const { answer, authority: second } = takeApart(counted);
  return JSON.stringify([answer.map(plain), second.map(plain)]);
}
function stored(octets: Buffer) {
  const scan = scanResponse(octets, TYPE.A);
  if (scan === undefined) throw new Error('the test has written a malformed message');
  return { ...scan, octets };
}

await t.test('whichever records are left out, the others say the same, in no more octets', t => {
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 9 }),
      fc.nat(),
      fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
      (lines, cut, mask) => {
        const answers = cut % (lines.length + 1);
        const message = stored(written(lines, answers));
        const keeps = (record: number): boolean => mask[record] === true;
        const after = select(message, message.questionEnd, keeps);
        if (after === undefined) return false;
        const all = takeApart(message.octets);
        const want = JSON.stringify([
          all.answer.filter((_, i) => keeps(i)).map(plain),
          all.authority.filter((_, i) => keeps(answers + i)).map(plain),
        ]);
        const { length } = after.octets;
        return (
          said(after.octets, after.answers, after.authority) === want &&
          length <= message.octets.length &&
          !exceeds(message, message.questionEnd, keeps, length)
        );
      },
    ),
    { numRuns: 3000 },
  );
  t.pass('3000 messages');
  t.end();
});

await t.test('the record that is left out holds the name that all others point at', t => {
  const deep = ['deep', 'a', 'net'];
  for (const type of [TYPE.NS, TYPE.MX, TYPE.CNAME, TYPE.SOA, TYPE.RP]) {
    const names = Array.from({ length: NAMES_OF.get(type) ?? 0 }, () => deep);
    const lines = Array.from({ length: 9 }, (_, i) => ({ owner: deep, type, names, pick: 1 + i }));
    const message = stored(written(lines, 9));
    for (let first = 0; first < 9; first++) {
      const after = select(message, message.questionEnd, i => i >= first);
      t.equal(
        after && said(after.octets, after.answers, after.authority),
        JSON.stringify([takeApart(message.octets).answer.slice(first).map(plain), []]),
      );
      t.ok((after?.octets.length ?? Infinity) <= message.octets.length);
    }
  }
  t.end();
});

await t.test('what would be too long is not made, and never made wrongly', t => {
  // Names behind the reach of pointers are written in full, each time.
  let made = 0;
  for (let octets = 1; octets < 60; octets++) {
    const long = ['x'.repeat(63), 'y'.repeat(63), 'z'.repeat(63), 'w'.repeat(octets)];
    const texts = Array.from({ length: 70 }, () => ({ owner: ['www', 'example'], type: TYPE.TXT, names: [], pick: 1 }));
    const head = written([{ owner: long, type: TYPE.TXT, names: [], pick: 1 }, ...texts], 0);
    const filler = (length: number): Buffer =>
      Buffer.concat([uint16(0xc00c), uint16(16), uint16(1), Buffer.alloc(4), uint16(length), Buffer.alloc(length, 1)]);
    const tail = Array.from({ length: 30 }, (_, i) =>
      Buffer.concat([
        uint16(0xc000 | (HEADER_BYTES + QUESTION.length)),
        uint16(1),
        uint16(1),
        Buffer.alloc(3),
        Buffer.from([i, 0, 4, 1, 2, 3, i]),
      ]),
    );
    const all = Buffer.concat([head, filler(16_000), filler(300), ...tail]);
    all.writeUInt16BE(0, 8);
    all.writeUInt16BE(71 + 2 + 30, 6);
    const message = stored(all);
    // Kept: all but the record that holds the name.
    for (let kept = 12; kept <= 30; kept++) {
      const keeps = (record: number): boolean => record > 0 && record < 73 + kept;
      const after = select(message, message.questionEnd, keeps);
      if (after === undefined) continue;
      made++;
      const want = JSON.stringify([
        takeApart(all)
          .answer.filter((_, i) => keeps(i))
          .map(plain),
        [],
      ]);
      if (said(after.octets, after.answers, after.authority) !== want) t.fail(`${octets} octets, ${kept} kept`);
    }
  }
  t.ok(made > 0 && made < 59 * 19, `${made} were made`);
  t.end();
});
