import fc from 'fast-check';
import t from 'tap';

import { addressOctets, addressText } from '../../src/base/address.js';
import { readDnr4, readDnr6 } from '../../src/wire/dnr.js';
import { type DnrInstance, dnr4Option, dnr6Option } from '../fixtures/dnr.js';

const DOT = { alpn: ['dot'] };
const one: DnrInstance = { priority: 1, name: 'dns.example', addresses: ['192.0.2.1'], ...DOT };
const six: DnrInstance = { ...one, addresses: ['2001:db8::1'] };

const parameters = { alpn: ['dot'], port: undefined, hints: [], dohpath: undefined };

await t.test('the example of a DHCP server: a name, two addresses and the protocol', t => {
  // What dnsmasq sends for "1 dns.google. alpn=dot".
  const option = Buffer.from('002000010c03646e7306676f6f676c65000808080808080804040001000403646f74', 'hex');
  t.same(readDnr4(option), [{ priority: 1, name: 'dns.google', addresses: ['8.8.8.8', '8.8.4.4'], parameters }]);
  t.end();
});

await t.test('all instances of an option, best first, with what DNS over HTTPS will need', t => {
  const doh: DnrInstance = {
    ...one,
    priority: 2,
    name: 'DoH.example',
    alpn: ['h2', 'dot'],
    port: 8853,
    dohpath: '/dns-query{?dns}',
  };
  t.same(readDnr4(dnr4Option([doh, one])), [
    { priority: 1, name: 'dns.example', addresses: ['192.0.2.1'], parameters },
    {
      priority: 2,
      name: 'doh.example',
      addresses: ['192.0.2.1'],
      parameters: { alpn: ['h2', 'dot'], port: 8853, hints: [], dohpath: '/dns-query{?dns}' },
    },
  ]);
  t.same(readDnr6(dnr6Option(six)), { priority: 1, name: 'dns.example', addresses: ['2001:db8::1'], parameters });
  t.end();
});

await t.test('an instance that RFC 9463 calls invalid is left out, and the others are kept', t => {
  const bad: Readonly<Record<string, Partial<DnrInstance>>> = {
    'no ALPN id': { alpn: [] },
    'a name alone': { addresses: undefined },
    'no address': { addresses: [] },
    'an address hint': { extra: Buffer.from('00040004c0000201', 'hex') },
    'a mandatory key that is unknown': { extra: Buffer.from('000000020063', 'hex') },
    'port 0': { port: 0 },
    'the root as name': { name: '.' },
    'an address as name': { name: '192.0.2.1' },
    'a name that is no host name': { name: 'a_b.exa mple' },
    'octets that are no parameter': { extra: Buffer.from('00', 'hex') },
  };
  for (const [what, more] of Object.entries(bad)) {
    t.same(
      readDnr4(dnr4Option([{ ...one, ...more }, one])).map(({ name }) => name),
      ['dns.example'],
      what,
    );
    t.equal(readDnr4(dnr4Option([{ ...one, ...more }])).length, 0, what);
    t.equal(readDnr6(dnr6Option({ ...six, ...more })), undefined, what);
  }
  t.equal(readDnr4(dnr4Option(Array.from({ length: 100 }, () => one))).length, 8, 'bounded');
  const withName = (octets: string): Buffer =>
    Buffer.from(
      dnr4Option([{ ...one, name: 'aa' }])
        .toString('hex')
        .replace('02616100', octets),
      'hex',
    );
  t.equal(readDnr4(withName('01610000')).length, 0, 'octets after the name');
  t.equal(readDnr4(withName('0161c000')).length, 0, 'a compressed name');
  t.equal(readDnr4(withName('0161620a')).length, 0, 'a name without its end');
  t.end();
});

const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,19}$/);
const address4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(octets => addressText(Buffer.from(octets), 0, 4));
const address6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(octets => addressText(Buffer.from(octets), 0, 16));
const instance = (address: fc.Arbitrary<string>): fc.Arbitrary<DnrInstance> =>
  fc.record({
    priority: fc.nat(65535),
    name: fc.array(label, { minLength: 1, maxLength: 4 }).map(labels => labels.join('.')),
    addresses: fc.array(address, { minLength: 1, maxLength: 4 }),
    alpn: fc.array(fc.constantFrom('dot', 'h2', 'doq'), { minLength: 1, maxLength: 4 }),
    port: fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }),
    dohpath: fc.option(fc.constant('/dns-query{?dns}'), { nil: undefined }),
  });
const readBack = ({ priority, name, addresses = [], alpn, port, dohpath }: DnrInstance) => ({
  ...{ priority, name, addresses },
  parameters: { alpn, port, hints: [], dohpath },
});

await t.test('what is written is read back, for all instances that there can be', t => {
  fc.assert(
    fc.property(fc.array(instance(address4), { maxLength: 8 }), all => {
      const wanted = all.map(readBack).sort((a, b) => a.priority - b.priority);
      t.same(readDnr4(dnr4Option(all)), wanted);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(instance(address6), each => t.same(readDnr6(dnr6Option(each)), readBack(each))),
    { numRuns: 300 },
  );
  t.end();
});

await t.test('any octets: never an error, and nothing out of bounds', t => {
  const sound = (option: Buffer): boolean => {
    const all = [...readDnr4(option), ...[readDnr6(option) ?? []].flat()];
    return all.every(
      ({ name, addresses, parameters: { alpn, port } }) =>
        /^[a-z0-9.-]{1,253}$/.test(name) &&
        addresses.length > 0 &&
        addresses.length <= 4 &&
        addresses.every(address => addressOctets(address) !== undefined) &&
        alpn.length > 0 &&
        port !== 0,
    );
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), octets => sound(Buffer.from(octets))),
    { numRuns: 5000 },
  );
  const good = [dnr4Option([one, { ...one, port: 8853, dohpath: '/q{?dns}' }]), dnr6Option(six)];
  for (const option of good) {
    for (let end = 0; end < option.length; end++) sound(option.subarray(0, end));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(option.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        changes => {
          const changed = Buffer.from(option);
          for (const [at, octet] of changes) changed[at] = octet;
          return sound(changed);
        },
      ),
      { numRuns: 5000 },
    );
  }
  t.end();
});
