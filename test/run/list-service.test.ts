// Lists that are looked at while a reload is under way: real files, compiled in real threads.

import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { type StateStore, stateStore } from '../../src/os/state-store.js';
import { ListPolicy } from '../../src/policy/lists/list-policy.js';
import { ListCompiler } from '../../src/run/list-compiler.js';
import type { ListResult, ListTask } from '../../src/run/list-worker.js';
import { ListService } from '../../src/run/list-service.js';
import { nameFromText } from '../../src/wire/name.js';
import { ageClock, fakeClock, fakeRandom } from '../fixtures/clock.js';
import { planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';

/** Only built threads can be started. */
const SCRIPT = new URL('../../dist/list-worker.js', import.meta.url);

const NO_STORE: StateStore = {
  read: () => '',
  async *pieces() {},
  ...{ begin: () => undefined, remove: () => undefined, write: () => undefined, unwritten: [] },
  ...{ flush: async () => Promise.resolve(), close: async () => Promise.resolve() },
};

/** Makes tables that cannot be read, as a broken invariant would. */
class BrokenCompiler extends ListCompiler {
  isBroken = false;

  override async compile(task: ListTask): Promise<ListResult | string> {
    const made = await super.compile(task);
    if (!this.isBroken || typeof made === 'string') return made;
    return { ...made, compiled: { ...made.compiled, table: new ArrayBuffer(4) } };
  }
}

/** A service with one list of two sources, of which `gone` is not there any more after the start. */
async function serviceIn(
  t: Test,
  beside: (service: ListService) => Promise<void> = () => Promise.resolve(),
  compiler = new ListCompiler(SCRIPT),
  store = NO_STORE,
) {
  const directory = t.testdir({ ads: 'ads.example', gone: 'gone.example', extra: 'extra.example' });
  const [ads = '', gone = '', extra = ''] = ['ads', 'gone', 'extra'].map(name => join(directory, name));
  const plan = (name: string, ...sources: readonly string[]) =>
    planFor(`lists: [{ name: ${name}, sources: ${JSON.stringify([ads, gone, ...sources])} }]`);
  const clock = fakeClock();
  const ageNow = ageClock(clock);
  const nothing = (): void => undefined;
  const told: string[] = [];
  const info = (_: unknown, words: string): void => void told.push(words);
  const service = new ListService(
    {
      version: '1.0.0',
      ...{ clock, ageNow, random: fakeRandom(), store, directory, policy: new ListPolicy(clock, ageNow) },
      ...{ log: { debug: nothing, info, warn: nothing, error: nothing }, observer: { lists: nothing } },
      ...{ takeGroups: nothing, forgotten: nothing, changed: nothing, roots: () => undefined },
      download: async () => Promise.resolve({ at: 'failed', why: 'it is down' }),
      addressesOf: async () => Promise.resolve([]),
    },
    plan('ads'),
    compiler,
  );
  await Promise.all([service.start(), beside(service)]);
  t.teardown(async () => service.close());
  rmSync(gone);
  const rules = (): unknown => service.overview.lists.map(({ name, rules: count }) => `${name} ${count}`);
  return { service, plan, ads, gone, extra, rules, told };
}

await t.test('a look beside a reload waits for its end, and then reads the lists of the new plan', async t => {
  const { service, plan, gone, extra, rules } = await serviceIn(t);
  const preparing = service.prepare(plan('other', extra));
  const looking = service.refresh(undefined);
  const prepared = await preparing;
  // Other parts prepare.
  await later(20);
  prepared.commit();
  t.same(await looking, [`${gone}: there is no such file`]);
  t.same(rules(), ['other 3']);
});

await t.test('what has changed since a reload has read it comes into force after the reload', async t => {
  const { service, plan, ads, extra, rules } = await serviceIn(t);
  const prepared = await service.prepare(plan('ads', extra));
  writeFileSync(ads, 'ads.example\nmore.example');
  const looking = service.refresh(undefined);
  await later(20);
  prepared.commit();
  await looking;
  t.same(rules(), ['ads 4']);
});

await t.test('after a reload that fails, lists are read as before', async t => {
  const { service, plan, ads, extra, rules } = await serviceIn(t);
  const prepared = await service.prepare(plan('other', extra));
  writeFileSync(ads, 'ads.example\nmore.example');
  const looking = service.refresh(undefined);
  await prepared.abandon();
  await looking;
  t.same(rules(), ['ads 3']);
  await service.close();
  await t.rejects(service.prepare(plan('other', extra)), { message: /the daemon is stopping/ });
  t.same(await service.refresh('nothing'), [], 'nor has one that cannot prepare kept its turn');
  await t.rejects(service.prepare(plan('other', extra)), { message: /the daemon is stopping/ });
});

await t.test('lists that cannot be brought into force leave those of before, whole', async t => {
  const broken = new BrokenCompiler(SCRIPT);
  const { service, plan, ads, extra, rules } = await serviceIn(t, undefined, broken);
  const name = nameFromText('ads.example') ?? Buffer.alloc(0);
  const isListed = (): boolean => service.policy.lists.table.findName(name) > 0;
  t.ok(isListed());
  broken.isBroken = true;
  writeFileSync(ads, 'ads.example\nmore.example');
  await t.rejects(service.refresh(undefined), RangeError);
  t.ok(isListed(), 'after a look');
  const { commit } = await service.prepare(plan('other', extra));
  t.throws(commit, RangeError);
  t.ok(isListed(), 'after a reload');
  t.same(rules(), ['ads 2']);
  broken.isBroken = false;
  await service.refresh(undefined);
  t.same(rules(), ['ads 3'], 'the next one is brought into force');
});

await t.test('a look that is due during the start does not read again what the start has read', async t => {
  const looked = async (service: ListService): Promise<void> =>
    new Promise(done => service.job.run({ closed: false, done }));
  const { told } = await serviceIn(t, looked);
  t.same(told, ['lists with 2 rules are in force']);
});

/** Counts what it compiles. */
class CountingCompiler extends ListCompiler {
  compiled = 0;

  override async compile(task: ListTask): Promise<ListResult | string> {
    this.compiled++;
    return super.compile(task);
  }
}

await t.test('what was compiled is taken at the next start, until a source or the version changes', async t => {
  const directory = t.testdir({ ads: 'ads.example', more: '||more.example^$client=kids\nnot a name' });
  const sources = ['ads', 'more'].map(name => join(directory, name));
  const file = join(directory, 'lists.compiled');
  const name = nameFromText('ads.example') ?? Buffer.alloc(0);
  const next = { version: '1.0.0', lists: `[{ name: ads, sources: ${JSON.stringify(sources)} }]` };
  /** A process from its start to its end. */
  const run = async (during: (service: ListService) => Promise<void> = () => Promise.resolve()) => {
    const compiler = new CountingCompiler(SCRIPT);
    const log = recordedLog();
    const clock = fakeClock();
    const ageNow = ageClock(clock);
    const nothing = (): void => undefined;
    const store = stateStore(directory, { clock, log });
    const service = new ListService(
      {
        ...{ clock, ageNow, random: fakeRandom(), store, directory, policy: new ListPolicy(clock, ageNow), log },
        ...{ version: next.version, observer: { lists: nothing }, takeGroups: nothing, forgotten: nothing },
        ...{ changed: nothing, roots: () => undefined, addressesOf: async () => Promise.resolve([]) },
        download: async () => Promise.resolve({ at: 'failed', why: 'it is down' }),
      },
      planFor(`lists: ${next.lists}`),
      compiler,
    );
    await service.start();
    store.begin();
    await during(service);
    const isListed = service.policy.lists.table.findName(name) > 0;
    const rules = service.overview.lists.map(({ rules: count, sources: own }) => [
      count,
      own.map(each => each.skipped),
    ]);
    await service.close();
    await store.close();
    const notUsed = log.lines.filter(line => line.includes('is not used'));
    return { compiled: compiler.compiled, isListed, rules, notUsed };
  };
  const first = await run();
  t.match(first, { compiled: 1, isListed: true });
  t.equal(statSync(file).mode & 0o777, 0o600, 'it is private');
  t.match(await run(), { ...first, compiled: 0 }, 'the same without compiling');

  writeFileSync(join(directory, 'ads'), 'other.example');
  t.match(await run(), { compiled: 1, isListed: false, notUsed: [/have changed/] }, 'a source has changed');
  t.match(await run(), { compiled: 0, isListed: false }, 'which is kept, too');
  writeFileSync(join(directory, 'ads'), 'ads.example');
  const look = async (service: ListService): Promise<void> => void (await service.refresh(undefined));
  t.match(await run(look), { compiled: 2, isListed: true });
  t.match(await run(), { compiled: 0, isListed: true }, 'and so is what was compiled later');
  next.version = '1.0.1';
  t.match(await run(), { compiled: 1, isListed: true });
  t.match(await run(), { compiled: 0, isListed: true });

  const octets = readFileSync(file);
  octets[octets.length - 100] = (octets[octets.length - 100] ?? 0) ^ 1;
  writeFileSync(file, octets);
  t.match(await run(), { compiled: 1, isListed: true, notUsed: [/damaged/] }, 'one that is damaged is not used');
  rmSync(join(directory, 'more'));
  t.match(await run(), { compiled: 1, isListed: true });
  t.notOk(existsSync(file), 'what has not all of its sources is not kept');
  next.lists = '[]';
  t.match(await run(), { compiled: 0 });
});
