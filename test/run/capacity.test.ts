// The places for connections where few files may be open.

import { spawnSync } from 'node:child_process';

import t from 'tap';

import type { Capacity } from '../../src/run/capacity.js';

const FEW = 300;
const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** What a script prints in a process that may open few files. */
function printedWithFew(script: string): string {
  const imports = `
import { capsFor, checkRoomFor } from ${url('../../src/run/capacity.js')};
import { planFor } from ${url('../fixtures/plans.js')};
import { recordedLog } from ${url('../fixtures/recorder.js')};
const log = recordedLog();`;
  const run = [process.execPath, '--import=tsx', '--input-type=module', '--eval', `${imports}${script}process.exit();`];
  const { stdout, stderr } = spawnSync('sh', ['-c', `ulimit -n ${FEW}; exec "$@"`, 'sh', ...run], { encoding: 'utf8' });
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
const caps = capsFor(planFor('').listeners, log);
const lines = log.lines.length;
checkRoomFor(0, caps, log);
console.log(log.lines.length - lines);
checkRoomFor(8, caps, log);
console.log(log.lines.slice(lines).join());
try { checkRoomFor(30, caps, log); } catch (error) { console.log(error.message); }`;
  const [none, told, refused] = printedWithFew(script).split('\n');
  t.equal(none, '0', 'as many as before take none');
  t.match(
    told,
    /^warn: front\.threads: 8 more threads take 96 .*, of 300 .*: connections are refused when \d+ are open/,
  );
  t.match(refused, /^front\.threads: 30 more threads take 360 .*: allow more \(LimitNOFILE=, ulimit -n\)$/);
  t.end();
});
