// Files with local names, while a daemon runs: they change, go, come back, and cannot be read.

import { renameSync, rmSync, writeFileSync } from 'node:fs';

import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import type { Finding } from '../../src/base/overview.js';
import { records } from '../fixtures/records.js';
import { eventually, Rig } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

/** What is said about files with local names; the clock of the machine may be wrong. */
const found = (rig: Rig): readonly Finding[] => rig.overview().findings.filter(({ id }) => id.startsWith('local'));

for (const threads of [0, 1])
  await t.test(
    `a file that changes counts at once, ready replies of before do not, ${threads} front threads`,
    async t => {
      const rig = await Rig.make(t);
      const main = await rig.server('dns.test');
      const hosts = rig.file('hosts', '192.168.1.10 nas.lan\n');
      const config = (more: object = {}) => ({
        front: { threads },
        upstream: { servers: [main.entry] },
        local: { hosts: [hosts], ...more },
      });
      await rig.start(config());
      const seen = async (): Promise<string> => rig.answer('nas.lan');
      for (let i = 0; i < 3; i++) t.equal(await seen(), 'NOERROR 192.168.1.10');
      writeFileSync(hosts, '192.168.1.11 nas.lan\n');
      t.equal(await eventually(seen, 'NOERROR 192.168.1.11'), 'NOERROR 192.168.1.11', 'written in place');
      writeFileSync(rig.path('next'), '192.168.1.12 nas.lan\n');
      renameSync(rig.path('next'), hosts);
      t.equal(await eventually(seen, 'NOERROR 192.168.1.12'), 'NOERROR 192.168.1.12', 'another file in its place');
      const before = rig.overview().local?.files[0]?.readMs ?? 0;
      rmSync(hosts);
      const error = () => rig.overview().local?.files[0]?.error !== undefined;
      t.equal(await eventually(error, true), true, 'a file that is gone is told,');
      t.equal(await seen(), 'NOERROR 192.168.1.12', 'and what it had counts');
      t.match(rig.health, /hosts cannot be read \(.*\), and what it had before counts/);
      t.same(await rig.reload(config({ records: ['tv.lan. A 192.168.1.20'] })), { now: ['local.records'], later: [] });
      t.equal(await seen(), 'NOERROR 192.168.1.12', 'also after a reload');
      t.equal(await rig.answer('tv.lan'), 'NOERROR 192.168.1.20');
      writeFileSync(hosts, '192.168.1.12 nas.lan\n');
      t.equal(await eventually(error, false), false, 'it is back, and the same');
      t.ok((rig.overview().local?.files[0]?.readMs ?? 0) >= before);
      t.same(found(rig), []);
      t.notOk(main.asked.includes('nas.lan'));
    },
  );

await t.test('a lease file that is not there yet does not hold up the start, and counts when it comes', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const file = rig.path('dhcp.leases');
  await rig.start({
    upstream: { servers: [main.entry] },
    local: { leases: [{ file, domain: 'lan' }], own_zones: ['lan'] },
  });
  t.equal(await rig.answer('nas.lan'), 'NXDOMAIN');
  t.match(found(rig), [{ id: 'local_file', level: 'weak' }]);
  t.match(await rig.command('status'), /^local names +0\n +\S+dhcp\.leases \(dnsmasq\): 0 names, not read$/m);
  writeFileSync(file, '4000000000 aa:bb:cc:dd:ee:ff 192.168.1.10 nas *\nwhat\n');
  t.equal(await eventually(async () => rig.answer('nas.lan'), 'NOERROR 192.168.1.10'), 'NOERROR 192.168.1.10');
  t.match(found(rig), [{ id: 'local_lines', level: 'note', words: /dhcp\.leases:2: not a lease of dnsmasq/ }]);
  t.notMatch(rig.health, 'dhcp.leases', 'a note is no trouble');
  t.ok(rig.lines.some(line => line.includes('dhcp.leases:2: not a lease of dnsmasq')));
  t.equal((await rig.metrics()).get(`dotstub_local_file_problems{file="${file}"}`), 1);
});

await t.test('leases of Kea count over all of its files, while it cleans them up', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const header =
    'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n';
  const line = (address: string, host: string, lifetime = 3600): string =>
    `${address},aa:bb,,${lifetime},4000000000,1,0,0,${host},0,\n`;
  const file = rig.file('leases.csv', header + line('192.168.1.10', 'nas'));
  await rig.start({ upstream: { servers: [main.entry] }, local: { leases: [{ file, format: 'kea', domain: 'lan' }] } });
  t.equal(await rig.answer('nas.lan'), 'NOERROR 192.168.1.10');
  renameSync(file, `${file}.1`);
  writeFileSync(file, header + line('192.168.1.11', 'tv'));
  t.equal(await eventually(async () => rig.answer('tv.lan'), 'NOERROR 192.168.1.11'), 'NOERROR 192.168.1.11');
  t.equal(await rig.answer('nas.lan'), 'NOERROR 192.168.1.10');
  writeFileSync(file, header + line('192.168.1.11', 'tv') + line('192.168.1.10', 'nas', 0));
  t.equal(await eventually(async () => rig.answer('nas.lan'), 'NXDOMAIN'), 'NXDOMAIN', 'it was taken back');
});

await t.test('an alias that led in a circle over local records is answered once they are mended', async t => {
  const rig = await Rig.make(t);
  const answer = world(records('pub.example. 300 CNAME a.lan.\n'));
  // It gives the alias alone.
  const main = await rig.server('dns.test', {
    answer: query => {
      const reply = answer(query);
      reply?.writeUInt8((reply[3] ?? 0) & 0xf0, 3);
      return reply;
    },
  });
  const config = (record: string) => ({ upstream: { servers: [main.entry] }, local: { records: [record] } });
  await rig.start(config('a.lan. CNAME pub.example.'));
  // Each failure is held for longer than the one before.
  for (let i = 0; i < 3; i++) {
    t.equal(await rig.answer('pub.example'), 'SERVFAIL');
    await sleep(1100);
  }
  t.equal(await rig.answer('pub.example'), 'SERVFAIL');
  await rig.reload(config('a.lan. A 192.168.1.5'));
  t.equal(await rig.answer('pub.example'), 'NOERROR a.lan. 192.168.1.5');
  t.notOk(main.asked.includes('a.lan'));
});
