// The one way in which a running daemon changes: all parts prepare, then all commit, or nothing happens.

import t from 'tap';

import { OPTIONS } from '../../src/config/options.js';
import { Clients } from '../../src/run/clients.js';
import { LocalNames } from '../../src/run/local-names.js';
import { Firewall } from '../../src/run/firewall.js';
import { FileReload } from '../../src/run/file-reload.js';
import { ListService } from '../../src/run/list-service.js';
import { Listeners } from '../../src/run/listeners.js';
import { Logging } from '../../src/run/logging.js';
import { type Live, type Prepared, Reload } from '../../src/run/reload.js';
import { CacheSnapshot } from '../../src/run/cache-snapshot.js';
import { Resolution } from '../../src/run/resolution.js';
import { StartError } from '../../src/run/start-error.js';
import { SharedCache } from '../../src/run/shared-cache.js';
import { Upstreams } from '../../src/run/upstreams.js';
import { Web } from '../../src/run/web.js';
import { planFor } from '../fixtures/plans.js';

const LIVE = [
  ...[Clients, ListService, LocalNames, Firewall, Upstreams, Resolution, Logging, Listeners],
  ...[CacheSnapshot, SharedCache, Web, FileReload],
];

await t.test('each option is brought into force by exactly one part, or is marked', async t => {
  for (const { path, change } of OPTIONS) {
    const claims = LIVE.filter(({ options }) => options.includes(path)).map(({ name }) => name);
    const wanted = change === 'reload' ? 1 : 0;
    t.equal(claims.length, wanted, `${path}: ${change}, claimed by ${claims.join(', ')}`);
  }
  const known = new Set(OPTIONS.map(({ path }) => path));
  t.same(
    LIVE.flatMap(({ options }) => options).filter(path => !known.has(path)),
    [],
    'and no part claims what is no option',
  );
});

const PLAN = planFor('');
const OTHER = planFor('access: { allow: [192.0.2.0/24] }\ncache: { min_ttl: 5s }\nlog: { level: error }');

/** A part that writes down what happens to it. */
class Part implements Live {
  /** Called when it prepares. */
  preparing: () => void | Promise<void> = () => undefined;

  constructor(
    private readonly name: string,
    readonly options: readonly string[],
    private readonly events: string[],
  ) {}

  async prepare(): Promise<Prepared> {
    this.events.push(`${this.name} prepares`);
    await this.preparing();
    return {
      commit: () => void this.events.push(`${this.name} commits`),
      abandon: () => void this.events.push(`${this.name} abandons`),
    };
  }
}

function setUp() {
  const events: string[] = [];
  const one = new Part('one', ['access.allow'], events);
  const two = new Part('two', ['cache.min_ttl'], events);
  const three = new Part('three', ['log.level', 'log.format'], events);
  return { events, one, two, three, reload: new Reload(PLAN, [one, two, three]) };
}

await t.test('all that are concerned prepare before the first one commits, in their order', async t => {
  const { events, reload } = setUp();
  const { now, later } = await reload.take(OTHER);
  t.same(now.toSorted(), ['access.allow', 'cache.min_ttl', 'log.level']);
  t.same(later, []);
  t.same(events, [
    ...['one', 'two', 'three'].map(name => `${name} prepares`),
    ...['one', 'two', 'three'].map(name => `${name} commits`),
  ]);
  t.equal(reload.plan, OTHER);
  events.length = 0;
  t.same(await reload.take(planFor('access: { allow: [192.0.2.0/24] }\ncache: { min_ttl: 5s }')), {
    now: ['log.level'],
    later: [],
  });
  t.same(events, ['three prepares', 'three commits'], 'the others are left alone');
});

await t.test('a part that cannot prepare leaves all as it was, and what others have prepared is given up', async t => {
  const { events, three, reload } = setUp();
  const problem = new StartError('there is no room', 1);
  three.preparing = () => {
    throw problem;
  };
  await t.rejects(reload.take(OTHER), problem);
  t.same(events.slice(3), ['two abandons', 'one abandons'], 'the last one first, and nobody commits');
  t.equal(reload.plan, PLAN);
  t.same(reload.waiting, []);
  three.preparing = () => undefined;
  events.length = 0;
  const { now } = await reload.take(OTHER);
  t.equal(now.length, 3, 'nothing of it had come into force');
  t.match(events.slice(3), ['one commits', 'two commits', 'three commits']);
});

await t.test('reloads come one after the other, also after one that has failed', async t => {
  const { events, one, reload } = setUp();
  let open = (): void => undefined;
  one.preparing = async () => new Promise<void>(resolve => (open = resolve));
  const first = reload.take(OTHER);
  const second = reload.take(PLAN);
  await new Promise(resolve => setImmediate(resolve));
  t.same(events, ['one prepares'], 'the second one waits');
  one.preparing = () => {
    throw new StartError('not now', 1);
  };
  const failed = t.rejects(second, { message: 'not now' });
  open();
  t.equal((await first).now.length, 3);
  await failed;
  t.equal(reload.plan, OTHER, 'what the second one has not changed');
  one.preparing = () => undefined;
  t.same((await reload.take(PLAN)).now.toSorted(), ['access.allow', 'cache.min_ttl', 'log.level']);
});

await t.test('what waits for a restart is measured against the start', async t => {
  const { events, reload } = setUp();
  t.same(await reload.take(planFor('cache: { size: 1MiB }')), { now: [], later: ['cache.size'] });
  t.same(reload.waiting, ['cache.size']);
  t.same(events, [], 'no part hears of it');
  t.same(await reload.take(planFor('cache: { size: 2MiB }')), { now: [], later: ['cache.size'] });
  t.same(await reload.take(planFor('')), { now: [], later: [] });
  t.same(reload.waiting, []);
});

await t.test('what has no effect by itself is never reported', async t => {
  const { reload } = setUp();
  const { now, later } = await reload.take(planFor('preset: laptop'));
  t.notOk([...now, ...later].includes('preset'));
});
