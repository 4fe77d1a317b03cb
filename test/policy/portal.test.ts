import t from 'tap';

import { portal } from '../../src/policy/portal.js';
import { ageClock, fakeClock } from '../fixtures/clock.js';
import { wireName } from '../fixtures/records.js';

await t.test('the window opens for its names and those below them, and closes by itself', async t => {
  const clock = fakeClock();
  const window = portal(ageClock(clock), [wireName('captive.example')]);
  const covers = (name: string): boolean => window.covers(wireName(name));
  t.notOk(covers('captive.example'));
  window.start(60_000, [wireName('login.hotel.test')], { by: 'command' });
  t.ok(covers('captive.example'));
  t.ok(covers('www.captive.example'));
  t.ok(covers('login.hotel.test'));
  t.notOk(covers('hotel.test'));
  t.notOk(covers('notcaptive.example'), 'octets that end alike are no labels that do');
  t.notOk(covers('x.other.example'));
  await clock.advance(59_999);
  t.ok(covers('captive.example'));
  await clock.advance(1);
  t.notOk(covers('captive.example'));
  t.equal(window.leftMs, 0);
  window.start(60_000, [], { by: 'command' });
  t.notOk(covers('login.hotel.test'), 'the page of last time is forgotten');
  window.stop();
  t.notOk(covers('captive.example'));
});

await t.test('the window closes at its time, also where the machine sleeps meanwhile', t => {
  const clock = fakeClock();
  const window = portal(ageClock(clock), [wireName('captive.example')]);
  window.start(600_000, [], { by: 'command' });
  clock.sleep(599_000);
  t.match(window.open, { openMs: 599_000, leftMs: 1000 });
  clock.sleep(3600_000);
  t.equal(window.open, undefined);
  t.notOk(window.covers(wireName('captive.example')));
  t.end();
});

await t.test('a detected portal gets the name of its page, and no other: the network may give any name', t => {
  const clock = fakeClock();
  const window = portal(ageClock(clock), [wireName('captive.example')]);
  const covers = (name: string): boolean => window.covers(wireName(name));
  window.start(60_000, [wireName('co.test')], { by: 'detected', url: 'http://co.test/' });
  t.ok(covers('co.test'));
  t.notOk(covers('www.bank.co.test'));
  t.ok(covers('www.captive.example'), 'the configured names are as always');
  window.start(60_000, [wireName('co.test')], { by: 'command' });
  t.ok(covers('www.bank.co.test'), 'an operator may mean more');
  t.end();
});

await t.test(
  'what to open in a browser: the page of the portal, else one in whose place the portal shows its own',
  t => {
    const clock = fakeClock();
    const window = portal(ageClock(clock), ['captive.example', 'neverssl.com'].map(wireName));
    t.equal(window.open, undefined);
    window.start(60_000, [], { by: 'command' });
    t.equal(window.open?.visit, 'http://neverssl.com/', 'which never leads to TLS');
    window.start(60_000, [wireName('login.hotel.test')], { by: 'command' });
    t.equal(window.open?.visit, 'http://login.hotel.test/', 'its own name, as the operator says');
    window.start(60_000, [wireName('co.test')], { by: 'detected', url: 'http://co.test/sign?in' });
    t.equal(window.open?.visit, 'http://co.test/sign?in');
    window.start(60_000, [], { by: 'detected', url: undefined });
    t.equal(window.open?.visit, 'http://neverssl.com/');
    window.configure([wireName('captive.example')]);
    t.equal(window.open?.visit, 'http://captive.example/');
    window.configure([]);
    t.equal(window.open?.visit, undefined, 'there is no name to reach a page by');
    t.end();
  },
);

await t.test(
  'other configured names: an open window takes them over, and keeps the names of the portal itself',
  async t => {
    const clock = fakeClock();
    const window = portal(ageClock(clock), [wireName('captive.example')]);
    const covers = (name: string): boolean => window.covers(wireName(name));
    window.start(60_000, [wireName('login.hotel.test')], { by: 'command' });
    window.configure([wireName('other.example')]);
    t.ok(covers('other.example') && covers('login.hotel.test'));
    t.notOk(covers('captive.example'));
    window.stop();
    window.start(60_000, [], { by: 'command' });
    t.ok(covers('other.example'));
    t.notOk(covers('login.hotel.test'), 'those were for one window');
    await clock.advance(60_001);
    t.notOk(covers('other.example'));
  },
);
