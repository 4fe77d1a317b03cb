// How far V8's space for new objects grows.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import t from 'tap';

import { YoungSpace } from '../../src/os/young-space.js';

const MIB = 1 << 20;
const FIXED = '--semi-space-growth-factor=1';
const GROWING = '--semi-space-growth-factor=2';

/** What V8 says of spaces of 1, 2 and 4 MiB: a part of them is not for objects. */
const [ONE, TWO, FOUR] = [1_030_880, 2_061_760, 4_123_520];

/** A space whose size the test sets, the flags that were set, and what is to be done later. */
function space() {
  const size = { bytes: ONE };
  const flags: string[] = [];
  const later: (() => void)[] = [];
  const young = new YoungSpace({
    bytes: () => size.bytes,
    setFlag: flag => void flags.push(flag),
    after: (_ms, then) => void later.push(then),
  });
  return { size, flags, later, young };
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

void t.test('at many questions it may grow to four MiB, and again after V8 has made it smaller', t => {
  const made = space();
  made.young.bound();
  ask(made.young, 511);
  t.same(made.flags, [FIXED]);
  made.size.bytes = TWO;
  ask(made.young, 512);
  t.same(made.flags, [FIXED, GROWING], 'V8 may double it');
  made.size.bytes = FOUR;
  ask(made.young, 512);
  t.same(made.flags, [FIXED, GROWING, FIXED]);
  made.size.bytes = ONE;
  ask(made.young, 512);
  t.same(made.flags, [FIXED, GROWING, FIXED, GROWING]);
  t.end();
});

void t.test('a moment after the questions it does not grow any more', t => {
  const made = space();
  made.young.bound();
  ask(made.young, 2048);
  t.equal(made.later.length, 1);
  made.later[0]?.();
  t.same(made.flags, [FIXED, GROWING, FIXED]);
  ask(made.young, 512);
  t.same(made.flags, [FIXED, GROWING, FIXED, GROWING]);
  t.end();
});

void t.test('V8 keeps to it', async t => {
  const run = async (bound: string, asked: string): Promise<number> => {
    const script = `
      import { getHeapSpaceStatistics } from 'node:v8';
      const { YoungSpace } = await import(${JSON.stringify(new URL('../../src/os/young-space.ts', import.meta.url).href)});
      const young = new YoungSpace();
      ${bound}
      const kept = new Array(20_000);
      for (let i = 0; i < 3_000_000; i++) {
        kept[i % kept.length] = { of: [i] };
        ${asked}
      }
      const space = getHeapSpaceStatistics().find(each => each.space_name === 'new_space');
      console.log(space.space_used_size + space.space_available_size);`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...['--import=tsx', '--input-type=module', '-e'],
      script,
    ]);
    return Number(stdout) / MIB;
  };
  const asked = 'if (i % 10 === 0) young.asked();';
  const bounded = await run('young.bound();', asked);
  const idle = await run('young.bound();', '');
  const free = await run('', asked);
  t.ok(bounded > 2 && bounded < 5, `bounded: ${bounded} MiB`);
  t.ok(idle < bounded, `without questions: ${idle} MiB`);
  t.ok(free > bounded, `else ${free} MiB`);
});
