// Two front threads beside one, on a machine that has no cores to spare for the load: each front thread gets the same
// small share of a core (SCHED_DEADLINE of sched(7), which also takes it away when it is used up), and dnsperf the rest.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Section } from './compare.js';
import { alternate } from './compare.js';
import { type Contender, ours, type Setting } from './contenders.js';
import { load, median, table } from './measure.js';

const NAMES = 10_000;
/** So many sockets that the kernel spreads them evenly (SO_REUSEPORT). */
const CLIENTS = 200;
/** Of a core, for each front thread. */
const SHARE = 0.05;
/**
 * Short, so that what a thread answers within its share of a period is little beside the outstanding queries: those of a
 * thread that has used up its share wait for it, and the other one must not run out of queries meanwhile.
 */
const PERIOD_NS = 2_000_000;
const TITLE = 'Two front threads';

/** Measures what two front threads answer, and what a query costs with them. */
export async function fronts(setting: Setting, rounds: number): Promise<Section[]> {
  const names = join(setting.on.path, 'fronts');
  writeFileSync(names, Array.from({ length: NAMES }, (_, i) => `front${i}.test A\n`).join(''));
  const contenders: Contender[] = [];
  const problems: string[] = [];
  for (const threads of [1, 2]) {
    const contender = await ours(threads).start(setting);
    contenders.push(contender);
    for (let i = 0; i < 2; i++) await load(contender, names, { outstanding: 50 });
    const before = threadTimes(contender.pid);
    await load(contender, names, { times: 10, clients: CLIENTS });
    const busiest = [...threadTimes(contender.pid)]
      .filter(([thread]) => thread !== contender.pid)
      .sort(([a, usedA], [b, usedB]) => usedB - (before.get(b) ?? 0) - (usedA - (before.get(a) ?? 0)));
    for (const [thread] of busiest.slice(0, threads)) problems.push(...hold(thread));
  }
  if (problems.length === 0) {
    const results = await alternate(contenders, rounds, async each =>
      load(each, names, { forSeconds: 3, clients: CLIENTS, outstanding: 1000, anywhere: true }),
    );
    const rows = [...results].map(([who, loads]) => ({
      who,
      perSecond: median(loads.map(each => each.perSecond)),
      cpu: median(loads.map(each => each.cpuMicrosecondsPerQuery)),
      lost: loads.reduce((sum, each) => sum + each.lost, 0),
    }));
    for (const each of contenders) await each.stop();
    const one = rows[0];
    return [
      {
        title: TITLE,
        how: `${NAMES} names in cache; ${CLIENTS} clients, 1,000 queries outstanding. Each front thread has ${100 * SHARE} % of a core.`,
        table: table([
          ['', 'queries/s', 'x one', 'CPU µs/query', 'x one', 'cores used', 'lost'],
          ...rows.map(({ who, perSecond, cpu, lost }) => [
            who,
            perSecond.toFixed(0),
            (perSecond / (one?.perSecond ?? NaN)).toFixed(2),
            cpu.toFixed(2),
            (cpu / (one?.cpu ?? NaN)).toFixed(2),
            ((cpu * perSecond) / 1e6).toFixed(3),
            String(lost),
          ]),
        ]),
      },
    ];
  }
  for (const each of contenders) await each.stop();
  return [{ title: TITLE, how: 'Left out: front threads cannot be limited here.', table: problems[0] ?? '' }];
}

/** The CPU time of each thread of a process, nanoseconds. */
function threadTimes(pid: number): ReadonlyMap<number, number> {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map(thread => [
      Number(thread),
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
    ]),
  );
}

/** Gives a thread its share and no more. Returns why that cannot be done. */
function hold(thread: number): string[] {
  const share = ['-T', SHARE * PERIOD_NS, '-D', PERIOD_NS, '-P', PERIOD_NS].map(String);
  try {
    execFileSync('chrt', ['-d', ...share, '-p', '0', String(thread)], { stdio: 'pipe' });
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message.trim() : 'chrt failed'];
  }
}
