// The examples of the RFCs: keys, DS records and signatures that somebody else made.

import t from 'tap';

import { wallSec } from '../../src/base/time.js';
import { Budget } from '../../src/dnssec/budget.js';
import { Dnskey, dsMatches, readDs } from '../../src/dnssec/dnskey.js';
import { nameOf } from '../../src/dnssec/name.js';
import { nsec3Hash } from '../../src/dnssec/nsec3.js';
import { readSets } from '../../src/dnssec/rrset.js';
import { Verifier } from '../../src/dnssec/signature.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { takeApart, putTogether } from '../fixtures/mutations.js';
import { type ZoneRecord, records, wireName } from '../fixtures/records.js';

const uint16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const uint32 = (value: number): Buffer => Buffer.concat([uint16(value >>> 16), uint16(value & 0xffff)]);
const seconds = (date: string): number =>
  Date.UTC(
    Number(date.slice(0, 4)),
    Number(date.slice(4, 6)) - 1,
    Number(date.slice(6, 8)),
    Number(date.slice(8, 10)),
    Number(date.slice(10, 12)),
    Number(date.slice(12)),
  ) / 1000;

/** `flags protocol algorithm key` */
function dnskey(text: string): Dnskey {
  const [flags = '', protocol = '', algorithm = '', ...key] = text.split(/\s+/);
  const read = Dnskey.read(
    Buffer.concat([
      uint16(Number(flags)),
      Buffer.from([Number(protocol), Number(algorithm)]),
      Buffer.from(key.join(''), 'base64'),
    ]),
  );
  if (read === undefined) throw new Error('not a key');
  return read;
}

/** `owner TTL type algorithm labels originalTTL expiration inception tag signer signature` */
function rrsig(text: string): ZoneRecord {
  const [
    owner = '',
    ttl = '',
    covered = '',
    algorithm = '',
    labels = '',
    original = '',
    expiration = '',
    inception = '',
    tag = '',
    signer = '',
    ...signature
  ] = text.split(/\s+/);
  const types: Readonly<Record<string, number>> = TYPE;
  return {
    owner: wireName(owner),
    type: TYPE.RRSIG,
    ttlSec: Number(ttl),
    rdata: Buffer.concat([
      uint16(types[covered] ?? 0),
      Buffer.from([Number(algorithm), Number(labels)]),
      uint32(Number(original)),
      uint32(seconds(expiration)),
      uint32(seconds(inception)),
      uint16(Number(tag)),
      wireName(signer),
      Buffer.from(signature.join(''), 'base64'),
    ]),
  };
}

interface Example {
  readonly rfc: string;
  readonly zone: string;
  readonly key: string;
  readonly tag: number;
  readonly ds?: string;
  readonly set: string;
  readonly signature: string;
  readonly at: string;
}

const EXAMPLES: readonly Example[] = [
  {
    rfc: 'RFC 5702 §6.1 (RSASHA256)',
    zone: 'example.net.',
    tag: 9033,
    key: '256 3 8 AwEAAcFcGsaxxdgiuuGmCkVImy4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4cAgtvd4Qs8PkxUdp6p/DlUmObdk=',
    set: 'www.example.net. 3600 A 192.0.2.91',
    signature: `www.example.net. 3600 A 8 3 3600 20300101000000 20000101000000 9033 example.net.
      kRCOH6u7l0QGy9qpC9l1sLncJcOKFLJ7GhiUOibu4teYp5VE9RncriShZNz85mwlMgNEacFYK/lPtPiVYP4bwg==`,
    at: '20090101000000',
  },
  {
    rfc: 'RFC 5702 §6.2 (RSASHA512)',
    zone: 'example.net.',
    tag: 3740,
    key: `256 3 10 AwEAAdHoNTOW+et86KuJOWRDp1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnjJQujX/AyhqFDxj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8g
      pMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncorffcGmhOL`,
    set: 'www.example.net. 3600 A 192.0.2.91',
    signature: `www.example.net. 3600 A 10 3 3600 20300101000000 20000101000000 3740 example.net.
      tsb4wnjRUDnB1BUi+t6TMTXThjVnG+eCkWqjvvjhzQL1d0YRoOe0CbxrVDYd0xDtsuJRaeUw1ep94PzEWzr0iGYgZBWm/zpq+9fOuagYJRfDqfReKBzMweOLDiNa8iP5
      g9vMhpuv6OPlvpXwm9Sa9ZXIbNl1MBGk0fthPgxdDLw=`,
    at: '20090101000000',
  },
  {
    rfc: 'RFC 6605 §6.1 (ECDSAP256SHA256)',
    zone: 'example.net.',
    tag: 55648,
    key: '257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==',
    ds: '55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17',
    set: 'www.example.net. 3600 A 192.0.2.1',
    signature: `www.example.net. 3600 A 13 3 3600 20100909100439 20100812100439 55648 example.net.
      qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==`,
    at: '20100820000000',
  },
  {
    rfc: 'RFC 6605 §6.2 (ECDSAP384SHA384)',
    zone: 'example.net.',
    tag: 10771,
    key: '257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40',
    ds: '10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6',
    set: 'www.example.net. 3600 A 192.0.2.1',
    signature: `www.example.net. 3600 A 14 3 3600 20100909102025 20100812102025 10771 example.net.
      /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm`,
    at: '20100820000000',
  },
  {
    rfc: 'RFC 8080 §6.1 (Ed25519)',
    zone: 'example.com.',
    tag: 3613,
    key: '257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=',
    ds: '3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b',
    set: 'example.com. 3600 MX 10 mail.example.com.',
    signature: `example.com. 3600 MX 15 2 3600 20150819220000 20150729220000 3613 example.com.
      oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==`,
    at: '20150810000000',
  },
  {
    rfc: 'RFC 8080 §6.1 (Ed25519, second)',
    zone: 'example.com.',
    tag: 35217,
    key: '257 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=',
    ds: '35217 15 2 401781b934e392de492ec77ae2e15d70f6575a1c0bc59c5275c04ebe80c6614c',
    set: 'example.com. 3600 MX 10 mail.example.com.',
    signature: `example.com. 3600 MX 15 2 3600 20150819220000 20150729220000 35217 example.com.
      zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==`,
    at: '20150810000000',
  },
  {
    rfc: 'RFC 8080 §6.2 (Ed448)',
    zone: 'example.com.',
    tag: 9713,
    key: '257 3 16 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA',
    ds: '9713 16 2 6ccf18d5bc5d7fc2fceb1d59d17321402f2aa8d368048db93dd811f5cb2b19c7',
    set: 'example.com. 3600 MX 10 mail.example.com.',
    signature: `example.com. 3600 MX 16 2 3600 20150819220000 20150729220000 9713 example.com.
      3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+Gj7FSvOKxE/07+4RQvE581N3Aj/JtIyaiYVdn
      YtyMWbSNyGEY2213WKsJlwEA`,
    at: '20150810000000',
  },
];

for (const { rfc, zone, key: keyText, tag, ds: dsText, set: setText, signature, at } of EXAMPLES) {
  await t.test(rfc, async t => {
    const key = dnskey(keyText);
    t.equal(key.tag, tag, 'key tag');
    if (dsText !== undefined) {
      const [dsTag = '', algorithm = '', type = '', digest = ''] = dsText.split(' ');
      const ds = readDs(
        Buffer.concat([
          uint16(Number(dsTag)),
          Buffer.from([Number(algorithm), Number(type)]),
          Buffer.from(digest, 'hex'),
        ]),
      );
      t.ok(ds && dsMatches(ds, nameOf(wireName(zone)), key), 'DS');
    }
    const check = (change: (rdata: Buffer) => Buffer): string => {
      const signed = rrsig(signature.replace(/\s+/g, ' '));
      const answer = [...records(setText), { ...signed, rdata: change(signed.rdata) }];
      const message = putTogether({
        question: Buffer.concat([answer[0]?.owner ?? Buffer.alloc(1), uint16(answer[0]?.type ?? 0), uint16(1)]),
        rcode: 0,
        answer,
        authority: [],
      });
      // Offsets of TTLs, as a scan would have found them.
      let offset = 12 + (answer[0]?.owner.length ?? 0) + 4;
      const ttlOffsets = takeApart(message).answer.map(each => {
        const ttlAt = offset + each.owner.length + 4;
        offset = ttlAt + 6 + each.rdata.length;
        return ttlAt;
      });
      const [found] =
        readSets(
          { octets: message, answers: answer.length, authority: 0, ttlOffsets },
          12 + (answer[0]?.owner.length ?? 0) + 4,
        )?.answer ?? [];
      if (found === undefined) return 'no set';
      const step = new Verifier()
        .check(found, nameOf(wireName(zone)), [key], wallSec(seconds(at)), new Budget())
        .next();
      if (step.done !== true) return 'pause';
      const checked = step.value;
      return checked.at === 'flawed' ? checked.flaw.code : checked.at;
    };
    t.equal(
      check(rdata => rdata),
      'good',
    );
    t.equal(
      check(rdata => Buffer.concat([rdata.subarray(0, -1), Buffer.from([(rdata[rdata.length - 1] ?? 0) ^ 1])])),
      'bogus',
      'and not with another last bit',
    );
    t.equal(
      check(rdata => Buffer.concat([rdata.subarray(0, -1)])),
      'bogus',
      'nor cut',
    );
  });
}

await t.test('RFC 5155 Appendix A: hashes of the example zone, 12 iterations, salt aabbccdd', async t => {
  const BASE32HEX = '0123456789abcdefghijklmnopqrstuv';
  const text = (hash: string): string => {
    const bits = [...Buffer.from(hash, 'latin1')].map(octet => octet.toString(2).padStart(8, '0')).join('');
    return (bits.match(/.{5}/g) ?? []).map(five => BASE32HEX[parseInt(five, 2)]).join('');
  };
  for (const [name, hash] of [
    ['example.', '0p9mhaveqvm6t7vbl5lop2u3t2rp3tom'],
    ['a.example.', '35mthgpgcu1qg68fab165klnsnk3dpvl'],
    ['ai.example.', 'gjeqe526plbf1g8mklp59enfd789njgi'],
    ['ns1.example.', '2t7b4g4vsa5smi47k61mv5bv1a22bojr'],
    ['ns2.example.', 'q04jkcevqvmu85r014c7dkba38o0ji5r'],
    ['w.example.', 'k8udemvp1j2f7eg6jebps17vp3n8i58h'],
    ['*.w.example.', 'r53bq7cc2uvmubfu5ocmm6pers9tk9en'],
    ['x.w.example.', 'b4um86eghhds6nea196smvmlo4ors995'],
    ['y.w.example.', 'ji6neoaepv8b5o6k4ev33abha8ht9fgc'],
    ['x.y.w.example.', '2vptu5timamqttgl4luu9kg21e0aor3s'],
    ['xx.example.', 't644ebqk9bibcna874givr6joj62mlhv'],
  ] as const)
    t.equal(text(nsec3Hash(nameOf(wireName(name)), Buffer.from('aabbccdd', 'hex'), 12)), hash, name);
});
