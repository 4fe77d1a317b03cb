// Standard output whose reader is slow, gone, or a full disk.

import t from 'tap';

import { logger } from '../../src/observe/log.js';
import { type OutputStream, StandardOutput } from '../../src/observe/standard-output.js';
import { fakeClock } from '../fixtures/clock.js';

/** A stream that a test lets through. As standard output, it stays as it is after an error. */
class Stalled implements OutputStream {
  heard = '';
  writableLength = 0;
  private waiting: (() => void)[] | undefined = [];
  private error: Error | undefined;

  on(): this {
    return this;
  }

  write(text: string, then: (error?: Error | null) => void): void {
    this.writableLength += text.length;
    const take = (): void => {
      this.writableLength -= text.length;
      if (this.error === undefined) this.heard += text;
      then(this.error);
    };
    if (this.waiting === undefined) setImmediate(take);
    else this.waiting.push(take);
  }

  /** Takes what waits, and all that comes, or fails with an error. */
  open(error?: Error): void {
    const waiting = this.waiting ?? [];
    this.waiting = undefined;
    this.error = error;
    for (const each of waiting) each();
  }
}

const LINE = `${'x'.repeat(999)}\n`;
/** Turns of the event loop that a line takes at most: to be written, to be taken, and to have another line written. */
const TURNS = 10;
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < TURNS; turn++) await new Promise(resolve => void setImmediate(resolve));
};

await t.test(
  'lines that nobody reads are kept up to a bound, then lost and counted, and that is said once',
  async t => {
    const clock = fakeClock();
    const stream = new Stalled();
    const output = new StandardOutput(stream, clock, (words, lost) => log.warn({ lost }, words));
    const log = logger({ level: 'info', format: 'json' }, output);
    for (let i = 0; i < 3000; i++) output.write(LINE);
    t.ok(stream.writableLength < 1.1 * (1 << 20), `${stream.writableLength} octets wait`);
    const lost = 3000 - Math.floor(stream.writableLength / LINE.length);
    t.equal(output.unwritten, `standard output cannot be written (its reader is too slow): ${lost} lines were lost`);
    log.info({}, 'lost, too');
    t.match(output.unwritten, `${lost + 1} lines were lost`);
    stream.open();
    await settled();
    await clock.advance(10_000);
    output.write('good\n');
    await settled();
    t.equal(output.unwritten, undefined);
    t.match(
      stream.heard,
      new RegExp(`good\\n.*"lost":${lost + 1},.*standard output is written again: .* were lost"}\\n$`),
    );
  },
);

await t.test('a reader that is gone, and a full disk: every line is tried, and counted', async t => {
  for (const [code, words] of [
    ['EPIPE', 'write EPIPE'],
    ['ENOSPC', 'the disk is full'],
  ] as const) {
    const clock = fakeClock();
    const stream = new Stalled();
    let said = '';
    const output = new StandardOutput(stream, clock, sentence => (said = sentence));
    stream.open(Object.assign(new Error(`write ${code}`), { code }));
    for (let i = 0; i < 3; i++) {
      output.write(LINE);
      await settled();
    }
    t.equal(output.unwritten, `standard output cannot be written (${words}): 3 lines were lost`);
    t.equal(said, '');
  }
});

await t.test('the end waits for lines that can be written, and not for those that cannot', async t => {
  const clock = fakeClock();
  const stream = new Stalled();
  const output = new StandardOutput(stream, clock, () => undefined);
  output.write('stopped\n');
  let isOver = false;
  const flushed = output.flush().then(() => (isOver = true));
  await clock.advance(900);
  t.notOk(isOver);
  await clock.advance(200);
  await flushed;
  stream.open();
  await output.flush();
  t.equal(stream.heard, 'stopped\n');
  t.equal(clock.pending, 0);
});
