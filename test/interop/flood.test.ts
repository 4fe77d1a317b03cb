// A burst from thousands of source addresses at the WAN of a box, beside a device in its LAN. Debian packages: iproute2 util-linux.

import { execFile } from 'node:child_process';

import t from 'tap';

import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'nsenter', 'ip') : 'needs root for namespaces';

interface Asked {
  readonly asked: number;
  readonly lost: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}
interface Told {
  readonly quiet: Asked;
  readonly beside: Asked;
  readonly flood: { readonly sent: number; readonly answers: number; readonly refused: number };
  readonly dropped: number;
}

for (const front of ['{ threads: 1 }', '{ threads: 0 }', '{ threads: 0, io: dgram }'])
  await t.test(`a burst from the WAN gets no answer, and the LAN all of them: ${front}`, { skip }, async t => {
    const args = ['--net', process.execPath, '--import=tsx', 'test/interop/flood.ts', front, 'rate_limit: 2000'];
    const out = await new Promise<string>(resolve => {
      execFile('unshare', args, { timeout: 90_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
    });
    const line = out.split('\n').find(each => each.startsWith('{"'));
    if (line === undefined) throw new Error(out);
    const { quiet, beside, flood, dropped } = JSON.parse(line) as Told;
    t.equal(flood.answers, 0);
    t.ok(flood.sent > 10_000, `${flood.sent} queries from the WAN`);
    t.ok(flood.refused > 0 && flood.refused < 5000, `${flood.refused} of them refused`);
    t.ok(dropped > flood.sent / 4, `${dropped} dropped without a word`);
    t.equal(quiet.lost, 0);
    t.equal(beside.lost, 0, 'the LAN loses nothing');
    const ratio = beside.p99Ms / quiet.p99Ms;
    t.comment(
      `p99 of the LAN: ${quiet.p99Ms.toFixed(2)} ms, beside the burst ${beside.p99Ms.toFixed(2)} ms: ${ratio.toFixed(2)} times`,
    );
  });
