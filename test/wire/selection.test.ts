// Messages with records left out: what stays says the same as before, wherever its names pointed.

import dnsPacket, { type Answer } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';

import { HEADER_BYTES } from '../../src/wire/header.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { scanResponse } from '../../src/wire/scan.js';
import { select, withoutDnssec } from '../../src/wire/selection.js';
import { takeApart } from '../fixtures/mutations.js';
import type { ZoneRecord } from '../fixtures/records.js';

const NAMES = ['example.org', 'www.example.org', 'a.www.example.org', 'other.test', 'deep.down.other.test'];
const name = fc.constantFrom(...NAMES);
const record: fc.Arbitrary<Answer> = fc.oneof(
  fc.record({ type: fc.constant('A' as const), name, ttl: fc.nat(300), data: fc.constant('192.0.2.1') }),
  fc.record({ type: fc.constant('CNAME' as const), name, ttl: fc.nat(300), data: name }),
  fc.record({ type: fc.constant('NS' as const), name, ttl: fc.nat(300), data: name }),
  fc.record({
    type: fc.constant('MX' as const),
    name,
    ttl: fc.nat(300),
    data: fc.record({ preference: fc.nat(9), exchange: name }),
  }),
  fc.record({
    type: fc.constant('SRV' as const),
    name,
    ttl: fc.nat(300),
    data: fc.record({ priority: fc.nat(9), weight: fc.nat(9), port: fc.nat(9), target: name }),
  }),
  fc.record({
    type: fc.constant('SOA' as const),
    name,
    ttl: fc.nat(300),
    data: fc.record({
      mname: name,
      rname: name,
      serial: fc.nat(9),
      refresh: fc.nat(9),
      retry: fc.nat(9),
      expire: fc.nat(9),
      minimum: fc.nat(9),
    }),
  }),
  fc.record({ type: fc.constant('TXT' as const), name, ttl: fc.nat(300), data: fc.constant('words') }),
);

const plain = ({ owner, type, ttlSec, rdata }: ZoneRecord): string =>
  `${owner.toString('latin1')} ${type} ${ttlSec} ${rdata.toString('hex')}`;

/** The message as it is kept, from dns-packet, which compresses names. */
function stored(answers: readonly Answer[], authority: readonly Answer[]) {
  const octets = dnsPacket.encode({
    type: 'response',
    questions: [{ type: 'A', name: 'www.example.org' }],
    answers: [...answers],
    authorities: [...authority],
  });
  const scan = scanResponse(octets, TYPE.A);
  if (scan === undefined) throw new Error('dns-packet wrote what cannot be read');
  return {
    octets,
    rcode: 0,
    answers: scan.answers,
    authority: scan.authority,
    additional: 0,
    ttlOffsets: scan.ttlOffsets,
    questionEnd: scan.questionEnd,
  };
}

/** What a message says; counts are where `select` has them, as the header is written anew for each client. */
function said({
  octets,
  answers,
  authority,
}: {
  readonly octets: Buffer;
  readonly answers: number;
  readonly authority: number;
}): string[] {
  const counted = Buffer.from(octets);
  counted.writeUInt16BE(answers, 6);
  counted.writeUInt16BE(authority, 8);
  const parts = takeApart(counted);
  return [
    ...parts.answer.map(each => `answer ${plain(each)}`),
    ...parts.authority.map(each => `authority ${plain(each)}`),
  ];
}

await t.test('any records left out of any message: the others say what they said', t => {
  fc.assert(
    fc.property(
      fc.array(record, { maxLength: 6 }),
      fc.array(record, { maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: 10, maxLength: 10 }),
      (answers, authority, mask) => {
        const message = stored(answers, authority);
        const before = said(message);
        const after = select(message, message.questionEnd, i => mask[i] === true);
        if (after === undefined) return false;
        // The TTLs are still where they are said to be.
        const scanned = Buffer.from(after.octets);
        scanned.writeUInt16BE(after.answers, 6);
        scanned.writeUInt16BE(after.authority, 8);
        const scan = scanResponse(scanned, TYPE.A);
        return (
          JSON.stringify(said(after)) === JSON.stringify(before.filter((_, i) => mask[i] === true)) &&
          JSON.stringify(scan?.ttlOffsets) === JSON.stringify(Array.from(after.ttlOffsets))
        );
      },
    ),
    { numRuns: 2000 },
  );
  t.pass('2000 messages');
  t.end();
});

await t.test('where all stay, nothing is copied', t => {
  const message = stored([{ type: 'A', name: 'www.example.org', ttl: 1, data: '192.0.2.1' }], []);
  t.equal(
    select(message, message.questionEnd, () => true),
    message,
  );
  t.end();
});

await t.test('RFC 4035 §3.2.1: without DO no signatures, but what was asked for stays', t => {
  const raw = (type: string, data: string): Answer =>
    ({ type, name: 'www.example.org', ttl: 1, data: Buffer.from(data, 'hex') }) as unknown as Answer;
  const message = stored(
    [
      { type: 'A', name: 'www.example.org', ttl: 1, data: '192.0.2.1' },
      raw('UNKNOWN_46', `0001${'00'.repeat(16)}00ff`),
    ],
    [raw('UNKNOWN_47', '0000')],
  );
  const types = (of: { readonly octets: Buffer; readonly answers: number; readonly authority: number }): string[] =>
    said(of).map(each => each.split(' ')[2] ?? '');
  t.same(types(withoutDnssec(message, message.questionEnd, TYPE.A)), ['1']);
  t.same(types(withoutDnssec(message, message.questionEnd, TYPE.NSEC)), ['1', '47']);
  t.same(types(withoutDnssec(message, message.questionEnd, TYPE.RRSIG)), ['1', '46']);
  t.equal(HEADER_BYTES + 21, message.questionEnd);
  t.end();
});
