import t from 'tap';

import { placeClasses } from '../../src/policy/own-places.js';
import { SharedNetworks } from '../../src/policy/shared-networks.js';

const PLACES = [
  { address: '192.168.2.1', port: undefined, clientClass: 1 },
  { address: '192.168.2.1', port: 5353, clientClass: 2 },
  { address: 'fd00:2::1', port: 853, clientClass: 3 },
];

await t.test('a place with a port counts more than one without, however its address is written', t => {
  const classOf = placeClasses(PLACES);
  t.equal(classOf({ address: '192.168.2.1', port: 53 }), 1);
  t.equal(classOf({ address: '192.168.2.1', port: 5353 }), 2);
  t.equal(classOf({ address: '::ffff:192.168.2.1', port: 53 }), 1, 'on a socket of IPv6');
  t.equal(classOf({ address: 'FD00:2:0::1', port: 853 }), 3);
  t.equal(classOf({ address: 'fd00:2::1%eth0', port: 853 }), 3, 'with a zone');
  t.equal(classOf({ address: 'fd00:2::1', port: 53 }), 0);
  t.equal(classOf({ address: '192.168.2.2', port: 53 }), 0);
  t.equal(classOf({ address: '', port: 0 }), 0);
  t.end();
});

await t.test('all threads see them, beside networks, and see them go', t => {
  const memory = SharedNetworks.memory([{ address: '10.0.0.0', prefix: 8 }], { atOurs: PLACES });
  const reader = new SharedNetworks(memory);
  t.equal(reader.placeClasses()?.({ address: '192.168.2.1', port: 5353 }), 2);
  t.equal(reader.placeClasses()?.({ address: 'fd00:2::1', port: 853 }), 3);
  t.equal(reader.classes()(Buffer.from([192, 168, 2, 1]), 0, 4), 0, 'they are no networks of clients');
  new SharedNetworks(memory).write({ allow: [], unlimited: [], proving: [], announcing: [], classes: [], atOurs: [] });
  t.equal(reader.placeClasses(), undefined);
  t.end();
});
