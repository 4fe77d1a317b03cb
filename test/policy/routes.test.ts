import fc from 'fast-check';
import t from 'tap';

import { isNoClusterName, routeOf } from '../../src/policy/routes.js';
import { nameFromText } from '../../src/wire/name.js';
import { NO_ROUTES } from '../../src/wire/query.js';

const name = (text: string): Buffer => nameFromText(text) ?? Buffer.from([0]);
const zone = name('cluster.local');

await t.test('a route of some groups is for no others, and goes first at the same zone', t => {
  const all = { zones: [zone], kubernetes: false };
  const ours = { ...all, only: new Set([2, 3]) };
  const closer = { zones: [name('svc.cluster.local')], kubernetes: false };
  for (const routes of [
    [all, ours, closer],
    [ours, all, closer],
  ]) {
    t.equal(routeOf(routes, zone)?.route, all);
    t.equal(routeOf(routes, zone, 4)?.route, all);
    t.equal(routeOf(routes, zone, 2)?.route, ours);
    t.equal(routeOf(routes, name('a.svc.cluster.local'), 3)?.route, closer);
    t.equal(routeOf(routes, zone, NO_ROUTES), undefined);
  }
  t.equal(routeOf([ours], zone), undefined);
  t.end();
});

await t.test('the closest zone decides, at whole labels', async t => {
  const far = { zones: [name('local'), name('10.in-addr.arpa')], kubernetes: false };
  const near = { zones: [zone], kubernetes: true };
  t.equal(routeOf([far, near], name('a.cluster.local'))?.route, near);
  t.equal(routeOf([near, far], name('cluster.local'))?.route, near);
  t.equal(routeOf([far, near], name('printer.local'))?.route, far);
  t.equal(routeOf([far, near], name('1.2.3.10.in-addr.arpa'))?.route, far);
  t.equal(routeOf([far, near], name('mycluster.local'))?.route, far, 'ends alike, and is below local only');
  t.equal(routeOf([near], name('mycluster.local')), undefined);
  t.equal(routeOf([far, near], name('example.com')), undefined);
});

await t.test('what a cluster can have is asked about, what search lists make of other names is not', async t => {
  const denied = (text: string): boolean => isNoClusterName(name(text), zone);
  for (const possible of [
    'cluster.local',
    'svc.cluster.local',
    'default.svc.cluster.local',
    'kubernetes.default.svc.cluster.local',
    'db-0.db.prod.svc.cluster.local',
    '_https._tcp.web.prod.svc.cluster.local',
    '10-1-2-3.prod.pod.cluster.local',
    'dns-version.cluster.local',
    'www.example.svc.cluster.local',
  ])
    t.notOk(denied(possible), possible);
  for (const made of [
    'example.com.cluster.local',
    'www.example.com.cluster.local',
    'com.cluster.local',
    'a.b.example.com.svc.cluster.local',
    'www.example.com.default.svc.cluster.local',
    'a.10-1-2-3.prod.pod.cluster.local',
    'x.dns-version.cluster.local',
  ])
    t.ok(denied(made), made);
});

await t.test('every name of a service or a pod is asked about', async () => {
  const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  fc.assert(
    fc.property(
      label,
      label,
      fc.option(label),
      (service, namespace, pod) =>
        !isNoClusterName(name(`${pod === null ? '' : `${pod}.`}${service}.${namespace}.svc.cluster.local`), zone) &&
        !isNoClusterName(name(`${service}.${namespace}.pod.cluster.local`), zone) &&
        isNoClusterName(name(`${service}.${namespace}.com.cluster.local`), zone),
    ),
  );
});
