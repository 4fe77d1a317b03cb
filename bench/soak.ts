// `npm run soak [-- MINUTES]`: dotstub and Unbound side by side under 2,000 queries per second each, a fifth of them for new
// names, while the server behind them is restarted every minute. Prints what was lost, and what memory, descriptors and the
// event loop did.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { bench, missing } from '../test/fixtures/servers.js';
import { residentBytes } from '../test/fixtures/memory.js';
import { begin, type Contender, KINDS, type Setting, upstream } from './contenders.js';
import { load, median, table } from './measure.js';

const PER_SECOND = 2000;
const RESTART_SECONDS = 60;
const SAMPLE_SECONDS = 5;
const KNOWN = 2000;
const NAMES = ['dotstub, threads 1', 'dotstub, threads 0', 'Unbound'];

const [minutesText = '20'] = process.argv.slice(2);
const minutes = Number(minutesText);
const lacking = missing('unbound', 'dnsperf', 'taskset');
if (!(minutes >= 1) || lacking !== false) {
  console.error(lacking === false ? 'usage: npm run soak [-- MINUTES]' : `soak: ${lacking}`);
  process.exit(2);
}
const seconds = minutes * 60;

const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });

// Runs in the daemon: how late its event loop was, beyond the resolution of the measure.
const probe = join(on.path, 'probe.mjs');
const lagFile = (pid: number): string => join(on.path, `lag-${pid}.json`);
writeFileSync(
  probe,
  `import { monitorEventLoopDelay } from 'node:perf_hooks';
import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
if (isMainThread) {
  const resolution = 10;
  const delays = monitorEventLoopDelay({ resolution });
  delays.enable();
  // The start is not what is measured.
  setTimeout(() => delays.reset(), 5000).unref();
  process.on('exit', () => {
    const ms = p => Math.max(0, delays.percentile(p) / 1e6 - resolution);
    const worst = Math.max(0, delays.max / 1e6 - resolution);
    writeFileSync(\`${on.path}/lag-\${process.pid}.json\`, JSON.stringify([ms(50), ms(99), ms(99.9), worst]));
  });
}
`,
);
process.env['NODE_OPTIONS'] = `--import ${probe}`;

const behind = await upstream(on);
const setting: Setting = { on, upstream: behind, cacheMiB: 16 };
const contenders: Contender[] = [];
for (const kind of KINDS.filter(({ name }) => NAMES.includes(name))) contenders.push(await begin(kind, setting));

interface Sample {
  readonly rss: number;
  readonly descriptors: number;
}
const samples = new Map<Contender, Sample[]>(contenders.map(each => [each, []]));
const look = (each: Contender): void =>
  void samples.get(each)?.push({
    rss: residentBytes(each.pid),
    descriptors: readdirSync(`/proc/${each.pid}/fd`).length,
  });

const over = { is: false };
const goesOn = (): boolean => !over.is;
const restarting = (async () => {
  while (goesOn()) {
    for (let second = 0; second < RESTART_SECONDS && goesOn(); second++) await sleep(1000);
    await behind.restart();
  }
})();
const sampling = (async () => {
  while (goesOn()) {
    for (const each of contenders) look(each);
    await sleep(SAMPLE_SECONDS * 1000);
  }
})();

const loads = await Promise.all(
  contenders.map(async (each, i) => {
    const names = join(on.path, `soak-${i}`);
    const lines = Array.from({ length: PER_SECOND * seconds }, (_, at) =>
      at % 5 === 0 ? `new-${at}.test A\n` : `known-${Math.floor(KNOWN ** Math.random()) - 1}.test A\n`,
    );
    writeFileSync(names, lines.join(''));
    return load(each, names, { perSecond: PER_SECOND, outstanding: 2000 });
  }),
);
over.is = true;
await Promise.all([restarting, sampling]);
for (const each of contenders) await each.stop();

const MIB = 1 << 20;
const rows = contenders.map((each, i) => {
  const seen = samples.get(each) ?? [];
  const third = Math.floor(seen.length / 3);
  const middle = (of: keyof Sample, part: readonly Sample[], unit = 1): string =>
    (median(part.map(sample => sample[of])) / unit).toFixed(0);
  const change = (of: keyof Sample, unit?: number): string =>
    `${middle(of, seen.slice(third, 2 * third), unit)} -> ${middle(of, seen.slice(-third), unit)}`;
  const { sent = 0, lost = 0, failed = 0 } = loads[i] ?? {};
  const lag = each.name.startsWith('dotstub')
    ? (JSON.parse(readFileSync(lagFile(each.pid), 'utf8')) as number[]).map(ms => ms.toFixed(1))
    : ['-', '-', '-', '-'];
  return [each.name, String(sent), String(lost), String(failed), change('rss', MIB), change('descriptors'), ...lag];
});
console.log(
  table([['', 'sent', 'lost', 'failed', 'RSS MiB', 'descriptors', 'lag p50 ms', 'p99', 'p99.9', 'most'], ...rows]),
);
console.log(`\n${minutes} minutes. RSS and descriptors: the second third, and the last.`);
for (const end of ends) await end();
