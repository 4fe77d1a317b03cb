// Who gets a place for an HTTP connection, and who loses it.

import t from 'tap';

import { HttpPlaces, type Occupant, PACE_MS } from '../../src/observe/http-places.js';
import { fakeClock } from '../fixtures/clock.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function setUp(most: number) {
  const clock = fakeClock();
  const counts = { dropped: 0 };
  const places = new HttpPlaces(clock, most, () => void counts.dropped++);
  /** A new connection; undefined: it got no place. */
  const open = (address: string, isAnswering = false, hasAsked = true) => {
    const occupant: Writable<Occupant> = {
      isClosed: false,
      isAnswering,
      hasAsked,
      since: clock.monotonicMs(),
      destroy: () => void (occupant.isClosed = true),
    };
    return places.take(address, () => occupant) ? occupant : undefined;
  };
  return { clock, counts, open, pass: async () => clock.advance(PACE_MS) };
}

await t.test('one client has sixteen places: its next connection takes that of its idlest one', async t => {
  const { counts, open, pass } = setUp(64);
  const first = open('192.0.2.1');
  await pass();
  const others = Array.from({ length: 15 }, () => open('192.0.2.1'));
  await pass();
  const stranger = open('192.0.2.2');
  t.ok(open('192.0.2.1'));
  t.equal(counts.dropped, 1);
  t.match(first, { isClosed: true });
  t.ok([...others, stranger].every(each => each?.isClosed === false));
});

await t.test('one that is answered goes last', async t => {
  const { open, pass } = setUp(2);
  const busy = open('192.0.2.1', true);
  await pass();
  const idle = open('192.0.2.2');
  await pass();
  t.ok(open('192.0.2.3'));
  t.match([busy, idle], [{ isClosed: false }, { isClosed: true }]);
});

await t.test('where all places are taken, the client that has the most loses one', async t => {
  const { open, pass } = setUp(8);
  const modest = open('192.0.2.1');
  await pass();
  const greedy = Array.from({ length: 4 }, () => open('192.0.2.2'));
  for (let i = 3; i < 6; i++) open(`192.0.2.${i}`);
  await pass();
  t.ok(open('192.0.2.9'));
  t.match(modest, { isClosed: false });
  t.equal(greedy.filter(each => each?.isClosed === true).length, 1);
});

await t.test(
  'one that has asked keeps its place for a moment, even if it closes at once: asking has a pace',
  async t => {
    const { counts, open, pass } = setUp(64);
    for (let i = 0; i < 16; i++) open('192.0.2.1')?.destroy();
    t.equal(open('192.0.2.1'), undefined);
    t.ok(open('192.0.2.2'), 'for others there is room');
    t.equal(counts.dropped, 1);
    await pass();
    t.ok(open('192.0.2.1'));
  },
);

await t.test('one that has asked nothing is closed for a newcomer at any time', async t => {
  const { open } = setUp(64);
  const silent = Array.from({ length: 64 }, (_, i) => open(`192.0.2.${i}`, false, false));
  t.ok(open('192.0.2.100'));
  t.equal(silent.filter(each => each?.isClosed === true).length, 1);
  for (let i = 0; i < 100; i++) t.ok(open('192.0.2.101', false, false));
});

await t.test('a host has all addresses of its /64, and an IPv4 client over an IPv6 socket is the same', async t => {
  const { open } = setUp(4);
  t.ok(open('2001:db8:1::1'));
  t.ok(open('2001:db8:1::ffff'));
  t.equal(open('2001:db8:1:0:5::'), undefined);
  t.ok(open('::ffff:192.0.2.1'));
  t.ok(open('192.0.2.1'));
  t.equal(open('192.0.2.1'), undefined);
});

await t.test('with room for one connection, a newcomer takes the place of one that says nothing', async t => {
  const { open, pass } = setUp(1);
  const silent = open('192.0.2.1');
  await pass();
  t.ok(open('192.0.2.2'));
  t.match(silent, { isClosed: true });
});
