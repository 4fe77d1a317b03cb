// Runs main.js, and keeps the code that V8 has compiled for it: compiling would be half of a start. That file is as
// trusted as the program, so it is only read from, and written to, directories in which nobody else can write.

import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';

import { compileInPlace, IN_PLACE } from './os/compiling.js';

/** The SHA-256 of main.js, which the build writes here: to compute it would take a millisecond of each start. */
declare const MAIN_SUM: string;

/** The exports of main.js. */
interface Main {
  main(started: () => void): Promise<void>;
}
/** What main.js is: the function that Node.js would make of a module. */
type Run = (exports: Partial<Main>, require: NodeJS.Require, module: object, file: string, directory: string) => void;

const SUM_BYTES = 32;
const OTHERS_WRITE = 0o022;
/** Not a directory, no right, a full disk and the like: then the program compiles, as without the file. */
const isSystemError = (error: unknown): boolean => error instanceof Error && 'code' in error;

/** V8 refuses code that was compiled with other flags, but for where it is compiled: the daemon's is for its commands, too. */
const FLAGS = JSON.stringify([
  process.version,
  process.arch,
  process.execArgv.filter(flag => flag !== IN_PLACE),
  process.env['NODE_OPTIONS'],
]);

/** Whether this is the main.js that the sum is of. In the middle of an upgrade, one of the two files is of before. */
const isOurs = (main: string): boolean => createHash('sha256').update(main, 'latin1').digest('hex') === MAIN_SUM;

const sum = (code: Buffer): Buffer => createHash('sha256').update(MAIN_SUM).update(FLAGS).update(code).digest();

/** Whether only root and this user can write there. */
function isPrivate({ uid, mode }: { readonly uid: number; readonly mode: number }): boolean {
  return (uid === 0 || uid === process.getuid?.()) && (mode & OTHERS_WRITE) === 0;
}

/** The value, or undefined where the system refuses. */
function unlessRefused<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (isSystemError(error)) return undefined;
    throw error;
  }
}

/** Reads a file of ours. V8 would believe a damaged one, so it begins with a checksum. */
function read(path: string): Buffer | undefined {
  return unlessRefused(() => {
    if (!isPrivate(statSync(dirname(path)))) return undefined;
    const fd = openSync(path, 'r');
    try {
      if (!isPrivate(fstatSync(fd))) return undefined;
      const octets = readFileSync(fd);
      const code = octets.subarray(SUM_BYTES);
      return sum(code).equals(octets.subarray(0, SUM_BYTES)) ? code : undefined;
    } finally {
      closeSync(fd);
    }
  });
}

/** Writes the file as a whole or not at all. @param compiled is only called where it can be written: it takes its time */
function write(path: string, compiled: () => Buffer): boolean {
  const part = `${path}.${process.pid}`;
  const isWritten = unlessRefused(() => {
    if (!isPrivate(statSync(dirname(path)))) return false;
    accessSync(dirname(path), constants.W_OK);
    const code = compiled();
    writeFileSync(part, Buffer.concat([sum(code), code]), { mode: 0o644, flag: 'wx' });
    renameSync(part, path);
    return true;
  });
  if (isWritten === undefined) unlessRefused(() => rmSync(part, { force: true }));
  return isWritten === true;
}

/** Runs main.js. A function of its own: what it has read is not needed for longer. */
function start(directory: string): void {
  const file = join(directory, 'main.js');
  // Beside the program; or where that is read-only, in the directory that systemd has made for the service.
  const [state] = (process.env['STATE_DIRECTORY'] ?? '').split(':');
  const places = [directory, ...(state === undefined || state === '' ? [] : [state])].map(each =>
    join(each, 'main.compiled'),
  );
  const compiled = places.reduce<Buffer | undefined>((found, path) => found ?? read(path), undefined);
  // It is ASCII, which is read fastest like this.
  const source = readFileSync(file, 'latin1');
  const script = new Script(source, {
    filename: file,
    ...(compiled === undefined ? {} : { cachedData: compiled }),
  });
  const isKept = compiled !== undefined && script.cachedDataRejected !== true;
  const keep = (): void => {
    // V8 only compares the length, so what is compiled from other code would be run in place of ours.
    if (!isKept && isOurs(source)) places.some(path => write(path, () => script.createCachedData()));
  };
  const module = { exports: {} as Partial<Main> };
  const run = script.runInThisContext() as Run;
  run(module.exports, createRequire(file), module, file, directory);
  // What it throws must end the process, as everywhere.
  void module.exports.main?.(keep);
}

compileInPlace();
start(__dirname);
