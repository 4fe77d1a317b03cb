// Validated answers: the time of an uncached one with a distant server, the number of queries it takes, and the CPU time of one in a
// zone whose keys are known. dnssec-signzone signs the zones and NSD serves them. The server that the contenders forward to resolves
// in these zones, and has all answers in its cache.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ask, type At } from '../test/fixtures/client.js';
import { FLAG } from '../src/wire/header.js';
import { relay } from '../test/fixtures/relay.js';
import { missing } from '../test/fixtures/servers.js';
import { recursor, serveWorld, signWorld, WORLD_PROGRAMS, type ZoneSpec } from '../test/fixtures/signed-world.js';
import { alternate, loadTable, type Section } from './compare.js';
import { begin, beginAll, type Contender, installed, KINDS, type Setting } from './contenders.js';
import { LOAD_CPU, load, median, pin, quantile, table } from './measure.js';

/** The round-trip time through the relay. */
const AWAY_MS = 20;
/** How many pairs there are: a zone below the top-level zone, and a zone below that one. */
const PAIRS = 20;
const NAMES = 10_000;
const WARM_ROUNDS = 1;

const ALGORITHM = 'ECDSAP256SHA256';
const pairOf = (i: number): string => `z${i}.p${i}.known.`;
const singleOf = (i: number): string => `s${i}.known.`;
const zones = (names: number): readonly ZoneSpec[] => [
  { name: '.', algorithm: 'RSASHA256', records: 'warm 300 A 192.0.2.1\n' },
  { name: 'known.', algorithm: ALGORITHM },
  {
    name: 'flat.',
    algorithm: ALGORITHM,
    records: Array.from({ length: names }, (_, i) => `n${i} 86400 A 192.0.2.99`).join('\n'),
  },
  ...Array.from({ length: PAIRS }, (_, i) => [`p${i}.known.`, pairOf(i), singleOf(i)])
    .flat()
    .map(name => ({ name, algorithm: ALGORITHM })),
];

/** The signed zones, served, and a resolver that has all of them in its cache. */
async function signed({ on, ...setting }: Setting, names: number) {
  const directory = join(on.path, `world-${names}`);
  mkdirSync(directory);
  const world = zones(names);
  const anchors = await signWorld(directory, world, () => 'www 3600 A 192.0.2.80\nwww.host 3600 A 192.0.2.80\n');
  const behind = await recursor(
    on,
    await serveWorld(on, directory, world),
    '  msg-cache-size: 200m\n  rrset-cache-size: 400m\n  outgoing-range: 4096\n  num-queries-per-thread: 2048',
  );
  await pin(behind.pid, LOAD_CPU);
  const near: Setting = { ...setting, on, anchors, upstream: behind };
  return { world, behind, near };
}

/** Measures the first answers of zones, from a distant server. */
export async function cold(setting: Setting, rounds: number): Promise<Section[]> {
  const lacking = missing(...WORLD_PROGRAMS);
  if (lacking !== false) {
    console.log(`cold: ${lacking}`);
    return [];
  }
  const { world, behind, near } = await signed(setting, 1);
  const plain: At = { address: '127.0.0.1', port: behind.plainPort };
  for (const { name } of world)
    for (const [what, type] of [
      [name, 'DNSKEY'],
      [name, 'DS'],
      [`www.${name === '.' ? '' : name}`, 'A'],
      [`www.host.${name === '.' ? '' : name}`, 'A'],
      [`host.${name === '.' ? '' : name}`, 'DS'],
      [`host.${name === '.' ? '' : name}`, 'DNSKEY'],
    ] as const)
      await ask(plain, what, { type, dnssec: true });

  const far = await relay(behind.port, AWAY_MS / 2);
  const slow = await relay(behind.port, AWAY_MS / 2, true);
  const through = ({ port }: { readonly port: number }): Setting => ({
    ...near,
    upstream: { ...behind, address: '127.0.0.1', port },
  });
  const away = through(far);
  const sections = [
    await known(away, behind, 'Cold, validated', 'each two unknown zones below a known one', i => `www.${pairOf(i)}`),
    await known(
      away,
      behind,
      'Cold, validated, hosts',
      'each of a host in an unknown zone below a known one, with a label in between',
      i => `www.host.${singleOf(i)}`,
    ),
    await known(
      through(slow),
      behind,
      'Cold, validated, small segments',
      'each two unknown zones below a known one, of a server that leaves the algorithm of Nagle on',
      i => `www.${pairOf(i)}`,
    ),
    await empty(away, rounds),
  ];
  far.close();
  slow.close();
  return sections;
}

/** Measures misses in a zone whose keys are known. */
export async function validated(setting: Setting, rounds: number): Promise<Section[]> {
  const lacking = missing(...WORLD_PROGRAMS);
  if (lacking !== false) {
    console.log(`validated: ${lacking}`);
    return [];
  }
  const { behind, near } = await signed(setting, NAMES * (rounds + WARM_ROUNDS));
  const files = Array.from({ length: rounds + WARM_ROUNDS }, (_, round) => {
    const file = join(setting.on.path, `flat-${round}`);
    writeFileSync(file, Array.from({ length: NAMES }, (__, i) => `n${round * NAMES + i}.flat A\n`).join(''));
    return file;
  });
  // Fill the cache of the server that the contenders forward to, signatures included.
  for (const file of files) await load({ port: behind.plainPort, pid: behind.pid }, file, { dnssec: true });
  const contenders = await beginAll(near, ['tls', 'dnssec'], openConnection);
  for (const each of contenders) for (let i = 0; i < WARM_ROUNDS; i++) await load(each, files[i] ?? '');
  const results = await alternate(contenders, rounds, async (each, i) => load(each, files[i + WARM_ROUNDS] ?? ''));
  await Promise.all(contenders.map(each => each.stop()));
  return [
    {
      title: 'Missed, validated',
      how: `${NAMES} new names of one signed zone (P-256, one signature each) per round, 200 queries outstanding.`,
      table: loadTable(results),
    },
  ];
}

/** Opens the connection with a CD query, which is not validated, so that no key is known yet. */
const openConnection = async (at: At, tries: number): Promise<unknown> =>
  ask(at, `warm${tries}`, { flags: FLAG.RD | FLAG.CD });

interface Answered {
  readonly ms: readonly number[];
  readonly questions: number;
}

/** Measures names below a known top-level zone. Each is queried once. */
async function known(
  setting: Setting,
  behind: { queries(): Promise<number> },
  title: string,
  which: string,
  nameOf: (i: number) => string,
): Promise<Section> {
  const results = new Map<string, Answered>();
  const contenders = await beginAll(setting, ['tls', 'dnssec'], openConnection);
  for (const each of contenders) {
    const at = { address: '127.0.0.1', port: each.port };
    await ask(at, 'www.known.');
    const before = await behind.queries();
    const ms: number[] = [];
    for (let i = 0; i < PAIRS; i++) ms.push(await secureMs(each, at, nameOf(i)));
    // Queries that the answer did not need may still be on their way.
    await new Promise(resolve => setTimeout(resolve, 500));
    results.set(each.name, { ms, questions: ((await behind.queries()) - before) / PAIRS });
  }
  await Promise.all(contenders.map(each => each.stop()));
  return {
    title,
    how: `${PAIRS} names, ${which}; the server has a round-trip time of ${AWAY_MS} ms and all answers in its cache.`,
    table: coldTable(results),
  };
}

/** Measures the first name of all, over a connection that is open. */
async function empty(setting: Setting, rounds: number): Promise<Section> {
  const results = new Map<string, Answered>();
  for (const kind of KINDS.filter(each => each.does.includes('dnssec') && installed(each))) {
    const ms: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const contender = await begin(kind, setting, openConnection);
      ms.push(
        await secureMs(contender, { address: '127.0.0.1', port: contender.port }, `www.${pairOf(round % PAIRS)}`),
      );
      await contender.stop();
    }
    results.set(kind.name, { ms, questions: NaN });
  }
  return {
    title: 'Cold, validated, nothing known',
    how: 'The first such name of a contender that has just been started, with its connection open.',
    table: coldTable(results),
  };
}

async function secureMs(who: Contender, at: At, name: string): Promise<number> {
  const { ms, text } = await ask(at, name, { dnssec: true });
  if (!text.flags.includes('ad')) throw new Error(`${who.name}: ${name} is not secure: ${text.rcode}`);
  return ms;
}

const coldTable = (results: ReadonlyMap<string, Answered>): string =>
  table([
    [
      '',
      'p50 ms',
      'round trips',
      'worst ms',
      ...([...results.values()].some(({ questions }) => Number.isFinite(questions)) ? ['questions'] : []),
    ],
    ...[...results].map(([who, { ms, questions }]) => [
      who,
      median(ms).toFixed(1),
      (median(ms) / AWAY_MS).toFixed(2),
      quantile(
        [...ms].sort((a, b) => a - b),
        1,
      ).toFixed(1),
      ...(Number.isFinite(questions) ? [questions.toFixed(1)] : []),
    ]),
  ]);
