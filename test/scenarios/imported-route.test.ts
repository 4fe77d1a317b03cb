// A route that is the search domains of the network, in a daemon that goes from one network to another.

import t from 'tap';

import { records } from '../fixtures/records.js';
import { eventually, KNOWN, Rig } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

await t.test('names of the search domains go to the resolvers of the network they are of, and to no other', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test', { answer: world(records(KNOWN)) });
  const upstream = { servers: [main.entry] };
  rig.resolvers = ['127.0.0.9'];
  rig.searchDomains = ['corp.example', 'com'];
  await rig.start({ upstream, routes: [{ import: true }] });
  const explained = async (name: string): Promise<string> =>
    (await rig.command('explain', [name])).split('\n').find(line => line.startsWith('answer')) ?? '';
  const route = (zone: string, resolver: string): string =>
    `answer    of the route for ${zone}.: ${resolver} would be asked`;
  const others = 'answer    of dns.test, which would be asked';
  t.equal(await explained('wiki.corp.example'), route('corp.example', '127.0.0.9'));
  t.equal(await explained('shop.com'), others, 'a network cannot have a top-level domain');
  t.ok(rig.lines.some(line => line.includes('search domains of this network') && line.includes('corp.example.')));
  t.match(await rig.command('status'), '127.0.0.9', 'the resolver stands among the servers');

  rig.resolvers = ['127.0.0.10'];
  rig.searchDomains = ['hotel.example'];
  const look = async (): Promise<string> => {
    // The network is looked at before a question leaves.
    await rig.answer(rig.fresh());
    return explained('tv.hotel.example');
  };
  t.equal(await eventually(look, route('hotel.example', '127.0.0.10')), route('hotel.example', '127.0.0.10'));
  t.equal(await explained('wiki.corp.example'), others, 'the names of the company do not stay with the hotel');

  await rig.reload({ upstream });
  t.equal(await explained('tv.hotel.example'), others);
});

await t.test(
  'a search domain within a route of the configuration is not imported: its names go where they went',
  async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(KNOWN)) });
    const corp = await rig.server('dns.corp.example', {
      answer: world(records('www.lab.corp.example. 300 A 10.0.0.7\n')),
    });
    rig.resolvers = ['127.0.0.9'];
    rig.searchDomains = ['lab.corp.example'];
    await rig.start({
      upstream: { servers: [main.entry] },
      routes: [
        { import: true },
        { zones: ['corp.example'], resolvers: corp.entry['addresses'], mode: 'strict', name: 'dns.corp.example' },
      ],
    });
    t.equal(await rig.answer('www.lab.corp.example'), 'NOERROR 10.0.0.7');
    t.ok(rig.lines.some(line => line.includes('not imported: lab.corp.example.')));
  },
);
