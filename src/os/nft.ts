// Runs commands of nft(8). It reads them from its standard input up to the end, so each batch needs a process of its own.
// The next one is started ahead and waits: starting it takes longer than the commands.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** How long commands may take. */
const MOST_MS = 5000;
/** What is read of its errors. */
const MOST_WORDS = 1000;
/** Where it is on systems that leave these out of the PATH of services. */
const MORE_PATH = '/usr/sbin:/sbin';

/** A process of nft. */
class NftProcess {
  /** Undefined: it runs. */
  private result: { readonly problem: string | undefined } | undefined = undefined;
  private words = '';
  private then: ((problem: string | undefined) => void) | undefined = undefined;
  private readonly child: ChildProcessByStdio<Writable, null, Readable>;
  private timer: NodeJS.Timeout | undefined = undefined;

  constructor() {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:${MORE_PATH}` };
    this.child = spawn('nft', ['-f', '-'], { env, stdio: ['pipe', 'ignore', 'pipe'] });
    this.child.stderr.on('data', (chunk: Buffer) => {
      if (this.words.length < MOST_WORDS) this.words += chunk.toString();
    });
    // It has ended, and `close` says why.
    this.child.stdin.on('error', () => undefined);
    this.child.on('error', (error: NodeJS.ErrnoException) =>
      this.end(error.code === 'ENOENT' ? 'nft is not installed' : `nft cannot be started: ${error.message}`),
    );
    this.child.on('close', (code, signal) =>
      this.end(code === 0 ? undefined : (problemIn(this.words) ?? `nft ended with ${code ?? signal ?? 'an error'}`)),
    );
  }

  /** Whether it waits for commands. */
  get waits(): boolean {
    return this.result === undefined;
  }

  run(commands: string, then: (problem: string | undefined) => void): void {
    this.then = then;
    this.timer = setTimeout(() => {
      this.child.kill('SIGKILL');
      this.end(`nft has not ended within ${MOST_MS / 1000} s`);
    }, MOST_MS);
    this.child.stdin.end(commands);
  }

  /** Ends it. */
  close(): void {
    this.then = undefined;
    clearTimeout(this.timer);
    this.child.kill();
  }

  private end(problem: string | undefined): void {
    if (this.result !== undefined) return;
    this.result = { problem };
    clearTimeout(this.timer);
    this.then?.(problem);
  }
}

/** The first line of an error message, without the place in the commands. */
function problemIn(words: string): string | undefined {
  const line = words.split('\n').find(each => each.trim() !== '');
  return line
    ?.replace(/^\S*:\d+:\d+-\d+: /, '')
    .replace(/^Error: /, '')
    .trim();
}

/** Runs commands, one batch after the other. */
export class Nft {
  private next: NftProcess | undefined = undefined;
  private current: NftProcess | undefined = undefined;
  private isClosed = false;

  /**
   * Runs commands, all or none. The caller waits for the end before it runs others.
   * @param then called with what is wrong, for people; undefined: they were carried out
   */
  run(commands: string, then: (problem: string | undefined) => void): void {
    if (this.isClosed) return then('it is closed');
    const process = this.next?.waits === true ? this.next : new NftProcess();
    this.next = undefined;
    this.current = process;
    process.run(commands, problem => {
      this.current = undefined;
      then(problem);
      // After the reply. Where it fails, the next one is started when it is needed.
      if (problem === undefined && !this.isClosed) this.next ??= new NftProcess();
    });
  }

  /** Ends the processes. */
  close(): void {
    this.isClosed = true;
    this.next?.close();
    this.current?.close();
  }
}
