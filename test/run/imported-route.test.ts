// The route whose zones are the search domains of the network.

import t from 'tap';

import { routesIn, writtenZones } from '../../src/run/imported-route.js';
import { nameToText } from '../../src/wire/name.js';
import { planFor } from '../fixtures/plans.js';

const plan = planFor('routes: [{ import: true }, { zones: [corp.example], resolvers: [10.0.0.53] }]');
const { routes } = plan;

/** The routes in force, in a few words. */
const told = (search: readonly string[], resolvers: readonly string[], inForce = routes): readonly string[] =>
  routesIn(
    inForce,
    writtenZones(plan),
    () => search,
    () => resolvers,
  ).routes.map(
    ({ zones, servers }) => `${zones.map(nameToText).join(' ')} ${servers.map(({ label }) => label).join(' ')}`,
  );

const CORP = 'corp.example. 10.0.0.53:53';

await t.test('its zones are the search domains, and its servers the resolvers, of the network', t => {
  t.same(told(['Branch.Example.', 'lan'], ['192.168.1.1', 'fd00::1']), [
    CORP,
    'branch.example. lan. 192.168.1.1 fd00::1',
  ]);
  t.end();
});

await t.test(
  'a network cannot have a top-level domain of the Internet, nor what a route of the configuration has',
  t => {
    t.same(told(['com', '.', 'local', 'corp.example', 'a..b', 'home', 'home'], ['192.168.1.1']), [
      CORP,
      'home. 192.168.1.1',
    ]);
    t.end();
  },
);

await t.test('nor can it have what a route has at other times', t => {
  const imported = routes.filter(each => each.imported);
  t.same(told(['corp.example', 'lan'], ['192.168.1.1'], imported), ['lan. 192.168.1.1']);
  t.end();
});

await t.test('without search domains, or without resolvers, there is none', t => {
  t.same(told([], ['192.168.1.1']), [CORP]);
  t.same(told(['lan'], []), [CORP], 'such as where the only resolver is this daemon');
  t.end();
});

await t.test('nor what is at or below a zone that the configuration says something about', t => {
  const anchor = 'signed.example. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D';
  const written = planFor(`
routes:
  - { import: true }
  - { zones: [corp.example], resolvers: [10.0.0.53], mode: strict, name: dns.corp.example }
  - { zones: [vpn.example], resolvers: [10.0.0.54] }
local: { own_zones: [home.example] }
special_names: { forward: [home.arpa] }
dnssec: { trust_anchors: ["${anchor}"] }
upstream: { servers: [{ name: dns.test, addresses: [192.0.2.1] }] }
`);
  const { routes: inForce, refused } = routesIn(
    written.routes,
    writtenZones(written),
    () => [
      'lab.corp.example',
      'a.vpn.example',
      'x.home.example',
      'home.example',
      'x.signed.example',
      'home.arpa',
      'x.home.arpa',
      'mycorp.example',
      'example',
    ],
    () => ['192.168.1.1'],
  );
  t.same(
    inForce.filter(each => each.imported).flatMap(({ zones }) => zones.map(nameToText)),
    ['mycorp.example.'],
  );
  t.same(refused.map(nameToText), [
    'lab.corp.example.',
    'a.vpn.example.',
    'x.home.example.',
    'home.example.',
    'x.signed.example.',
    'home.arpa.',
    'x.home.arpa.',
  ]);
  t.end();
});
