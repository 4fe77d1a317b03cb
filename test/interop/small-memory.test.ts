// A daemon with the preset "router" in a cgroup of 64 MiB, asked for random names that do not exist, 1,000 per second, and
// beside them for the names of a household. PLAY_SECONDS=3600 asks for an hour, and PLAY_LOG=FILE keeps what memory did.

import { execFile } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { freePort } from '../fixtures/free-port.js';
import { residentBytes } from '../fixtures/memory.js';
import { PROGRAM, startDotstub } from '../fixtures/program.js';
import { bench, missing, program, start, unboundTls } from '../fixtures/servers.js';

const MIB = 1 << 20;
const LIMIT_BYTES = 64 * MIB;
const SECONDS = Number(process.env['PLAY_SECONDS'] ?? 60);
const PER_SECOND = 1000;
/** What a household asks for beside them, and of how many names. */
const HOUSEHOLD_PER_SECOND = 50;
const HOUSEHOLD_NAMES = 500;
/** At least that many looks at the memory, in a number that has thirds. */
const SAMPLES = 3 * Math.max(10, Math.round(SECONDS / 30));
/** What memory of its own may differ between two thirds of the time: the heap grows and shrinks in steps. */
const STEP_BYTES = 4 * MIB;

t.setTimeout(SECONDS * 1000 + 120_000);

/** A cgroup with a limit of memory. */
interface Group {
  readonly path: string;
  /** How many processes the kernel has ended in it. */
  killed(): number;
  /** What it takes now and took at most, octets, and how often it had to give back to stay below the limit. */
  usage(): { readonly now: number; readonly most: number; readonly reclaims: number };
}

/** Makes one, with either version of cgroups; text: why that cannot be done. */
function group(): Group | string {
  const isOld = existsSync('/sys/fs/cgroup/memory');
  const path = join(isOld ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup', `dotstub-test-${process.pid}`);
  const read = (file: string): string => readFileSync(join(path, file), 'utf8');
  try {
    mkdirSync(path);
    writeFileSync(join(path, isOld ? 'memory.limit_in_bytes' : 'memory.max'), String(LIMIT_BYTES));
    // Nothing may hide in swap.
    if (isOld) writeFileSync(join(path, 'memory.swappiness'), '0');
    else if (existsSync(join(path, 'memory.swap.max'))) writeFileSync(join(path, 'memory.swap.max'), '0');
  } catch (error) {
    if (existsSync(path)) rmdirSync(path);
    return `no cgroup can be made here: ${error instanceof Error ? error.message : String(error)}`;
  }
  const event = (file: string, name: string): number =>
    Number(new RegExp(`^${name} (\\d+)`, 'm').exec(read(file))?.[1] ?? 0);
  return {
    path,
    killed: () => event(isOld ? 'memory.oom_control' : 'memory.events', 'oom_kill'),
    usage: () => ({
      now: Number(read(isOld ? 'memory.usage_in_bytes' : 'memory.current')),
      most: Number(read(isOld ? 'memory.max_usage_in_bytes' : 'memory.peak')),
      reclaims: isOld ? Number(read('memory.failcnt')) : event('memory.events', 'max'),
    }),
  };
}

/** Memory of its own, without the pages of the programs' files. */
const anonymousBytes = (pid: number): number =>
  Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;

/** Writes down what memory is now. */
function note(within: Group, pid: number): void {
  const file = process.env['PLAY_LOG'];
  if (file === undefined) return;
  const { now, most, reclaims } = within.usage();
  const [group, peak, resident, own] = [now, most, residentBytes(pid), anonymousBytes(pid)].map(bytes =>
    (bytes / MIB).toFixed(1),
  );
  const words = `group ${group}, at most ${peak}, resident ${resident}, of its own ${own} MiB; reclaims ${reclaims}`;
  appendFileSync(file, `${new Date().toISOString()} ${words}, ended ${within.killed()}\n`);
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;

/** Starts Unbound, which says of all names that they do not exist, and the daemon in the group. */
async function running(t: Test, within: Group) {
  const on = bench(t);
  const behind = await freePort();
  const file = join(on.path, 'unbound.conf');
  writeFileSync(
    file,
    `
server:
${unboundTls(on, behind)}
  local-zone: test. static
  local-data: "test. 300 SOA ns.test. hostmaster.test. 1 7200 3600 1209600 300"
  local-zone: household.test. redirect
  local-data: "household.test. 300 A 192.0.2.1"
remote-control:
  control-enable: no
`,
  );
  await start(on, 'unbound', ['-d', '-c', file], behind);
  const port = await freePort();
  const daemon = await startDotstub(
    `
preset: router
listen: ["127.0.0.1:${port}"]
access: { rate_limit: 0 }
metrics: { listen: off }
special_names: { forward: [test] }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind}"] }] }
`,
    [],
    ['/bin/sh', '-c', `echo $$ >${within.path}/cgroup.procs && exec "$@"`, 'sh', ...PROGRAM],
  );
  t.teardown(() => daemon.stop());
  return { on, port, daemon };
}

/** Asks for random names, and returns what dnsperf says. */
async function ask(directory: string, port: number): Promise<string> {
  const names = join(directory, 'names');
  const random = (): string => Math.random().toString(36).slice(2);
  const household = (): string => `n${Math.floor(HOUSEHOLD_NAMES ** Math.random()) - 1}.household`;
  const perSecond = PER_SECOND + HOUSEHOLD_PER_SECOND;
  const each = perSecond / HOUSEHOLD_PER_SECOND;
  const lines = Array.from(
    { length: SECONDS * perSecond },
    (_, at) => `${at % each < 1 ? household() : `${random()}.${random()}`}.test A\n`,
  );
  writeFileSync(names, lines.join(''));
  const args = [
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    names,
    '-n',
    '1',
    '-l',
    String(SECONDS + 5),
    '-Q',
    String(perSecond),
  ];
  return new Promise((resolve, reject) => {
    execFile(program('dnsperf') ?? 'dnsperf', args, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(new Error('dnsperf failed', { cause: error }));
    });
  });
}

const within = missing('unbound', 'dnsperf') || group();
await t.test(
  'random names that do not exist: memory stays, nothing is lost, and the kernel ends nobody',
  { skip: typeof within === 'string' ? within : false },
  async t => {
    if (typeof within !== 'object') return;
    const { on, port, daemon } = await running(t, within);
    const pid = daemon.child.pid ?? 0;
    const asking = ask(on.path, port);
    const samples: number[] = [];
    for (let i = 0; i < SAMPLES; i++) {
      await sleep((SECONDS * 1000) / SAMPLES);
      if (daemon.child.exitCode !== null || daemon.child.signalCode !== null) break;
      samples.push(anonymousBytes(pid));
      note(within, pid);
    }
    const said = await asking;
    const sent = Number(/Queries sent:\s+(\d+)/.exec(said)?.[1] ?? 0);
    const lost = Number(/Queries lost:\s+(\d+)/.exec(said)?.[1] ?? sent);
    t.comment(`Node.js ${process.version}, ${SECONDS} s: ${lost} of ${sent} queries were lost`);
    const { now, most, reclaims } = within.usage();
    t.comment(`the group took ${(most / MIB).toFixed(1)} MiB at most, ${(now / MIB).toFixed(1)} MiB at the end`);
    t.comment(`it gave pages of files back ${reclaims} times`);
    t.equal(within.killed(), 0);
    t.equal(samples.length, SAMPLES, 'it runs to the end');
    // A machine that is busy with other things may not send so many.
    t.ok(sent > (SECONDS * PER_SECOND) / 2, `${sent} were sent`);
    t.ok(lost <= sent / 1000, `${lost} of ${sent} were lost`);
    const middle = median(samples.slice(SAMPLES / 3, (2 * SAMPLES) / 3));
    const last = median(samples.slice((2 * SAMPLES) / 3));
    const words = `${(middle / MIB).toFixed(1)} MiB of its own in the middle, ${(last / MIB).toFixed(1)} MiB at the end`;
    t.comment(words);
    t.ok(last <= middle + STEP_BYTES, words);
  },
);
// Once the daemon has ended, which the test has waited for.
if (typeof within === 'object') rmdirSync(within.path);
