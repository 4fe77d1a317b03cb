// What NSEC and NSEC3 records prove, and above all what they do not.

import t from 'tap';

import { Budget } from '../../src/dnssec/budget.js';
import { cutAt, type Denial, hasType, isBitmap } from '../../src/dnssec/denial.js';
import { type Name, nameOf } from '../../src/dnssec/name.js';
import { nsecDenial } from '../../src/dnssec/nsec.js';
import { nsec3Denial, nsec3Hash } from '../../src/dnssec/nsec3.js';
import type { RRset } from '../../src/dnssec/rrset.js';
import type { Steps } from '../../src/dnssec/steps.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { wireName } from '../fixtures/records.js';
import { typeBitmap } from '../fixtures/signer.js';

const name = (text: string): Name => nameOf(wireName(text));
const ZONE = name('example.');
const set = (owner: string, type: number, rdata: Buffer): RRset => ({
  owner: name(owner),
  type,
  section: 'authority',
  ttlSec: 300,
  rdata: [rdata],
  signatures: [],
  records: [],
});
const nsec = (owner: string, next: string, ...types: number[]): RRset =>
  set(owner, TYPE.NSEC, Buffer.concat([wireName(next), typeBitmap(types)]));

const BASE32HEX = '0123456789abcdefghijklmnopqrstuv';
const base32 = (octets: string): string =>
  (
    [...Buffer.from(octets, 'latin1')]
      .map(each => each.toString(2).padStart(8, '0'))
      .join('')
      .match(/.{5}/g) ?? []
  )
    .map(five => BASE32HEX[parseInt(five, 2)])
    .join('');
/** A hash a little before or after a name's. */
const beside = (of: string, by: number): Buffer => {
  const hash =
    BigInt(`0x${Buffer.from(nsec3Hash(name(of), Buffer.alloc(0), 0), 'latin1').toString('hex')}`) + BigInt(by);
  return Buffer.from(hash.toString(16).padStart(40, '0'), 'hex');
};
const nsec3At = (owner: Buffer, next: Buffer, optOut: boolean, ...types: number[]): RRset =>
  set(
    `${base32(owner.toString('latin1'))}.example.`,
    TYPE.NSEC3,
    Buffer.concat([Buffer.from([1, optOut ? 1 : 0, 0, 0, 0, 20]), next, typeBitmap(types)]),
  );
/** The record of a name itself. */
const matching = (of: string, ...types: number[]): RRset => nsec3At(beside(of, 0), beside(of, 1), false, ...types);
/** One whose gap a name lies in. */
const covering = (of: string, optOut = false): RRset => nsec3At(beside(of, -1), beside(of, 1), optOut, TYPE.A);
/** A denial whose proofs are computed at once. */
const atOnce = (denial: Denial) => ({
  noData: (...of: Parameters<Denial['noData']>) => result(denial.noData(...of)),
  noName: (...of: Parameters<Denial['noName']>) => result(denial.noName(...of)),
  noCloser: (...of: Parameters<Denial['noCloser']>) => result(denial.noCloser(...of)),
  cut: (...of: Parameters<Denial['cut']>) => result(denial.cut(...of)),
});
function result<T>(steps: Steps<T>): T {
  const step = steps.next();
  if (step.done !== true) throw new Error('it needs something');
  return step.value;
}
const hashed = (...sets: RRset[]) => atOnce(nsec3Denial(sets, ZONE, new Budget()));
const plain = (...sets: RRset[]) => atOnce(nsecDenial(sets, ZONE));

await t.test('RFC 4034 §4.1.2: type bitmaps', async t => {
  const bitmap = typeBitmap([TYPE.A, TYPE.RRSIG, TYPE.CAA]);
  t.ok(isBitmap(bitmap) && hasType(bitmap, TYPE.A) && hasType(bitmap, TYPE.CAA));
  t.notOk(hasType(bitmap, TYPE.MX) || hasType(bitmap, 256) || hasType(bitmap, 65535));
  for (const bad of ['00', '0000', '0021', `0021${'ff'.repeat(33)}`, '000201'])
    t.notOk(isBitmap(Buffer.from(bad, 'hex')), bad);
});

await t.test('NSEC: no such type', async t => {
  const own = plain(nsec('www.example.', 'zz.example.', TYPE.A, TYPE.RRSIG, TYPE.NSEC));
  t.equal(own.noData(name('www.example.'), TYPE.MX), 'proven');
  t.equal(own.noData(name('www.example.'), TYPE.A), 'unproven', 'there is one');
  t.equal(own.noData(name('other.example.'), TYPE.MX), 'unproven', 'of another name');
  t.equal(
    plain(nsec('www.example.', 'zz.example.', TYPE.CNAME)).noData(name('www.example.'), TYPE.MX),
    'unproven',
    'an alias has all types of its target',
  );
});

await t.test(
  "RFC 6840 §4.4: the parent's NSEC at a cut says nothing of the child but its DS; the child's nothing of its DS",
  async t => {
    const parents = plain(nsec('sub.example.', 'zz.example.', TYPE.NS, TYPE.RRSIG, TYPE.NSEC));
    t.equal(parents.noData(name('sub.example.'), TYPE.DS), 'proven');
    t.equal(parents.noData(name('sub.example.'), TYPE.A), 'unproven');
    const childs = plain(nsec('sub.example.', 'zz.example.', TYPE.NS, TYPE.SOA, TYPE.RRSIG, TYPE.NSEC));
    t.equal(childs.noData(name('sub.example.'), TYPE.DS), 'unproven');
    t.equal(childs.noData(name('sub.example.'), TYPE.A), 'proven');
  },
);

await t.test('RFC 6840 §4.1: below a delegation or a DNAME the zone denies nothing', async t => {
  const wildcard = nsec('example.', 'a.example.', TYPE.SOA, TYPE.NS);
  t.equal(plain(nsec('sub.example.', 'zz.example.', TYPE.NS), wildcard).noName(name('www.sub.example.')), 'unproven');
  t.equal(
    plain(nsec('sub.example.', 'zz.example.', TYPE.DNAME), wildcard).noName(name('www.sub.example.')),
    'unproven',
  );
  t.equal(
    plain(nsec('sub.example.', 'zz.example.', TYPE.A), nsec('example.', 'a.example.', TYPE.SOA, TYPE.NS)).noName(
      name('www.sub.example.'),
    ),
    'proven',
    'where there is none, it does',
  );
});

await t.test('RFC 4035 §5.4: no such name, and no wildcard that would answer for it', async t => {
  const gap = nsec('alpha.example.', 'omega.example.', TYPE.A);
  const top = nsec('example.', 'alpha.example.', TYPE.SOA, TYPE.NS);
  t.equal(plain(gap, top).noName(name('missing.example.')), 'proven');
  t.equal(plain(gap).noName(name('missing.example.')), 'unproven', 'the wildcard is skipped');
  t.equal(plain(top).noName(name('missing.example.')), 'unproven');
  t.equal(plain(gap, top).noName(name('alpha.example.')), 'unproven', 'the name is there');
  t.equal(plain(gap, top).noName(name('zz.example.')), 'unproven', 'beyond the gap');
  t.equal(
    plain(nsec('alpha.example.', 'x.missing.example.', TYPE.A), top).noName(name('missing.example.')),
    'unproven',
    'an empty non-terminal is there',
  );
  t.equal(
    plain(nsec('alpha.example.', 'x.missing.example.', TYPE.A), top).noData(name('missing.example.'), TYPE.A),
    'proven',
    'and has nothing',
  );
  t.equal(
    plain(nsec('omega.example.', 'example.', TYPE.A), top).noName(name('zz.example.')),
    'proven',
    'the last gap goes round to the top',
  );
  t.equal(
    plain(nsec('alpha.other.', 'omega.other.', TYPE.A)).noName(name('missing.other.')),
    'unproven',
    'of another zone',
  );
  t.equal(
    plain(nsec('alpha.example.', 'omega.other.', TYPE.A), top).noName(name('missing.example.')),
    'unproven',
    'a gap that leads out of the zone',
  );
});

await t.test('RFC 4035 §5.3.4: a wildcard answers only where nothing closer is', async t => {
  const gap = nsec('alpha.example.', 'omega.example.', TYPE.A);
  t.equal(plain(gap).noCloser(name('x.example.'), 1), 'unproven', 'beyond');
  t.equal(plain(gap).noCloser(name('missing.example.'), 1), 'proven');
  t.equal(plain(gap).noCloser(name('a.b.example.'), 1), 'proven');
  t.equal(plain(gap).noCloser(name('a.b.example.'), 2), 'unproven', 'a wildcard further down than the gap says');
  t.equal(
    plain(nsec('b.example.', 'omega.example.', TYPE.A)).noCloser(name('a.b.example.'), 1),
    'unproven',
    'b.example is there: its own wildcard would be closer',
  );
});

await t.test('NSEC: what stands at a name without DS', async t => {
  t.equal(cutAt(typeBitmap([TYPE.NS])), 'delegation');
  t.equal(cutAt(typeBitmap([TYPE.A])), 'none');
  t.equal(cutAt(typeBitmap([TYPE.NS, TYPE.DS])), 'unproven', 'there is one');
  t.equal(cutAt(typeBitmap([TYPE.NS, TYPE.SOA])), 'unproven', "the child's own word");
  t.equal(
    plain(nsec('alpha.example.', 'omega.example.', TYPE.A)).cut(name('m.example.')),
    'none',
    'no such name is no cut',
  );
});

await t.test('NSEC3: names, wildcards, and the closest encloser (RFC 5155 §8.4 to §8.8)', async t => {
  const encloser = matching('example.', TYPE.SOA, TYPE.NS);
  t.equal(
    hashed(encloser, covering('missing.example.'), covering('*.example.')).noName(name('missing.example.')),
    'proven',
  );
  t.equal(
    hashed(encloser, covering('missing.example.')).noName(name('missing.example.')),
    'unproven',
    'the wildcard is skipped',
  );
  t.equal(
    hashed(encloser, covering('*.example.')).noName(name('missing.example.')),
    'unproven',
    'the next closer name is skipped',
  );
  t.equal(
    hashed(covering('missing.example.'), covering('*.example.')).noName(name('missing.example.')),
    'unproven',
    'no encloser',
  );
  t.equal(
    hashed(encloser, covering('missing.example.', true), covering('*.example.')).noName(name('missing.example.')),
    'opt_out',
  );
  t.equal(
    hashed(matching('missing.example.', TYPE.A), encloser, covering('*.example.')).noName(name('missing.example.')),
    'unproven',
    'the name is there',
  );
  t.equal(
    hashed(matching('sub.example.', TYPE.NS), covering('www.sub.example.'), covering('*.sub.example.')).noName(
      name('www.sub.example.'),
    ),
    'unproven',
    'below a delegation',
  );
  t.equal(hashed(matching('www.example.', TYPE.A)).noData(name('www.example.'), TYPE.MX), 'proven');
  t.equal(hashed(matching('www.example.', TYPE.A)).noData(name('www.example.'), TYPE.A), 'unproven');
  t.equal(
    hashed(matching('sub.example.', TYPE.NS)).noData(name('sub.example.'), TYPE.A),
    'unproven',
    "the parent's record",
  );
  t.equal(
    hashed(encloser, covering('x.example.'), matching('*.example.', TYPE.A)).noData(name('x.example.'), TYPE.MX),
    'proven',
    'a wildcard without the type',
  );
  t.equal(
    hashed(encloser, covering('x.example.'), matching('*.example.', TYPE.MX)).noData(name('x.example.'), TYPE.MX),
    'unproven',
  );
  t.equal(hashed(covering('x.example.')).noCloser(name('x.example.'), 1), 'proven');
  t.equal(hashed(covering('y.example.')).noCloser(name('x.example.'), 1), 'unproven');
});

await t.test('NSEC3: delegations, and opt-out (RFC 5155 §8.6, §8.9)', async t => {
  const encloser = matching('example.', TYPE.SOA, TYPE.NS);
  t.equal(hashed(matching('sub.example.', TYPE.NS)).cut(name('sub.example.')), 'delegation');
  t.equal(hashed(matching('sub.example.', TYPE.A)).cut(name('sub.example.')), 'none');
  t.equal(
    hashed(encloser, covering('sub.example.', true)).cut(name('sub.example.')),
    'delegation',
    'it may be one: nobody has signed that it is not',
  );
  t.equal(hashed(encloser, covering('sub.example.')).cut(name('sub.example.')), 'none');
  t.equal(hashed(encloser, covering('sub.example.', true)).noData(name('sub.example.'), TYPE.DS), 'opt_out');
  t.equal(
    hashed(encloser, covering('sub.example.')).noData(name('sub.example.'), TYPE.DS),
    'unproven',
    'without opt-out the name would have a record',
  );
});

await t.test('NSEC3: records that cannot be used, and what hashing may cost', async t => {
  const [rdata = Buffer.alloc(0)] = matching('www.example.', TYPE.A).rdata;
  const own = `${base32(beside('www.example.', 0).toString('latin1'))}.example.`;
  const with_ = (change: (octets: Buffer) => void) => {
    const octets = Buffer.from(rdata);
    change(octets);
    return hashed(set(own, TYPE.NSEC3, octets));
  };
  t.equal(with_(() => undefined).noData(name('www.example.'), TYPE.MX), 'proven');
  t.equal(
    with_(octets => octets.writeUInt8(2, 0)).noData(name('www.example.'), TYPE.MX),
    'unproven',
    'another hash algorithm',
  );
  t.equal(
    with_(octets => octets.writeUInt8(2, 1)).noData(name('www.example.'), TYPE.MX),
    'unproven',
    'an unknown flag',
  );
  t.equal(
    with_(octets => octets.writeUInt8(19, 5)).noData(name('www.example.'), TYPE.MX),
    'unproven',
    'another length',
  );
  t.equal(
    hashed(set(`x${own.slice(1)}`.replace(/^x./, 'x!'), TYPE.NSEC3, rdata)).noData(name('www.example.'), TYPE.MX),
    'unproven',
    'no hash in its name',
  );
  const budget = new Budget();
  const costly = atOnce(nsec3Denial([matching('www.example.', TYPE.A)], ZONE, budget));
  for (let i = 0; i < 200; i++) costly.noData(name(`n${i}.example.`), TYPE.A);
  t.equal(budget.exceeded, 'nsec3_hashes');
});
