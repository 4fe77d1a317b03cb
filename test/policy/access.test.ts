import fc from 'fast-check';
import t from 'tap';

import { addressOctets } from '../../src/base/address.js';
import { networkMatcher } from '../../src/policy/access.js';
import { octetClasses, octetMatcher } from '../../src/policy/networks.js';
import { MOST_OF_DEVICES } from '../../src/run/devices.js';
import { SharedNetworks } from '../../src/policy/shared-networks.js';

await t.test('networks of both families, single addresses, zones', t => {
  const allowed = networkMatcher([
    { address: '10.0.0.0', prefix: 8 },
    { address: '192.0.2.7', prefix: 32 },
    { address: 'fe80::', prefix: 10 },
  ]);
  const verdicts: readonly [string, boolean][] = [
    ['10.255.255.255', true],
    ['11.0.0.0', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['fe80::1', true],
    ['fe80::1%eth0', true],
    ['2001:db8::1', false],
    ['::ffff:10.0.0.1', true],
    ['::1', false],
  ];
  for (const [address, verdict] of verdicts) {
    t.equal(allowed(address), verdict, address);
    t.equal(allowed(address), verdict, `${address}, remembered`);
  }
  t.notOk(networkMatcher([])('127.0.0.1'), 'an empty list allows nobody');
  t.end();
});

await t.test('a flood of addresses does not fill memory, and verdicts stay right', t => {
  const allowed = networkMatcher([{ address: '10.0.0.0', prefix: 8 }]);
  for (let i = 0; i < 5000; i++) if (allowed(`192.0.${i >> 8}.${i & 255}`)) t.fail('allowed');
  t.ok(allowed('10.1.1.1'));
  t.end();
});

await t.test('networks in shared memory: a reader follows the writer, and never sees half of it', t => {
  const memory = SharedNetworks.memory([{ address: '10.0.0.0', prefix: 8 }]);
  const writer = new SharedNetworks(memory);
  const reader = new SharedNetworks(memory);
  const allows = (address: string): boolean => {
    const octets = addressOctets(address) ?? Buffer.alloc(0);
    return reader.matcher()(octets, 0, octets.length === 4 ? 4 : 16);
  };
  t.ok(allows('10.1.2.3'));
  t.notOk(allows('2001:db8::1'));
  t.equal(reader.matcher(), reader.matcher(), 'compiled once');
  writer.write({
    allow: [
      { address: '2001:db8::', prefix: 32 },
      { address: '192.0.2.0', prefix: 24 },
    ],
    unlimited: [],
    proving: [],
    announcing: [],
    classes: [],
    atOurs: [],
  });
  t.ok(allows('2001:db8::1'));
  t.ok(allows('192.0.2.255'));
  t.notOk(allows('10.1.2.3'));
  // As a writer that was interrupted leaves it: the old ones count until it has finished.
  const control = new Int32Array(memory, 0, 2);
  Atomics.add(control, 0, 1);
  control[1] = 0;
  t.ok(allows('192.0.2.255'), 'half written');
  Atomics.add(control, 0, 1);
  t.notOk(allows('192.0.2.255'), 'written');
  t.end();
});

await t.test('the longest network of a group counts, however many there are', t => {
  const octet = fc.integer({ min: 0, max: 3 });
  const networks = fc.array(
    fc.record({
      address: fc.oneof(
        fc.tuple(octet, octet, octet, octet).map(all => all.map(each => each * 64).join('.')),
        fc.tuple(octet, octet).map(([a, b]) => `fd00:${a}::${b}`),
      ),
      bits: fc.integer({ min: 0, max: 128 }),
      clientClass: fc.integer({ min: 1, max: 9 }),
    }),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(networks, networks, (made, asked) => {
      const all = made.map(({ address, bits, clientClass }) => ({
        ...{ address, clientClass },
        prefix: address.includes(':') ? bits : bits >> 2,
      }));
      const classOf = octetClasses(all);
      for (const { address } of asked) {
        const octets = addressOctets(address) ?? Buffer.alloc(0);
        const bytes = octets.length === 4 ? 4 : 16;
        const fits = all.filter(each => octetMatcher([each])(octets, 0, bytes));
        const longest = Math.max(...fits.map(each => each.prefix));
        t.equal(classOf(octets, 0, bytes), fits.find(each => each.prefix === longest)?.clientClass ?? 0);
      }
    }),
  );
  t.end();
});

await t.test('as many networks as there may be are all in the memory', t => {
  const host = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
  const networks = Array.from({ length: 1024 + 64 }, (_, i) => ({ address: host(i), prefix: 32 }));
  const classes = Array.from({ length: 15 * 64 + MOST_OF_DEVICES }, (_, i) => ({
    ...{ address: host(i), prefix: 32 },
    clientClass: 1 + (i % 15),
  }));
  const reader = new SharedNetworks(SharedNetworks.memory(networks, { classes }));
  const octets = (i: number): Buffer => addressOctets(host(i)) ?? Buffer.alloc(0);
  t.ok(reader.matcher()(octets(networks.length - 1), 0, 4));
  t.equal(reader.classes()(octets(classes.length - 1), 0, 4), 1 + ((classes.length - 1) % 15));
  t.end();
});
