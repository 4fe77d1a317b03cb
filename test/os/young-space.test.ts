// How far V8's space for new objects grows.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import t from 'tap';

import { YoungSpace } from '../../src/os/young-space.js';

const MIB = 1 << 20;
const FIXED = '--semi-space-growth-factor=1';
const GROWING = '--semi-space-growth-factor=2';

/** A space whose size the test sets, and the flags that were set. */
function space() {
  const size = { bytes: MIB };
  const flags: string[] = [];
  const young = new YoungSpace(
    () => size.bytes,
    flag => void flags.push(flag),
  );
  return { size, flags, young };
}

const ask = (young: YoungSpace, times: number): void => {
  for (let i = 0; i < times; i++) young.asked();
};

void t.test('before it is bounded, no flag is set, whatever its size', t => {
  const made = space();
  made.size.bytes = 16 * MIB;
  ask(made.young, 10_000);
  t.same(made.flags, []);
  t.end();
});

void t.test('it may grow to four MiB and no further, and grows again after V8 has made it smaller', t => {
  const made = space();
  made.young.bound();
  ask(made.young, 10_000);
  t.same(made.flags, [], 'V8 may double it');
  made.size.bytes = 4 * MIB;
  ask(made.young, 1024);
  t.same(made.flags, [FIXED]);
  made.size.bytes = MIB;
  ask(made.young, 1024);
  t.same(made.flags, [FIXED, GROWING]);
  t.end();
});

void t.test('one that is large already when it is bounded does not grow', t => {
  const made = space();
  made.size.bytes = 8 * MIB;
  made.young.bound();
  t.same(made.flags, [FIXED]);
  t.end();
});

void t.test('V8 keeps to it', async t => {
  const run = async (bound: string): Promise<number> => {
    const script = `
      import { getHeapSpaceStatistics } from 'node:v8';
      const { YoungSpace } = await import(${JSON.stringify(new URL('../../src/os/young-space.ts', import.meta.url).href)});
      const young = new YoungSpace();
      ${bound}
      const kept = new Array(20_000);
      for (let i = 0; i < 3_000_000; i++) {
        kept[i % kept.length] = { of: [i] };
        if (i % 10 === 0) young.asked();
      }
      const space = getHeapSpaceStatistics().find(each => each.space_name === 'new_space');
      console.log(space.space_used_size + space.space_available_size);`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--import=tsx', '--input-type=module', '-e'],
      script,
    ]);
    return Number(stdout) / MIB;
  };
  const [bounded, free] = [await run('young.bound();'), await run('')];
  t.ok(bounded > 2 && bounded <= 8, `bounded: ${bounded} MiB`);
  t.ok(free > bounded, `else ${free} MiB`);
});
