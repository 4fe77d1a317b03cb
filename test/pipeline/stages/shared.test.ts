// What is shared with other replicas, and what is not: two pipelines with one store, under a fake clock.

import t from 'tap';

import { failure } from '../../../src/base/outcome.js';
import type { OpenStore, StoreEvents } from '../../../src/base/ports.js';
import { ageSec } from '../../../src/base/time.js';
import { SharedAnswers } from '../../../src/cache/shared-answers.js';
import { SharedEntries } from '../../../src/cache/shared-entry.js';
import { READS_WHILE_LATE, SharedLevel } from '../../../src/cache/shared-level.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { questionOf } from '../../../src/wire/compose.js';
import { FLAG } from '../../../src/wire/header.js';
import { cacheKey } from '../../../src/wire/query.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { type FakeClock, fakeClock, fakeRandom } from '../../fixtures/clock.js';
import { responseTo } from '../../fixtures/messages.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, type Resolving, resolving, type Says } from '../../fixtures/resolving.js';

/** A store in memory, and what a test does with it. */
class FakeStore {
  readonly kept = new Map<string, Buffer>();
  readonly asked: string[] = [];
  /** Whether it answers. */
  isFrozen = false;
  /** Answers that wait. */
  private readonly late: (() => void)[] = [];

  readonly open: OpenStore = (events: StoreEvents) => {
    queueMicrotask(() => events.opened());
    const say = (reply: () => void): void => {
      if (this.isFrozen) this.late.push(reply);
      else reply();
    };
    return {
      read: (key, mostBytes, take) => {
        this.asked.push(key.toString('hex'));
        say(() => {
          const octets = this.kept.get(key.toString('hex')) ?? Buffer.alloc(0);
          take({ at: 'octets', octets: octets.subarray(0, mostBytes) });
        });
      },
      write: (key, octets, _seconds, take) => {
        say(() => {
          this.kept.set(key.toString('hex'), Buffer.from(octets));
          take({ at: 'octets', octets: Buffer.alloc(0) });
        });
      },
      close: () => undefined,
    };
  };

  thaw(): void {
    this.isFrozen = false;
    for (const each of this.late.splice(0)) each();
  }
}

const ROOT_ANCHOR = '. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D';

interface Replica extends Resolving {
  /** Answers that were stored up to then are not used. */
  forgotSec: number;
}

/** A pipeline that shares. */
async function replica(
  store: FakeStore,
  clock: FakeClock,
  says: Says,
  { settings = 'same', seed = 1, anchors = [] as readonly string[] } = {},
): Promise<Replica> {
  const made: Replica = Object.assign(resolving(says, { clock, anchors }), { forgotSec: -Infinity });
  const { recorder } = made;
  made.settings.shared = new SharedAnswers({
    level: new SharedLevel({ clock, open: store.open, timeoutMs: 20, changed: () => undefined }),
    entries: new SharedEntries(Buffer.alloc(32, 3), fakeRandom(seed)),
    ...{ clock, observer: recorder.observer, settings: () => settings, since: () => made.forgotSec },
    ageNow: () => ageSec(clock.monotonicMs() / 1000),
  });
  await clock.advance(0);
  return made;
}

const says: Says = (query, name) => responseTo(query, { answers: `${name} 300 A 192.0.2.1` });

async function pair(settings: readonly [string, string] = ['same', 'same'], says2: Says = says) {
  const store = new FakeStore();
  const clock = fakeClock();
  const one = await replica(store, clock, says2, { settings: settings[0] });
  const other = await replica(store, clock, says2, { settings: settings[1], seed: 2 });
  return { store, clock, one, other };
}

const verdict = ([outcome]: readonly Outcome[]): string =>
  outcome === undefined
    ? 'waits'
    : outcome.at === 'failure'
      ? outcome.code
      : `${outcome.origin} ${outcome.entry.verdict}`;

await t.test('what one replica has asked for, another need not ask, and it ends at the same time', async t => {
  const { clock, one, other } = await pair();
  t.equal(verdict(one.ask('www.example')), 'upstream unchecked');
  await clock.advance(100_000);
  const [outcome] = other.ask('www.example');
  t.match(outcome, { at: 'answer', origin: 'cache', entry: { upstream: 'server 1', protocol: 'dot', ttlSec: 300 } });
  t.equal(other.upstream.asked.length, 0);
  t.equal(other.recorder.count('cache', 'hit_shared'), 1);
  t.equal(other.recorder.count('sharedRead', 'hit'), 1);
  other.ask('www.example');
  t.equal(other.recorder.count('cache', 'hit_positive'), 1, 'it is in its own cache now');
  await clock.advance(200_000);
  other.settings.stale = { ...other.settings.stale, mostSec: 0 };
  other.ask('www.example');
  t.equal(other.upstream.asked.length, 1);
});

await t.test('what is said of a question: the store may have the answer, and was not looked at', async t => {
  const { store, clock, one, other } = await pair();
  one.ask('www.example');
  await clock.advance(1);
  const asked = store.asked.length;
  t.match(other.look('www.example'), { at: 'servers', isShared: true });
  const local = fakeUpstream(says);
  other.settings.routes = [{ zones: [Buffer.from('\x07example\0')], kubernetes: false, upstream: () => local }];
  t.match(other.look('www.example'), { at: 'servers', isShared: false }, 'what routes answer is not shared');
  t.equal(store.asked.length, asked);
});

await t.test('a replayed answer is asked for anew', async t => {
  const { store, clock, one, other } = await pair();
  one.ask('www.example');
  const kept = new Map(store.kept);
  await clock.advance(301_000);
  for (const [key, octets] of kept) store.kept.set(key, octets);
  other.ask('www.example');
  t.equal(other.upstream.asked.length, 1);
  t.equal(other.recorder.count('sharedRead', 'unusable'), 1);
});

await t.test('garbage in the store, and answers to other questions, change nothing', async t => {
  const { store, one, other } = await pair();
  one.ask('a.example');
  one.ask('b.example');
  const [[a, ofA], [b, ofB]] = [...store.kept] as [[string, Buffer], [string, Buffer]];
  store.kept.set(a, ofB);
  store.kept.set(b, Buffer.concat([ofA, Buffer.of(0)]));
  t.equal(verdict(other.ask('a.example')), 'upstream unchecked');
  t.equal(verdict(other.ask('b.example')), 'upstream unchecked');
  t.equal(other.recorder.count('sharedRead', 'unusable'), 2);
});

await t.test('replicas with other settings share nothing', async t => {
  const { store, one, other } = await pair(['require', 'off']);
  one.ask('www.example');
  other.ask('www.example');
  t.equal(other.upstream.asked.length, 1);
  t.equal(store.kept.size, 2);
});

await t.test('answers with and without CD are not mistaken for each other', async t => {
  const { one, other } = await pair();
  one.ask('www.example', { flags: FLAG.RD | FLAG.CD });
  other.ask('www.example');
  t.equal(other.upstream.asked.length, 1);
});

await t.test('failures are never shared', async t => {
  const fails: Says = (query, name) =>
    name.startsWith('refused') ? responseTo(query, { rcode: 5 }) : failure('timeout', 'server 1');
  const { store, one } = await pair(['same', 'same'], fails);
  t.equal(verdict(one.ask('gone.example')), 'timeout');
  one.ask('refused.example');
  t.equal(store.kept.size, 0);
});

await t.test('what nobody has validated is not shared where answers are validated', async t => {
  // A server that strips signatures, which mode prefer accepts.
  const strips: Says = (query, name) =>
    name.startsWith('www') ? responseTo(query, { answers: `${name} 300 A 192.0.2.1` }) : responseTo(query, {});
  const store = new FakeStore();
  const one = await replica(store, fakeClock(), strips, { anchors: [ROOT_ANCHOR] });
  one.settings.mode = 'prefer';
  t.equal(verdict(one.ask('www.example')), 'upstream unchecked');
  t.equal(store.kept.size, 0);
  // The client validates.
  t.equal(verdict(one.ask('www.example', { flags: FLAG.RD | FLAG.CD })), 'upstream unchecked');
  t.equal(store.kept.size, 1);
});

await t.test('names of routes are neither asked of the store nor given to it', async t => {
  const { store, one } = await pair();
  const local = fakeUpstream(says, 7);
  one.settings.routes = [{ zones: [Buffer.from('\x04corp\0')], kubernetes: false, upstream: () => local }];
  one.ask('wiki.corp');
  t.equal(local.asked.length, 1);
  t.same([store.asked.length, store.kept.size], [0, 0]);
  one.ask('www.example');
  t.same([store.asked.length, store.kept.size], [1, 1]);
});

await t.test('a refresh asks the servers, and gives the store what they say', async t => {
  const { store, clock, one, other } = await pair();
  one.ask('www.example');
  const [before] = [...store.kept.values()];
  await clock.advance(1000);
  other.ask('www.example', { refresh: true });
  t.equal(other.upstream.asked.length, 1);
  t.equal(store.asked.length, 1, 'only the first question has looked');
  t.notSame([...store.kept.values()], [before]);
});

await t.test(
  'a frozen store: clients wait for the deadline, at most a few of them, and get the answer of the servers',
  async t => {
    const { store, clock, one } = await pair();
    store.isFrozen = true;
    const first = one.ask('first.example');
    t.same(first, []);
    await clock.advance(20);
    t.equal(verdict(first), 'upstream unchecked');
    const more = Array.from({ length: 30 }, (_, i) => one.ask(`n${i}.example`));
    t.ok(more.filter(each => each.length === 0).length <= READS_WHILE_LATE, 'few wait for a store that is late');
    await clock.advance(20);
    t.ok(more.every(each => verdict(each) === 'upstream unchecked'));
    await clock.advance(100);
    for (let i = 0; i < READS_WHILE_LATE; i++) one.ask(`once-more-${i}.example`);
    await clock.advance(20);
    const none = one.ask('later.example');
    t.equal(verdict(none), 'upstream unchecked', 'at once');
    store.thaw();
    await clock.advance(0);
    t.equal(first.length, 1, 'what it says later is not given');
  },
);

await t.test('many clients with one question are one question to the store', async t => {
  const { store, clock, one } = await pair();
  store.isFrozen = true;
  const all = Array.from({ length: 10 }, () => one.ask('www.example'));
  t.equal(store.asked.length, 1);
  await clock.advance(20);
  t.ok(all.every(each => verdict(each) === 'upstream unchecked'));
  t.equal(one.upstream.asked.length, 1);
});

await t.test('what was forgotten here does not come back from there', async t => {
  const { store, clock, one, other } = await pair();
  one.ask('www.example');
  other.forgotSec = clock.wallMs() / 1000;
  await clock.advance(1000);
  other.ask('www.example');
  t.equal(other.upstream.asked.length, 1);
  // While it was read.
  other.ask('more.example');
  const asked = one.upstream.asked.length;
  store.isFrozen = true;
  const waiting = one.ask('more.example');
  one.answers.clear();
  store.thaw();
  await clock.advance(0);
  t.equal(waiting.length, 1);
  t.equal(one.upstream.asked.length, asked + 1);
});

await t.test('a verdict of another replica counts only as it was sealed', async t => {
  const { store, clock, one, other } = await pair();
  const [outcome] = one.ask('signed.example');
  const shares = one.settings.shared;
  const place = shares?.place(cacheKey(questionOf(wireName('signed.example'), TYPE.A), false), 0);
  if (outcome?.at !== 'answer' || place === undefined) throw new Error('it is not shared');
  shares?.write(place, { ...outcome.entry, verdict: 'secure' });
  await clock.advance(1000);
  const at = place.storeKey.toString('hex');
  const sealed = store.kept.get(at) ?? Buffer.alloc(0);
  for (let bit = 0; bit < 8 * sealed.length; bit += 101) {
    const altered = Buffer.from(sealed);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    store.kept.set(at, altered);
    other.answers.clear();
    if (verdict(other.ask('signed.example')) !== 'upstream unchecked') t.fail(`bit ${bit}`);
  }
  store.kept.set(at, sealed);
  other.answers.clear();
  t.equal(verdict(other.ask('signed.example')), 'cache secure');
  t.end();
});
