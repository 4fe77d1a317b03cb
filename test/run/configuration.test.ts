// The configuration file of a running daemon: taken over as a whole or not at all, and told in each case.

import t from 'tap';

import { checkConfig } from '../../src/config/check.js';
import { Configuration } from '../../src/run/configuration.js';
import type { Plan } from '../../src/run/plan.js';
import { ready, Reload } from '../../src/run/reload.js';
import { StartError } from '../../src/run/start-error.js';
import { fakeClock } from '../fixtures/clock.js';
import { fakeFiles, planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';

const FILE = '/etc/dotstub.yaml';

function setUp({ file }: { readonly file: string | undefined } = { file: FILE }) {
  const clock = fakeClock();
  const log = recordedLog();
  const taken: Plan[] = [];
  const committed: Plan[] = [];
  const state = { text: '', files: fakeFiles(), failure: undefined as Error | undefined };
  const reload = new Reload(planFor(''), [
    {
      options: ['cache.min_ttl'],
      prepare(next) {
        if (state.failure !== undefined) throw state.failure;
        return ready(() => void committed.push(next));
      },
    },
  ]);
  const configuration = new Configuration({
    source: { file, load: () => checkConfig(state.text) },
    files: { ...state.files, read: (path, option) => state.files.read(path, option) },
    reload,
    clock,
    log,
    taken: plan => void taken.push(plan),
  });
  return { clock, log, taken, committed, state, reload, configuration };
}

await t.test('a good file is taken over, and the answer and the log say what has changed', async t => {
  const { clock, log, taken, committed, state, reload, configuration } = setUp();
  const startedMs = configuration.state.takenMs;
  await clock.advance(1000);
  state.text = 'cache: { min_ttl: 5s, size: 1MiB }';
  const words = `${FILE} taken over: cache.min_ttl`;
  const waits = 'changed, but only in force after a restart: cache.size';
  t.match(await configuration.reload(), {
    ok: true,
    text: `${words}\n${waits}`,
    data: { file: FILE, changed: ['cache.min_ttl'], after_restart: ['cache.size'] },
  });
  t.same(log.lines, [`info: ${words}`, `warn: ${waits}`]);
  t.equal(committed.length, 1);
  t.same(taken, [reload.plan], 'its files are watched from now on');
  t.same(configuration.state, { taken: true, takenMs: startedMs + 1000 });
});

await t.test('what is probably not meant is told, too, and changes nothing else', async t => {
  const { log, state, configuration } = setUp();
  state.text = 'access:\n  allow: [10.1.2.3/8]\n';
  t.match(await configuration.reload(), { ok: true });
  t.match(log.lines, [/^warn: .*dotstub\.yaml:2:11: access\.allow\[0\]: 10\.1\.2\.3\/8 /, /^info: /]);
});

const BAD: Readonly<Record<string, { readonly text: string; readonly words: RegExp }>> = {
  'a value that is not allowed': { text: 'cache: { min_ttl: soon }', words: /dotstub\.yaml:1:\d+: cache\.min_ttl: / },
  'no YAML': { text: 'cache: {', words: /not valid YAML/ },
  'a file that is not there': {
    text: 'upstream: { ca_file: /gone }',
    words: /dotstub\.yaml:1:13: upstream\.ca_file: \/gone cannot be read/,
  },
};

for (const [title, { text, words }] of Object.entries(BAD)) {
  await t.test(`${title}: nothing changes, and that is told`, async t => {
    const { log, taken, committed, state, reload, configuration } = setUp();
    const { plan } = reload;
    const { takenMs } = configuration.state;
    state.text = text;
    const reply = await configuration.reload();
    t.equal(reply.ok, false);
    const problem = reply.ok ? '' : reply.problem;
    t.match(problem, `${FILE} was not taken over (1 problem): the configuration that runs stays`);
    t.match(problem, words);
    t.ok(log.lines.every(line => line.startsWith('error: ')));
    t.ok(log.lines.some(line => words.test(line)));
    t.same([taken, committed], [[], []]);
    t.equal(reload.plan, plan);
    t.same(configuration.state, { taken: false, takenMs }, 'the status says so');
    state.text = 'cache: { min_ttl: 5s }';
    t.match(await configuration.reload(), { ok: true, data: { changed: ['cache.min_ttl'] } });
    t.match(configuration.state, { taken: true });
  });
}

await t.test(
  'a part that cannot prepare has the file refused; one that is broken is not the fault of the file',
  async t => {
    const { state, configuration, taken } = setUp();
    state.text = 'cache: { min_ttl: 5s }';
    state.failure = new StartError('the address is in use', 1);
    t.match(await configuration.reload(), { ok: false, problem: /: the address is in use/ });
    t.match(configuration.state, { taken: false });
    state.failure = new TypeError('broken');
    await t.rejects(configuration.reload(), { message: 'broken' });
    t.same(taken, []);
  },
);

await t.test('without a file there is nothing to reload, and nothing is wrong', async t => {
  const { configuration, log } = setUp({ file: undefined });
  t.match(await configuration.reload(), { ok: false, problem: /without a configuration file/ });
  t.match(configuration.state, { taken: true });
  t.match(log.lines, [/^info: /]);
});
