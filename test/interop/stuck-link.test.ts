// One client behind a link that takes nothing, and others beside it. Debian packages: iproute2 util-linux unbound.

import { execFile } from 'node:child_process';

import t from 'tap';

import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'nsenter', 'ip', 'tc') : 'needs root for namespaces';

interface Findings {
  /** Of 40 queries of another client over UDP. */
  readonly answered: number;
  readonly overTcp?: string;
  /** By how much its resident memory has grown. */
  readonly grownMiB: number;
  /** Replies that were dropped, as the metrics say. */
  readonly lost: number;
  /** Whether SIGTERM ended it within 5 s. */
  readonly stopped: boolean;
}

async function beside(program: string, front = ''): Promise<Findings> {
  const args = ['--net', process.execPath, '--import=tsx', 'test/interop/stuck-link.ts', program, front];
  const out = await new Promise<string>(resolve => {
    execFile('unshare', args, { timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
  const line = out.split('\n').find(each => each.startsWith('{"'));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line) as Findings;
}

for (const [host, front, least] of [
  ['a front thread', '{ threads: 1 }', 38],
  ['inline', '{ threads: 0 }', 38],
  // Slower: some of the flood, and of the others' queries, is lost in the receive buffer.
  ['node:dgram', '{ threads: 0, io: dgram }', 20],
] as const) {
  const title = `${host}: a client behind a stuck link loses its own replies; others are answered, and SIGTERM ends it`;
  await t.test(title, { skip }, async t => {
    const found = await beside('dotstub', front);
    t.comment(JSON.stringify(found));
    t.ok(found.answered >= least, `${found.answered} of 40 over UDP`);
    t.equal(found.overTcp, 'NOERROR');
    t.ok(found.lost > 1000, 'what was lost is counted');
    // Without a bound for what waits it is nine times as much.
    t.ok(found.grownMiB < 96, `${found.grownMiB.toFixed(0)} MiB more`);
    t.ok(found.stopped);
  });
}

await t.test('the measure: Unbound there', { skip: skip === false ? missing('unbound') : skip }, async t => {
  const found = await beside('unbound');
  t.comment(JSON.stringify(found));
  t.ok(found.answered < 20, 'it waits for the link, and others wait with it');
});
