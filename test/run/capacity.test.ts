// The places for connections where few files may be open.

import { spawnSync } from 'node:child_process';

import t from 'tap';

import type { Capacity } from '../../src/run/capacity.js';

const FEW = 300;
const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** What a process that may open few files has room for. */
function capsWith(config: string): Capacity {
  const script = `
import { capsFor } from ${url('../../src/run/capacity.js')};
import { planFor } from ${url('../fixtures/plans.js')};
import { recordedLog } from ${url('../fixtures/recorder.js')};
console.log(JSON.stringify(capsFor(planFor(${JSON.stringify(config)}).listeners, recordedLog())));
process.exit();`;
  const run = [process.execPath, '--import=tsx', '--input-type=module', '--eval', script];
  const { stdout, stderr } = spawnSync('sh', ['-c', `ulimit -n ${FEW}; exec "$@"`, 'sh', ...run], { encoding: 'utf8' });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Capacity;
}

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
