import t from 'tap';

import { networkMatcher } from '../../src/policy/access.js';

await t.test('networks of both families, single addresses, zones', t => {
  const allowed = networkMatcher([{ address: '10.0.0.0', prefix: 8 }, { address: '192.0.2.7', prefix: 32 }, { address: 'fe80::', prefix: 10 }]);
  const verdicts: readonly [string, boolean][] = [
    ['10.255.255.255', true], ['11.0.0.0', false], ['192.0.2.7', true], ['192.0.2.8', false], ['fe80::1', true], ['fe80::1%eth0', true],
    ['2001:db8::1', false], ['::ffff:10.0.0.1', true], ['::1', false],
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
