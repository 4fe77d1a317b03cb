// Lists that are looked at while a reload is under way: real files, compiled in real threads.

import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import t, { type Test } from 'tap';

import type { Downloaded } from '../../src/os/download.js';
import { type StateStore, stateStore } from '../../src/os/state-store.js';
import { ListPolicy } from '../../src/policy/lists/list-policy.js';
import { ListCompiler } from '../../src/run/list-compiler.js';
import type { ListResult, ListTask } from '../../src/run/list-worker.js';
import { ListService } from '../../src/run/list-service.js';
import { nameFromText } from '../../src/wire/name.js';
import { ageClock, fakeClock, fakeRandom } from '../fixtures/clock.js';
import { planFor } from '../fixtures/plans.js';
import { eventually } from '../fixtures/rig.js';
import { recordedLog } from '../fixtures/recorder.js';

/** Only built threads can be started. */
const SCRIPT = new URL('../../dist/list-worker.js', import.meta.url);

const NO_STORE: StateStore = {
  read: () => '',
  async *pieces() {},
  ...{ begin: () => undefined, remove: () => undefined, leave: () => undefined, write: () => undefined, unwritten: [] },
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

/** Parts of a service, without those that download. */
function partsIn(directory: string) {
  // Files have not changed just now.
  const clock = fakeClock(Date.now() + 10_000);
  const ageNow = ageClock(clock);
  const nothing = (): void => undefined;
  const told: string[] = [];
  const info = (_: unknown, words: string): void => void told.push(words);
  const warned: string[] = [];
  const warn = (_: unknown, words: string): void => void warned.push(words);
  const parts = {
    ...{ clock, ageNow, random: fakeRandom(), store: NO_STORE, directory, policy: new ListPolicy(clock, ageNow) },
    ...{ log: { debug: nothing, info, warn, error: nothing }, observer: { lists: nothing } },
    ...{ takeGroups: nothing, forgotten: nothing, changed: nothing, roots: () => undefined },
  };
  return { parts, clock, told, warned };
}

/** What a service with one list of two sources is made of. */
function parted(t: Test, compiler = new ListCompiler(SCRIPT)) {
  const directory = t.testdir({ ads: 'ads.example', gone: 'gone.example', extra: 'extra.example' });
  const [ads = '', gone = '', extra = ''] = ['ads', 'gone', 'extra'].map(name => join(directory, name));
  const plan = (name: string, ...sources: readonly string[]) =>
    planFor(`lists: [{ name: ${name}, sources: ${JSON.stringify([ads, gone, ...sources])} }]`);
  const { parts, told } = partsIn(directory);
  const make = (other = parts): ListService => {
    const service = new ListService(
      {
        ...other,
        download: async () => Promise.resolve({ at: 'failed', why: 'it is down' }),
        addressesOf: async () => Promise.resolve([]),
      },
      plan('ads'),
      compiler,
    );
    t.teardown(async () => service.close());
    return service;
  };
  return { plan, ads, gone, extra, parts, told, make };
}

/** The same, begun. `gone` is not there any more after the start. */
async function serviceIn(
  t: Test,
  beside: (service: ListService) => Promise<void> = () => Promise.resolve(),
  compiler = new ListCompiler(SCRIPT),
) {
  const { make, gone, ...rest } = parted(t, compiler);
  const service = make();
  await Promise.all([service.start(), beside(service)]);
  rmSync(gone);
  const rules = (): unknown => service.overview.lists.map(({ name, rules: count }) => `${name} ${count}`);
  return { ...rest, service, gone, rules };
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

await t.test('what clients get does not depend on the disk: the compiled lists come last', async t => {
  const { plan, gone, extra, parts, make } = parted(t);
  let forgotten = 0;
  const store = {
    ...NO_STORE,
    remove: () => {
      throw new Error('a broken store');
    },
  };
  const service = make({ ...parts, store, forgotten: () => void forgotten++ });
  await service.start();
  const before = forgotten;
  rmSync(gone);
  await t.rejects(service.refresh(undefined), { message: 'a broken store' });
  t.equal(forgotten, before + 1, 'ready replies of before are looked at');
  t.throws((await service.prepare(plan('other', extra))).commit, { message: 'a broken store' });
  t.equal(forgotten, before + 2);
  t.same(
    service.overview.lists.map(({ name }) => name),
    ['other'],
  );
});

/** Counts what it compiles. */
class CountingCompiler extends ListCompiler {
  compiled = 0;

  override async compile(task: ListTask): Promise<ListResult | string> {
    this.compiled++;
    return super.compile(task);
  }
}

/** A service with a list of each URL, and one of a file. What is downloaded is what `texts` has; undefined: the server hangs. */
async function downloading(
  t: Test,
  texts: Record<string, string | undefined>,
  results: Downloaded[] = [],
  directory = t.testdir({ own: 'own.example' }),
) {
  const own = join(directory, 'own');
  const lists = Object.keys(texts).map((url, i) => ({ name: `list${i}`, sources: [url] }));
  const { parts, clock, warned } = partsIn(directory);
  const store = stateStore(directory, { clock, log: parts.log });
  store.begin();
  const counts = new Map<string, number>();
  const compiler = new CountingCompiler(SCRIPT);
  const service = new ListService(
    {
      ...parts,
      store,
      addressesOf: async () => Promise.resolve(['192.0.2.1']),
      download: async ({ url: { href }, path }) => {
        counts.set(href, (counts.get(href) ?? 0) + 1);
        const text = texts[href];
        if (text === undefined) return new Promise<never>(() => undefined);
        const result = results.shift() ?? { at: 'new', etag: undefined, lastModified: undefined };
        if (result.at === 'new') writeFileSync(path, text);
        return Promise.resolve(result);
      },
    },
    planFor(`lists: ${JSON.stringify([...lists, { name: 'own', sources: [own] }])}`),
    compiler,
  );
  const end = async (): Promise<void> => {
    await service.close();
    await store.close();
  };
  t.teardown(end);
  await service.start();
  const startedWith = compiler.compiled;
  const look = async (): Promise<void> => new Promise(done => service.job.run({ closed: false, done }));
  const rules = (): unknown => service.overview.lists.map(({ rules: count }) => count);
  return { service, clock, own, look, rules, counts, warned, startedWith, end };
}

await t.test('a server that hangs keeps neither a file nor the list of another server waiting', async t => {
  const [hangs, other] = ['https://hangs.example/', 'https://other.example/'];
  const { service, clock, own, look, rules, counts } = await downloading(t, {
    [hangs]: undefined,
    [other]: 'ads.example',
  });
  await look();
  t.same(await eventually(rules, [0, 1, 1]), [0, 1, 1]);
  writeFileSync(own, 'own.example\nmore.example');
  await look();
  t.same(rules(), [0, 1, 2]);
  t.same([counts.get(hangs), counts.get(other)], [1, 1], 'and it is not asked again meanwhile');
  t.ok(service.job.dueInMs() > 1000, 'nor is it due');
  await clock.advance(1000);
  const refreshing = service.refresh(undefined);
  await eventually(() => service.overview.lists[1]?.sources[0]?.ageMs, 0);
  await clock.advance(12_000);
  t.same(await refreshing, [`${hangs}: it is still being fetched`], 'a command does not wait for it for ever');
});

await t.test('the log says once that a URL cannot be fetched, and whether there is a copy of before', async t => {
  const url = 'https://lists.example/';
  const results: Downloaded[] = [
    { at: 'failed', why: 'it is down' },
    { at: 'new', etag: undefined, lastModified: undefined },
    { at: 'failed', why: 'it is down' },
  ];
  const { service, warned } = await downloading(t, { [url]: 'ads.example' }, results);
  for (let i = 0; i < 3; i++) await Promise.all([service.refresh(undefined), service.refresh(undefined)]);
  t.same(warned, [
    `${url} cannot be fetched (lists.example: it is down): there is no copy of before`,
    `${url} cannot be fetched (lists.example: it is down): the copy of before stays in force`,
  ]);
});

await t.test('what is no list does not take the rules of before away, also after a restart, and is told', async t => {
  const url = 'https://lists.example/';
  const texts: Record<string, string> = { [url]: 'ads.example\nmore.example' };
  const directory = t.testdir({ own: 'own.example' });
  const { service, look, rules, counts, end } = await downloading(t, texts, [], directory);
  await look();
  t.same(await eventually(rules, [2, 1]), [2, 1]);
  const NO_LISTS = ['', '{ "error": "not found" }', '[]', '[{ "id": 1 }]', '\x1f\x8b\x08\x00\x00\x00\x00\x00'];
  for (const text of NO_LISTS) {
    texts[url] = text;
    t.same(await service.refresh('list0'), [`${url}: the server has sent no line that is a rule`]);
    t.same(rules(), [2, 1]);
  }
  t.equal(counts.get(url), 1 + NO_LISTS.length);
  t.ok(service.job.dueInMs() > 1000, 'it is not fetched over and over');
  await end();
  const next = await downloading(t, texts, [], directory);
  t.same([next.rules(), next.startedWith], [[2, 1], 0], 'what was compiled is kept');
  texts[url] = 'ads.example';
  t.same(await next.service.refresh('list0'), []);
  t.same(next.rules(), [1, 1]);
});

await t.test(
  'a list may have no rule any more: comments, blank lines, or a zone with nothing but its start',
  async t => {
    const url = 'https://lists.example/';
    const texts: Record<string, string> = { [url]: '' };
    const directory = t.testdir({ own: 'own.example' });
    const { service, rules, end } = await downloading(t, texts, [], directory);
    const ZONE = '$TTL 60\n@ SOA a.example. b.example. 1 2 3 4 5\n@ NS a.example.\n';
    for (const text of [
      '# nothing yet\n\n',
      '[Adblock Plus 2.0]\n! nothing\n',
      ZONE,
      `${ZONE}32.1.2.0.192.rpz-nsip CNAME .`,
    ]) {
      texts[url] = 'ads.example';
      t.same(await service.refresh('list0'), []);
      t.same(rules(), [1, 1]);
      texts[url] = text;
      t.same(await service.refresh('list0'), [], text);
      t.same(rules(), [0, 1]);
    }
    await end();
    const next = await downloading(t, texts, [], directory);
    t.same([next.rules(), next.startedWith], [[0, 1], 0], 'what was compiled is kept');
    t.notMatch(next.warned.join(' '), 'cannot be');
  },
);

await t.test('a list that was never fetched does not keep others from being kept', async t => {
  const [down, other] = ['https://down.example/', 'https://other.example/'];
  const directory = t.testdir({ own: 'own.example' });
  const texts = { [down]: '{}', [other]: 'ads.example' };
  const { service, rules, end } = await downloading(t, texts, [], directory);
  t.same(await service.refresh(undefined), [`${down}: the server has sent no line that is a rule`]);
  t.same(rules(), [0, 1, 1]);
  await end();
  const next = await downloading(t, { ...texts, [down]: 'more.example' }, [], directory);
  t.same([next.rules(), next.startedWith], [[0, 1, 1], 0]);
  t.same(next.warned, []);
  t.same(await next.service.refresh(undefined), []);
  t.same(next.rules(), [1, 1, 1]);
});

await t.test('what was compiled is taken at the next start, until a source or the program changes', async t => {
  const directory = t.testdir({ ads: 'ads.example', more: '||more.example^$client=kids\nnot a name' });
  const sources = ['ads', 'more'].map(name => join(directory, name));
  const file = join(directory, 'lists.compiled');
  const name = nameFromText('ads.example') ?? Buffer.alloc(0);
  const next = { aheadMs: 10_000, script: SCRIPT, lists: `[{ name: ads, sources: ${JSON.stringify(sources)} }]` };
  /** A process from its start to its end. */
  const run = async (during: (service: ListService) => Promise<void> = () => Promise.resolve()) => {
    const compiler = new CountingCompiler(next.script);
    const log = recordedLog();
    const clock = fakeClock(Date.now() + next.aheadMs);
    const ageNow = ageClock(clock);
    const nothing = (): void => undefined;
    const store = stateStore(directory, { clock, log });
    const service = new ListService(
      {
        ...{ clock, ageNow, random: fakeRandom(), store, directory, policy: new ListPolicy(clock, ageNow), log },
        ...{ observer: { lists: nothing }, takeGroups: nothing, forgotten: nothing },
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
  next.script = pathToFileURL(join(directory, 'other.cjs'));
  writeFileSync(next.script, `${readFileSync(SCRIPT, 'utf8')}\n// Another one of the same version.`);
  t.match(await run(), { compiled: 1, isListed: true });
  t.match(await run(), { compiled: 0, isListed: true });

  const octets = readFileSync(file);
  octets[octets.length - 100] = (octets[octets.length - 100] ?? 0) ^ 1;
  writeFileSync(file, octets);
  t.match(await run(), { compiled: 1, isListed: true, notUsed: [/damaged/] }, 'one that is damaged is not used');
  rmSync(join(directory, 'more'));
  t.match(await run(), { compiled: 1, isListed: true });
  t.notOk(existsSync(file), 'what has not all of its sources is not kept');
  writeFileSync(join(directory, 'more'), '');
  // However long this takes, it has changed a moment ago.
  next.aheadMs = -60_000;
  for (let i = 0; i < 2; i++) t.match(await run(), { compiled: 1 }, 'a file may change again within the same time');
  t.notOk(existsSync(file));
  next.lists = '[]';
  t.match(await run(), { compiled: 0 });
});
