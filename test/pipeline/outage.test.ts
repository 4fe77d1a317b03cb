// An hour without servers in a replayed day of questions: popular names often, most names seldom (Zipf's law).

import t from 'tap';

import { failure } from '../../src/base/outcome.js';
import type { Outcome } from '../../src/pipeline/answer.js';
import { fakeRandom } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { takeApart } from '../fixtures/mutations.js';
import { resolving, type Resolving, type Says } from '../fixtures/resolving.js';

const HOUR_SEC = 3600;
const DAY_SEC = 24 * HOUR_SEC;
/** How often questions come, and how many at once. */
const TICK_SEC = 20;
const PER_TICK = 6;
const NAMES = 2000;
/** TTLs of the names, in turn; -1: the name does not exist, which holds for a minute. */
const TTLS = [20, 60, 300, HOUR_SEC, -1, 4 * HOUR_SEC, DAY_SEC] as const;
const DENIED_SEC = 60;
/** RFC 8767 §5: so long the servers are left alone after a failure. */
const RECHECK_SEC = 30;

const ttlOf = (i: number): number => TTLS[i % TTLS.length] ?? 0;
const secondsOf = (world: Resolving): number => world.clock.monotonicMs() / 1000;

/** What one answer has told. */
interface Seen {
  readonly isStale: boolean;
  /** When a server has said so. */
  readonly saidAt: number;
}

/** Answers that show when they were given: in the address, or in the serial number of the SOA. */
const serversOf =
  (world: () => Resolving): Says =>
  (query, name) => {
    const now = Math.floor(secondsOf(world()));
    const ttl = ttlOf(Number(/\d+/.exec(name)?.[0]));
    return ttl === -1
      ? responseTo(query, { rcode: 3, authority: `example. ${DENIED_SEC} SOA a. b. ${now} 1 1 1 ${DENIED_SEC}` })
      : responseTo(query, { answers: `${name} ${ttl} A 10.${now >> 16}.${(now >> 8) & 255}.${now & 255}` });
  };

function seenIn(outcome: Outcome): Seen | undefined {
  if (outcome.at === 'failure') return undefined;
  const { entry, origin } = outcome;
  const octets = Buffer.from(entry.octets);
  octets.writeUInt16BE(entry.answers, 6);
  octets.writeUInt16BE(entry.authority, 8);
  const { answer, authority } = takeApart(octets);
  const [address] = answer;
  const soa = authority[0]?.rdata;
  const saidAt = address?.rdata.readUInt32BE(0) ?? soa?.readUInt32BE(soa.length - 20) ?? 0;
  const codes = entry.extendedErrors.map(({ infoCode }) => infoCode);
  const expected = origin !== 'stale' ? '' : address === undefined ? '19' : '3';
  if (codes.join() !== expected) throw new Error(`${origin}: extended errors ${codes.join()}`);
  return { isStale: origin === 'stale', saidAt: saidAt & 0xffffff };
}

/** A world, the questions of its clients, and when each name was last asked for. */
class Replay {
  readonly world: Resolving = resolving(serversOf(() => this.world));
  readonly askedAt = new Map<number, number>();
  private readonly random = fakeRandom(7);

  /** A name, number n with a share of 1/n. */
  choose(): number {
    return Math.floor(NAMES ** (this.random.uint16() / 0x10000)) - 1 + (this.random.uint16() & 1);
  }

  /** Has the questions of some time asked. */
  async pass(seconds: number): Promise<void> {
    const until = secondsOf(this.world) + seconds;
    while (secondsOf(this.world) < until) {
      for (let i = 0; i < PER_TICK; i++) {
        const which = this.choose();
        this.askedAt.set(which, secondsOf(this.world));
        this.world.ask(`n${which}.example`);
      }
      await this.world.clock.advance(TICK_SEC * 1000);
    }
  }

  /** Asks for names now, and waits for two seconds. */
  async ask(which: readonly number[]): Promise<(Seen | undefined)[]> {
    const asked = which.map(each => this.world.ask(`n${each}.example`));
    await this.world.clock.advance(2000);
    return asked.map(([outcome]) => outcome && seenIn(outcome));
  }

  /** The names that were asked for in the day before now. */
  get known(): number[] {
    const since = secondsOf(this.world) - DAY_SEC;
    return [...this.askedAt].flatMap(([which, at]) => (at > since ? [which] : []));
  }
}

/** How servers are gone: refusing at once, or silent for as long as a question has (4.5 s). */
const WAYS = { 'no connection': failure('connect'), silence: 'waits' } as const;

for (const [way, says] of Object.entries(WAYS)) {
  await t.test(
    `${way} for an hour: every name of the last day is answered within 2 s, and none is too old`,
    async t => {
      const replay = new Replay();
      const { world } = replay;
      await replay.pass(DAY_SEC);
      t.ok(replay.known.length > NAMES / 2, `${replay.known.length} names`);
      world.upstream.says = () => says;
      const [startedAt, stale] = [secondsOf(world), new Set<number>()];
      while (secondsOf(world) < startedAt + HOUR_SEC) {
        const names = [
          ...new Set([...Array.from({ length: 20 }, () => replay.choose()), ...replay.known.slice(0, 40)]),
        ];
        const known = new Set(replay.known);
        const seen = await replay.ask(names);
        names.forEach((each, i) => {
          const found = seen[i];
          if (found === undefined) {
            if (known.has(each)) t.fail(`n${each} is not answered`);
            return;
          }
          if (found.isStale) stale.add(each);
          const ttl = ttlOf(each) === -1 ? DENIED_SEC : ttlOf(each);
          if (secondsOf(world) - found.saidAt > ttl + DAY_SEC + 2) t.fail(`n${each} is too old`);
        });
        // Names that come first in the list were asked for the longest time ago.
        for (const each of names) if (known.has(each)) replay.askedAt.set(each, replay.askedAt.get(each) ?? 0);
        await world.clock.advance(2500);
        world.upstream.settle(failure('timeout'));
        await world.clock.advance(25_500);
      }
      t.ok(stale.size > 20, `${stale.size} names were stale`);
      const all = await replay.ask(replay.known);
      t.notOk(all.includes(undefined), 'all of them, at the end of the hour');
      t.ok(all.filter(each => each?.isStale).length > all.length / 3);

      world.upstream.settle(failure('timeout'));
      world.upstream.says = serversOf(() => world);
      await world.clock.advance(RECHECK_SEC * 1000);
      const after = await replay.ask(replay.known);
      t.notOk(
        after.some(each => each === undefined || each.isStale),
        'and within 30 s of their return, the servers are asked',
      );
    },
  );
}

await t.test('a shorter maximum is kept, to the second', async t => {
  const replay = new Replay();
  const { world } = replay;
  world.settings.stale = { ...world.settings.stale, mostSec: HOUR_SEC };
  await replay.ask([1]);
  world.upstream.says = () => failure('connect');
  await world.clock.advance((ttlOf(1) + HOUR_SEC - 5) * 1000);
  t.match(await replay.ask([1]), [{ isStale: true }]);
  await world.clock.advance(4000);
  t.same(await replay.ask([1]), [undefined]);
});
