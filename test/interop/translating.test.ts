// DNS64 and rebinding protection beside Unbound's (`dns64 validator iterator`, private-address), on generated names in signed and
// unsigned zones. Debian packages: unbound nsd bind9-utils ldnsutils.

import t from 'tap';

import { addressOctets, addressText } from '../../src/base/address.js';
import { embedded, nat64PrefixFrom, reverseZone, WELL_KNOWN_PREFIX } from '../../src/policy/nat64.js';
import { isPrivateV4, isPrivateV6 } from '../../src/policy/rebinding.js';
import { u32At } from '../../src/base/octets.js';
import { nameToText } from '../../src/wire/name.js';
import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing } from '../fixtures/servers.js';
import {
  recursor,
  serveWorld,
  signWorld,
  validatingUnbound,
  WORLD_PROGRAMS,
  type ZoneSpec,
} from '../fixtures/signed-world.js';

const NAMES = 125;
const AT_ONCE = 8;
const PREFIX_TEXT = '2001:db8:64::/96';
const PREFIX_START = '2001:db8:64:';
const PREFIX = nat64PrefixFrom(PREFIX_TEXT) ?? WELL_KNOWN_PREFIX;

/** Numbers from 0 below `below`, the same in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return below => {
    state = (state * 48_271) % 0x7fffffff;
    return state % below;
  };
}
const number = numbers(17);
const oneOf = <T>(all: readonly [T, ...T[]]): T => all[number(all.length)] ?? all[0];
type Text = () => string;

/** The same networks as those of policy/rebinding. */
const PRIVATE_NETWORKS =
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 255.255.255.255/32'.split(
    ' ',
  );
const FORMS = ['::', '::ffff:', '::ffff:0:', '64:ff9b::', '2001:db8:64::'] as const;
const IN_IPV6 = PRIVATE_NETWORKS.flatMap(each => {
  const [address = '', bits] = each.split('/');
  return FORMS.map(form => `${form}${address}/${96 + Number(bits)}`);
});
const PRIVATE_V6 = ['fc00::/7', 'fe80::/10', 'fec0::/10', ...IN_IPV6];

const privateV4 = (): string =>
  oneOf<Text>([
    () => `10.${number(256)}.${number(256)}.1`,
    () => `192.168.${number(256)}.1`,
    () => `127.0.0.${number(256)}`,
    () => `172.${16 + number(16)}.0.9`,
    () => `169.254.1.${number(256)}`,
    () => '0.0.0.0',
    () => `100.${64 + number(64)}.0.1`,
  ])();
const publicV4 = (): string =>
  oneOf<Text>([() => `5.6.7.${number(256)}`, () => `172.${32 + number(100)}.0.1`, () => `11.0.${number(256)}.1`])();
const inside = (v4: string): string => {
  const octets = addressOctets(`${oneOf(FORMS)}${v4}`) ?? Buffer.alloc(16);
  return addressText(octets, 0, 16);
};
const privateV6 = (): string =>
  oneOf<Text>([
    () => `fd00::${number(9999) + 1}`,
    () => `fe80::${number(9999) + 1}`,
    () => inside(privateV4()),
    () => '::1',
  ])();
// Not IPv4-mapped: those are excluded by our DNS64, and Unbound has no such list (RFC 6147 §5.1.4).
const publicV6 = (): string => oneOf<Text>([() => `2001:db8:1::${number(9999)}`, () => `2600::${number(9999)}`])();

/** The records of the name with this number. */
function recordsOf(i: number): string {
  const a = (address: string): string => `n${i} 300 A ${address}`;
  const aaaa = (address: string): string => `n${i} 300 AAAA ${address}`;
  return oneOf<() => readonly string[]>([
    () => [a(publicV4())],
    () => [a(publicV4()), a(publicV4())],
    () => [a(privateV4())],
    () => [a(privateV4()), a(publicV4())],
    () => [aaaa(publicV6())],
    () => [aaaa(privateV6())],
    () => [aaaa(privateV6()), aaaa(publicV6())],
    () => [a(publicV4()), aaaa(publicV6())],
    () => [a(publicV4()), aaaa(privateV6())],
    () => [a(privateV4()), aaaa(publicV6())],
    () => [a(privateV4()), aaaa(privateV6())],
    () => [`n${i} 300 TXT "nothing"`],
    () => [`n${i} 300 CNAME n${number(NAMES)}`],
    () => [`n${i} 300 CNAME n${number(NAMES)}.plain.`],
  ])().join('\n');
}

const records = (): string => Array.from({ length: NAMES }, (_, i) => recordsOf(i)).join('\n');
const SIGNED = records();
const ZONES: readonly ZoneSpec[] = [
  { name: '.', algorithm: 'ECDSAP256SHA256', denial: 'nsec' },
  { name: 'signed.', algorithm: 'ECDSAP256SHA256', denial: 'nsec3', records: SIGNED },
  { name: 'plain.', records: records() },
  {
    name: '7.6.5.in-addr.arpa.',
    algorithm: 'ECDSAP256SHA256',
    denial: 'nsec',
    records: Array.from({ length: 128 }, (_, i) => `${i} 300 PTR host${i}.plain.`).join('\n'),
  },
];

interface Said {
  readonly rcode: string;
  readonly ad: boolean;
  /** Addresses or PTR targets. */
  readonly data: readonly string[];
}

async function said(at: At, name: string, type: string): Promise<Said> {
  const { text } = await ask(at, name, { type, dnssec: true });
  const data = text.answers.filter(each => each.type === type).map(({ data: each }) => each.toLowerCase());
  return { rcode: text.rcode, ad: text.flags.includes('ad'), data: data.toSorted() };
}

const isPrivate = (text: string): boolean => {
  const octets = addressOctets(text);
  if (octets === undefined) return false;
  return octets.length === 4 ? isPrivateV4(u32At(octets, 0)) : isPrivateV6(octets, 0, PREFIX);
};

/** The name of an address that the translator leads to 5.6.7.x. */
function reverseName(last: number): string {
  const octets = embedded(PREFIX, 0x05060700 + last);
  const nibbles = [...octets.subarray(12)].reverse().flatMap(octet => [octet & 15, octet >> 4]);
  return `${nibbles.map(each => each.toString(16)).join('.')}.${nameToText(reverseZone(PREFIX))}`;
}

await t.test(
  'of generated names, clients get the addresses that they get of Unbound, and never a private one',
  { skip: missing(...WORLD_PROGRAMS), timeout: 300_000 },
  async t => {
    const on = bench(t);
    const anchors = await signWorld(on.path, ZONES, () => '');
    const upstream = await recursor(
      on,
      await serveWorld(on, on.path, ZONES),
      '  local-zone: 5.in-addr.arpa. nodefault',
    );
    const theirs = await validatingUnbound(
      on,
      upstream,
      anchors,
      [
        '  module-config: "dns64 validator iterator"',
        `  dns64-prefix: ${PREFIX_TEXT}`,
        '  local-zone: 8.b.d.0.1.0.0.2.ip6.arpa. nodefault',
        ...[...PRIVATE_NETWORKS, ...PRIVATE_V6].map(each => `  private-address: ${each}`),
      ].join('\n'),
    );
    const port = await freePort();
    const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}] }
rebinding: { protect: true }
dns64: { prefix: "${PREFIX_TEXT}" }
`);
    on.onEnd(async () => void (await program.stop()));
    const ours: At = { address: '127.0.0.1', port };
    const questions = [
      ...['signed.', 'plain.'].flatMap(zone =>
        Array.from({ length: NAMES }, (_, i) => ['A', 'AAAA'].map(type => [`n${i}.${zone}`, type] as const)).flat(),
      ),
      ...Array.from({ length: 32 }, (_, i) => [reverseName(i * 8), 'PTR'] as const),
    ];
    const counts = new Map<string, number>();
    const differences: string[] = [];
    const left: (readonly [name: string, type: string])[] = [...questions];
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let each = left.pop(); each !== undefined; each = left.pop()) {
          const [name, type] = each;
          const [mine, its] = await Promise.all([said(ours, name, type), said(theirs, name, type)]);
          const again = await said(ours, name, type);
          if (JSON.stringify(again) !== JSON.stringify(mine)) differences.push(`${each.join(' ')}: not the same again`);
          if (mine.data.some(isPrivate)) differences.push(`${each.join(' ')}: private ${mine.data.join()}`);
          const kind = difference(type, mine, its);
          counts.set(kind, (counts.get(kind) ?? 0) + 1);
          if (kind.startsWith('other'))
            differences.push(`${each.join(' ')}: ${JSON.stringify(mine)}, Unbound ${JSON.stringify(its)}`);
        }
      }),
    );
    t.comment(`${questions.length} questions: ${[...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')}`);
    t.same(differences, []);
    t.ok((counts.get('same') ?? 0) > questions.length / 2);
  },
);

/** How two answers differ. */
function difference(type: string, mine: Said, its: Said): string {
  if (JSON.stringify(mine) === JSON.stringify(its)) return 'same';
  // Unbound takes private addresses out before it validates, so what is signed is bogus then. We validate first.
  if (its.rcode === 'SERVFAIL' && mine.rcode === 'NOERROR' && (!mine.ad || mine.data.length === 0))
    return 'signed, with a private address';
  // RFC 6147 §5.5 lets a server set AD on what it has made of validated records, and Unbound does. We never do, nor on what
  // is left of an answer: nobody has signed that.
  const isMade = type === 'PTR' || mine.data.every(each => each.startsWith(PREFIX_START));
  if (isMade && !mine.ad && JSON.stringify({ ...mine, ad: true }) === JSON.stringify(its)) return 'made, AD by Unbound';
  return 'other';
}
