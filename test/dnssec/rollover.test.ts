// RFC 5011, over months: a fake clock and keys made here.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

import t from 'tap';

import { wallSec } from '../../src/base/time.js';
import { type Anchor, readAnchors } from '../../src/dnssec/anchors.js';
import { Dnskey } from '../../src/dnssec/dnskey.js';
import { ROOT_NAME } from '../../src/dnssec/name.js';
import { trustPoints, type TrustPoints } from '../../src/dnssec/rollover.js';
import { signedOctets } from '../../src/dnssec/signature.js';
import type { RRset, Signature } from '../../src/dnssec/rrset.js';
import { TYPE } from '../../src/wire/rrtype.js';

const DAY = 86_400;
const START = Date.UTC(2026, 0, 1) / 1000;
const REVOKED = 0x0080;

interface Pair {
  readonly key: Dnskey;
  readonly secret: KeyObject;
}

function pair(flags = 257): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const key = Dnskey.read(
    Buffer.concat([
      Buffer.from([flags >> 8, flags & 0xff, 3, 13]),
      Buffer.from(x, 'base64url'),
      Buffer.from(y, 'base64url'),
    ]),
  );
  if (key === undefined) throw new Error('not a key');
  return { key, secret: privateKey };
}

function revoked({ key, secret }: Pair): Pair {
  const rdata = Buffer.from(key.rdata);
  rdata.writeUInt16BE(key.flags | REVOKED, 0);
  const again = Dnskey.read(rdata);
  if (again === undefined) throw new Error('not a key');
  return { key: again, secret };
}

/** The DNSKEY RRset, signed by some of its keys. */
function signedSet(keys: readonly Pair[], by: readonly Pair[], nowSec: number): RRset {
  const set = {
    owner: ROOT_NAME,
    type: TYPE.DNSKEY,
    section: 'answer' as const,
    ttlSec: 2 * DAY,
    rdata: keys.map(({ key }) => key.rdata),
    signatures: [] as Signature[],
    records: [],
  };
  for (const { key, secret } of by) {
    const head = Buffer.alloc(19);
    head.writeUInt16BE(TYPE.DNSKEY, 0);
    head[2] = 13;
    head.writeUInt32BE(2 * DAY, 4);
    head.writeUInt32BE(nowSec + 20 * DAY, 8);
    head.writeUInt32BE(nowSec - DAY, 12);
    head.writeUInt16BE(key.tag, 16);
    const unsigned = {
      algorithm: 13,
      labels: 0,
      originalTtlSec: 2 * DAY,
      expiration: nowSec + 20 * DAY,
      inception: nowSec - DAY,
      keyTag: key.tag,
      signer: ROOT_NAME,
      head,
      octets: Buffer.alloc(0),
      ttlSec: 2 * DAY,
    };
    set.signatures.push({
      ...unsigned,
      octets: sign('sha256', signedOctets(set, unsigned), { key: secret, dsaEncoding: 'ieee-p1363' }),
    });
  }
  return set;
}

const anchorOf = (...pairs: Pair[]): readonly Anchor[] =>
  readAnchors(pairs.map(({ key }) => `. DNSKEY ${key.flags} 3 13 ${key.rdata.subarray(4).toString('base64')}`));
const stateOf = (points: TrustPoints, { key }: Pair): string | undefined =>
  points.points[0]?.keys.find(each => each.key.rdata.equals(key.rdata))?.state;
const believes = (points: TrustPoints, { key }: Pair): boolean =>
  points.anchors[0]?.keys.some(each => each.rdata.equals(key.rdata)) === true;

/** Shows keys on a day. */
function look(
  points: TrustPoints,
  day: number,
  keys: readonly Pair[],
  by: readonly Pair[],
  validated = true,
): string[] {
  const nowSec = START + day * DAY;
  return points
    .seen(
      ROOT_NAME,
      keys.map(({ key }) => key),
      signedSet(keys, by, nowSec),
      validated,
      wallSec(nowSec),
    )
    .map(({ key }) => key.state);
}

await t.test(
  'B17 row 18: a new key is believed after it was seen for 30 days, and stays so over a restart',
  async t => {
    const [old, next] = [pair(), pair()];
    let points = trustPoints(anchorOf(old));
    t.same(look(points, 0, [old], [old]), ['valid']);
    t.same(look(points, 1, [old, next], [old]), ['pending']);
    t.notOk(believes(points, next));
    t.same(look(points, 15, [old, next], [old]), [], 'half the time is not enough');
    points = trustPoints(anchorOf(old), points.save());
    t.same(look(points, 30.9, [old, next], [old]), [], 'nor almost all of it');
    t.same(look(points, 31, [old, next], [old]), ['valid']);
    t.ok(believes(points, next));
    points = trustPoints(anchorOf(old), points.save());
    t.ok(believes(points, next), 'read back');
    t.same(look(points, 40, [revoked(old), next], [revoked(old), next]), ['revoked']);
    t.notOk(believes(points, old), 'though it is configured');
    t.ok(believes(points, next));
    points = trustPoints(anchorOf(old), points.save());
    t.notOk(believes(points, old), 'and still so after a restart');
    t.same(look(points, 71, [next], [next]), ['removed']);
    t.same(look(points, 72, [old, next], [next]), [], 'once revoked, for ever');
    t.notOk(believes(points, old));
  },
);

await t.test('RFC 5011 §2.2: a key that disappears before its time has to wait from the beginning', async t => {
  const [old, next] = [pair(), pair()];
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old, next], [old]);
  look(points, 20, [old], [old]);
  t.equal(stateOf(points, next), undefined);
  t.same(look(points, 31, [old, next], [old]), ['pending']);
  t.same(look(points, 60, [old, next], [old]), []);
  t.same(look(points, 61, [old, next], [old]), ['valid']);
});

await t.test('RFC 5011 §4: a believed key that is not shown stays believed', async t => {
  const [one, two] = [pair(), pair()];
  const points = trustPoints(anchorOf(one, two));
  look(points, 0, [one, two], [one]);
  t.same(look(points, 1, [two], [two]), ['missing']);
  t.ok(believes(points, one));
  t.same(look(points, 2, [one, two], [two]), ['valid']);
});

await t.test(
  'an RRset without the signature of a trusted key changes nothing, but a key may revoke itself',
  async t => {
    const [old, mine] = [pair(), pair()];
    const points = trustPoints(anchorOf(old));
    look(points, 0, [old], [old]);
    t.same(look(points, 1, [mine], [mine], false), [], 'not missing');
    t.equal(stateOf(points, mine), undefined);
    t.same(look(points, 2, [revoked(old), mine], [mine], false), [], 'revoked by somebody else');
    t.ok(believes(points, old));
    t.same(points.lost, []);
    t.same(look(points, 3, [revoked(old)], [revoked(old)], false), ['revoked']);
    t.notOk(believes(points, old));
    t.equal(points.lost.length, 1, 'RFC 5011 §5: no key of the zone is trusted any more');
    t.equal(trustPoints(anchorOf(old), points.save()).lost.length, 1, 'nor after a restart');
  },
);

await t.test('only keys with the SEP flag become anchors', async t => {
  const [old, zsk] = [pair(), pair(256)];
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old, zsk], [old]);
  look(points, 40, [old, zsk], [old]);
  t.equal(stateOf(points, zsk), undefined);
});

await t.test('both configured anchors survive a roll that happened while the daemon was off', async t => {
  const [old, next] = [pair(), pair()];
  const points = trustPoints(anchorOf(old, next));
  t.ok(believes(points, next));
  t.same(look(points, 0, [next], [next]), ['valid']);
  t.ok(believes(points, next));
});

await t.test('other configured anchors: what was learned from the old ones does not count', async t => {
  const [old, next, other] = [pair(), pair(), pair()];
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old, next], [old]);
  look(points, 31, [old, next], [old]);
  t.notOk(believes(trustPoints(anchorOf(other), points.save()), next));
  t.ok(believes(trustPoints(anchorOf(other, old), points.save()), next), 'but it does beside them');
});

await t.test('an invalid file is ignored', async t => {
  const old = pair();
  for (const text of [
    '',
    'x',
    '{}',
    '{"version":2}',
    '{"version":1,"points":[1,{"zone":".","keys":[{"dnskey":"AQ=="}],"checkedSec":0,"dueSec":0}]}',
    '{"version":1,"points":"x"}',
  ]) {
    t.ok(believes(trustPoints(anchorOf(old), text), old));
  }
});

await t.test(
  'RFC 5011 §2.3: looked at again after half the TTL or the time to expiration, at least an hour and at most 15 days',
  async t => {
    const old = pair();
    const points = trustPoints(anchorOf(old));
    look(points, 0, [old], [old]);
    t.equal(points.points[0]?.due, START + DAY);
    points.failed(ROOT_NAME, wallSec(START + DAY));
    t.equal(points.points[0]?.due, START + DAY + 3600);
  },
);

await t.test('a zone that publishes new keys all the time does not fill the memory', async t => {
  const old = pair();
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old, ...Array.from({ length: 60 }, () => pair())], [old]);
  t.equal(points.points[0]?.keys.length, 32);
  t.ok(believes(points, old));
});

await t.test('reload to other anchors and back: what was learned counts again', async t => {
  const [old, next, other] = [pair(), pair(), pair()];
  let points = trustPoints(anchorOf(old));
  look(points, 0, [old, next], [old]);
  look(points, 31, [old, next], [old]);
  t.ok(believes(points, next));
  const example = readAnchors([`example. DNSKEY 257 3 13 ${other.key.rdata.subarray(4).toString('base64')}`]);
  for (const elsewhere of [anchorOf(other), example]) {
    points = trustPoints(elsewhere, points.save());
    t.notOk(believes(points, next), 'not with other anchors');
    points = trustPoints(anchorOf(old), points.save());
    t.ok(believes(points, next), 'but with the old ones');
  }
  points = trustPoints(anchorOf(other), points.save());
  look(points, 40, [other], [other]);
  points = trustPoints(anchorOf(other, old), points.save());
  t.ok(believes(points, next) && believes(points, other), 'and with both');
});

await t.test('reload to other anchors and back: a key that was revoked stays revoked', async t => {
  const [old, next, other] = [pair(), pair(), pair()];
  let points = trustPoints(anchorOf(old, next));
  look(points, 0, [old, next], [old]);
  look(points, 1, [revoked(old), next], [revoked(old), next]);
  t.notOk(believes(points, old));
  points = trustPoints(anchorOf(other), points.save());
  look(points, 2, [other], [other]);
  points = trustPoints(anchorOf(old, other), points.save());
  t.notOk(believes(points, old));
  t.ok(believes(points, other));
});

await t.test('a key that was only announced is no reason to trust those that announced it', async t => {
  const [old, next] = [pair(), pair()];
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old, next], [old]);
  const other = trustPoints(anchorOf(next), points.save());
  t.ok(believes(other, next));
  t.notOk(believes(other, old));
});

await t.test('a trust point that claims to be due in the far future is due now', async t => {
  const old = pair();
  const points = trustPoints(anchorOf(old));
  look(points, 0, [old], [old]);
  const far = points.save().replace(/"dueSec": \d+/, `"dueSec": ${START + 10_000 * DAY}`);
  const due = (text: string, day: number): number =>
    trustPoints(anchorOf(old), text).dueAt(wallSec(START + day * DAY)).length;
  t.equal(due(far, 0), 1);
  t.equal(due(points.save(), 0.5), 0);
  t.equal(due(points.save(), 1), 1);
});
