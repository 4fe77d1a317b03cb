// Cache misses, forwarded over TLS: only new names, at full speed and one by one, and new names among known ones.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { alternate, latencyTable, loadTable, type Section } from './compare.js';
import { beginAll, type Contender, relayFloor, type Setting } from './contenders.js';
import { type Load, load, type LoadOptions } from './measure.js';

const NAMES = 20_000;
const MIXED = 50_000;
const SPARSE = 400;

/** Measures queries that all miss the cache. */
export async function missed(setting: Setting, rounds: number): Promise<Section[]> {
  const names = join(setting.on.path, 'missed');
  const floor = await relayFloor(setting);
  const contenders = [...(await beginAll(setting, ['tls'])), floor];
  const round = async (each: Contender, name: string) => {
    writeFileSync(names, Array.from({ length: NAMES }, (_, i) => `${name}-${i}.test A\n`).join(''));
    return load(each, names);
  };
  for (const each of contenders) for (let i = 0; i < 2; i++) await round(each, `warm${i}`);
  const results = await alternate(contenders, rounds, async (each, i) => round(each, `round${i}`));
  await Promise.all(contenders.map(each => each.stop()));
  return [
    {
      title: 'Missed, over TLS',
      how: `${NAMES} new names per round, 200 queries outstanding, no validation.`,
      table: loadTable(results, floor.name),
    },
  ];
}

/**
 * Measures queries that come one by one, as those of a household do: nothing is shared with other queries, and the memory
 * that each needs has left the caches of the CPU since the one before.
 */
export async function sparse(setting: Setting, rounds: number): Promise<Section[]> {
  const names = join(setting.on.path, 'sparse');
  const contenders = await beginAll(setting, ['cache', 'tls']);
  const round = async (each: Contender, name: string, count: number, options: LoadOptions): Promise<Load> => {
    writeFileSync(names, Array.from({ length: count }, (_, i) => `${name}-${i}.test A\n`).join(''));
    return load(each, names, options);
  };
  const ONE_BY_ONE = { perSecond: 100 } as const;
  for (const each of contenders) for (let i = 0; i < 2; i++) await round(each, `warm${i}`, NAMES, {});
  const misses = await alternate(contenders, rounds, async (each, i) => round(each, `round${i}`, SPARSE, ONE_BY_ONE));
  for (const each of contenders) await round(each, 'known', SPARSE, { times: 2 });
  const hits = await alternate(contenders, rounds, async each => round(each, 'known', SPARSE, ONE_BY_ONE));
  await Promise.all(contenders.map(each => each.stop()));
  return [
    {
      title: 'Missed, one by one',
      how: `${SPARSE} new names per round over TLS, 100 a second, after ${2 * NAMES} at full speed.`,
      table: loadTable(misses),
    },
    { title: 'Cached, one by one', how: `${SPARSE} known names per round, 100 a second.`, table: loadTable(hits) },
  ];
}

/** Measures four hits per miss. The known names follow Zipf's law. */
export async function mixed(setting: Setting, rounds: number): Promise<Section[]> {
  const names = join(setting.on.path, 'mixed');
  const contenders = await beginAll(setting, ['cache', 'tls']);
  const round = async (each: Contender, name: string) => {
    writeFileSync(names, zipf(name));
    return load(each, names);
  };
  for (const each of contenders) await round(each, 'warm');
  const results = await alternate(contenders, rounds, async (each, i) => round(each, `round${i}`));
  await Promise.all(contenders.map(each => each.stop()));
  return [
    {
      title: 'Mixed',
      how: `${MIXED} queries per round, a fifth of them for new names, the others for known names by Zipf's law; 200 outstanding.`,
      table: loadTable(results),
    },
  ];
}

/** Measures hits, alone and during 5,000 misses per second. */
export async function crowded(setting: Setting, rounds: number): Promise<Section[]> {
  const hits = join(setting.on.path, 'hits');
  const misses = join(setting.on.path, 'misses');
  writeFileSync(hits, Array.from({ length: 1000 }, (_, i) => `hit${i}.test A\n`).join(''));
  const contenders = await beginAll(setting, ['cache', 'tls']);
  const FOR = { perSecond: 1000, forSeconds: 3, verbose: true } as const;
  const newNames = (name: string): void =>
    writeFileSync(misses, Array.from({ length: NAMES }, (_, i) => `${name}-${i}.test A\n`).join(''));
  for (const each of contenders) {
    newNames('warm');
    await load(each, misses);
    await load(each, hits, { times: 20 });
  }
  const alone = await alternate(contenders, rounds, async each => load(each, hits, FOR));
  const beside = await alternate(contenders, rounds, async (each, i) => {
    newNames(`round${i}`);
    const missing = load(each, misses, { perSecond: 5000 });
    // dnsperf needs a moment to start, and the hits must end before the misses do.
    await new Promise(resolve => setTimeout(resolve, 500));
    const measured = await load(each, hits, FOR);
    await missing;
    return measured;
  });
  await Promise.all(contenders.map(each => each.stop()));
  return [
    { title: 'Hits, alone', how: '1,000 names in cache, 1,000 queries/s.', table: latencyTable(alone) },
    {
      title: 'Hits beside misses',
      how: 'The same while another client queries 5,000 new names/s.',
      table: latencyTable(beside),
    },
  ];
}

/** Queries of which every fifth is for a new name, and the others choose an earlier name by 1/rank. They are the same in every run. */
function zipf(name: string): string {
  let seed = 1;
  const chance = (): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed / 0x80000000;
  };
  let known = 0;
  return Array.from({ length: MIXED }, (_, i) => {
    if (i % 5 === 0) known++;
    // Approximately the inverse of the harmonic distribution.
    const which = i % 5 === 0 ? known - 1 : Math.floor(known ** chance()) - 1;
    return `${name}-${Math.max(0, which)}.test A\n`;
  }).join('');
}
