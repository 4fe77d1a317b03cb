// The places for connections where few files may be open.

import { spawnSync } from 'node:child_process';

import t from 'tap';

import type { Capacity } from '../../src/run/capacity.js';

const FEW = 300;
const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** What a script prints in a process that may open few files. */
function printedWithFew(script: string, few = FEW): string {
  const imports = `
import { capsFor, checkRoomFor } from ${url('../../src/run/capacity.js')};
import { openFiles } from ${url('../../src/os/limits.js')};
import { setTimeout as sleep } from 'node:timers/promises';
import { planFor } from ${url('../fixtures/plans.js')};
import { recordedLog } from ${url('../fixtures/recorder.js')};
const log = recordedLog();
// What has compiled these modules may still be writing its cache.
for (let before = -1, { open } = openFiles(); open !== before; { open } = openFiles()) {
  before = open;
  await sleep(50);
}`;
  const run = [process.execPath, '--import=tsx', '--input-type=module', '--eval', `${imports}${script}process.exit();`];
  const { stdout, stderr } = spawnSync('sh', ['-c', `ulimit -n ${few}; exec "$@"`, 'sh', ...run], { encoding: 'utf8' });
  if (stdout === '') throw new Error(stderr);
  return stdout;
}

/** What it has room for. */
const capsWith = (config: string): Capacity =>
  JSON.parse(
    printedWithFew(`console.log(JSON.stringify(capsFor(planFor(${JSON.stringify(config)}).listeners, log)));`),
  ) as Capacity;

await t.test('session threads that a reload may start have their descriptors from the start', t => {
  const [none, one] = [0, 1].map(threads =>
    capsWith(`
listen: ["127.0.0.1:53"]
listen_https: { addresses: ["127.0.0.1:8443"] }
front: { threads: ${threads} }
`),
  );
  if (none === undefined || one === undefined) throw new Error('there are two');
  t.ok(one.https < 100, 'there are few');
  // The front thread itself has 12, a third of them from each transport; with the session thread it would be 24.
  const less = none.https - one.https;
  t.ok(less >= 3 && less <= 5, `${less} sessions`);
  t.end();
});

await t.test('front threads that a reload brings: without room for them it is refused, and a lack is told', t => {
  const script = `
const caps = capsFor(planFor('front: { threads: 1 }').listeners, log);
const told = (before, threads) => {
  try { return checkRoomFor(before, threads, caps)?.words ?? 'nothing'; } catch (error) { return error.message; }
};
console.log([[1, 1], [9, 8], [0, 1], [1, 9], [1, 31]].map(([before, threads]) => told(before, threads)).join('\\n'));`;
  const [same, fewer, again, lack, refused] = printedWithFew(script).split('\n');
  t.same([same, fewer, again], ['nothing', 'nothing', 'nothing'], 'no more than before, or than at the start');
  t.match(lack, /^front\.threads: 8 more threads take 96 .*, of 300 .*: connections are refused when \d+ are open/);
  t.match(refused, /^front\.threads: 30 more threads take 360 .*: allow more \(LimitNOFILE=, ulimit -n\)$/);
  t.end();
});

await t.test('sessions that are open take nothing twice: where there is room, nothing is told', t => {
  const script = `
const { openSync } = await import('node:fs');
const few = 'access: { sessions: 40 }\\nfront: { threads: 1 }';
const caps = capsFor(planFor(few).listeners, log);
console.log(log.lines.length === 0 ? caps.tcp : log.lines.join());
const files = Array.from({ length: 3 * caps.tcp }, () => openSync('/dev/null'));
console.log(checkRoomFor(1, 2, caps)?.words ?? 'nothing');`;
  t.same(printedWithFew(script, 420).trim().split('\n'), ['40', 'nothing']);
  t.end();
});
