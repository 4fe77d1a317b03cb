// Carries out the steps of an installation, and undoes them if one fails.

import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { DNS_PORT } from '../base/port-numbers.js';
import { INSTALLED_CONFIG, loadConfig, problemReport } from '../config/load.js';
import { loopbackHolders } from '../os/port-holder.js';
import { answers } from './alive.js';
import { resolvConfFor } from './resolv-conf.js';
import { BLOCK, MARK, type RunStep, type Step, stepText } from './steps.js';
import { wayOut } from './way-out.js';

/** How often the daemon is queried, a second apart, until it answers: it starts slowly on a small machine. */
const ASK_TRIES = 10;
const LISTENER = { address: '127.0.0.1', port: DNS_PORT };
/** Signed, reserved (RFC 2606), and not the name that was asked for before: that one is in the cache. */
const NAME = 'example.net';
const RESOLVE_TRIES = 5;
/** Programs that have been told to read their files anew need a moment. */
const RESOLVE_PAUSE_MS = 1500;
const COMMAND_MS = 90_000;
const JOURNAL = ['journalctl', '--unit=dotstub', '--lines=5', '--output=cat', '--no-pager'];
/** Administrators' tools, for a shell of root that has not got them in its PATH. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

/** Directories that no package has, and that are there for a file of ours. */
const DROP_INS = /^\/etc\/systemd\/.*\.d$/;

/** States of units that do not run, and are not about to. */
const RESTING: ReadonlySet<string> = new Set(['inactive', 'failed', 'unknown']);

/** What was at a path. */
type Before =
  | { readonly is: 'absent' }
  | { readonly is: 'link'; readonly target: string }
  | { readonly is: 'file'; readonly octets: Buffer; readonly mode: number; readonly uid: number; readonly gid: number };

/** Carries out steps. */
export class CarryingOut {
  /** What undoes the steps so far, in their order. A text is a problem. */
  private readonly undoings: (() => string | undefined)[] = [];
  /** Commands to run again once the files are as they were, in their order. */
  private readonly again: (readonly string[])[] = [];

  /**
   * @param root the tree that is worked on; undefined: the running system
   */
  constructor(
    private readonly root: string | undefined,
    private readonly say: (line: string) => void,
  ) {}

  /**
   * Carries out one step.
   * @returns the problem; undefined: it is done
   */
  async step(step: Step): Promise<string | undefined> {
    this.say(stepText(step));
    try {
      return await this.carryOut(step);
    } catch (error) {
      return `${stepText(step)}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** Undoes all steps, the last one first. @returns what could not be undone */
  undo(): string[] {
    const problems: (string | undefined)[] = [];
    for (let undo = this.undoings.pop(); undo !== undefined; undo = this.undoings.pop()) problems.push(attempt(undo));
    for (const command of this.again) problems.push(this.run(command));
    return problems.filter(problem => problem !== undefined);
  }

  private async carryOut(step: Step): Promise<string | undefined> {
    switch (step.does) {
      case 'write':
        if (step.keep === true && existsSync(this.at(step.path))) return undefined;
        this.write(step.path, step.text);
        if (step.executable === true) chmodSync(this.at(step.path), 0o755);
        return undefined;
      case 'remove':
        this.remember(step.path);
        rmSync(this.at(step.path), { force: true });
        if (DROP_INS.test(dirname(step.path))) this.leaveDirectory(dirname(this.at(step.path)));
        return undefined;
      case 'save':
        // A second installation must not save the file that the first one has written.
        if (this.ownText(step.path)?.startsWith(MARK) !== true) this.copy(step.path, step.to);
        return undefined;
      case 'restore':
        this.copy(step.from, step.path);
        this.remember(step.from);
        rmSync(this.at(step.from));
        return undefined;
      case 'point':
        this.write(step.path, resolvConfFor(this.ownText(step.path) ?? ''));
        return undefined;
      case 'block':
      case 'unblock':
        this.block(step.path, step.does === 'block' ? step.text : undefined);
        return undefined;
      case 'run':
        return this.command(step);
      case 'check': {
        const checked = loadConfig(this.at(step.path));
        return checked.ok ? undefined : problemReport(step.path, checked.problems);
      }
      case 'free':
        return this.portTaken();
      case 'ask':
        return (await answers(LISTENER, ASK_TRIES))
          ? undefined
          : `dotstub does not answer on ${LISTENER.address} port ${LISTENER.port}${this.journal()}`;
      case 'prove':
        return this.prove();
      case 'resolve':
        return resolved();
    }
  }

  private at(path: string): string {
    return join(this.root ?? '/', path);
  }

  /** The text of a file of the tree; undefined: there is none, or a link that would lead out of the tree. */
  private ownText(path: string): string | undefined {
    return this.root !== undefined && isLink(this.at(path)) ? undefined : textAt(this.at(path));
  }

  /** Notes what is at a path, and that it has to be there again. */
  private remember(path: string): void {
    const before = beforeAt(this.at(path));
    this.undoings.push(() => {
      putBack(this.at(path), before);
      return undefined;
    });
  }

  /** Makes the directory of a path, and notes the part of it that was not there. */
  private makeDirectory(path: string): void {
    const first = mkdirSync(dirname(this.at(path)), { recursive: true });
    if (first === undefined) return;
    this.undoings.push(() => {
      for (let each = dirname(this.at(path)); each.startsWith(first); each = dirname(each)) removeIfEmpty(each);
      return undefined;
    });
  }

  /** Removes a directory of which nothing is left. */
  private leaveDirectory(directory: string): void {
    if (!removeIfEmpty(directory)) return;
    this.undoings.push(() => {
      mkdirSync(directory, { recursive: true });
      return undefined;
    });
  }

  /**
   * Writes a file. A link is replaced, not followed: its target belongs to another program. A file that is there keeps its
   * owner, its mode, and its mounts in other namespaces: a DHCP client may see no other file of that name.
   */
  private write(path: string, text: string | Buffer): void {
    this.makeDirectory(path);
    this.remember(path);
    if (isLink(this.at(path))) rmSync(this.at(path));
    writeFileSync(this.at(path), text, { mode: 0o644 });
  }

  /** Copies a file. A link that is relative leads to the same file from its new place. */
  private copy(from: string, to: string): void {
    const before = beforeAt(this.at(from));
    if (before.is === 'absent') return;
    if (before.is === 'file') {
      this.write(to, before.octets);
      return;
    }
    this.makeDirectory(to);
    this.remember(to);
    const target = before.target.startsWith('/')
      ? before.target
      : relative(dirname(to), resolve(dirname(from), before.target));
    rmSync(this.at(to), { force: true });
    symlinkSync(target, this.at(to));
  }

  /** Puts a block into a file in place of the one that is there, or (undefined) takes that one out. */
  private block(path: string, lines: string | undefined): void {
    const next = withBlock(this.ownText(path) ?? '', lines);
    if (next !== '') {
      this.write(path, next);
      return;
    }
    this.remember(path);
    rmSync(this.at(path), { force: true });
  }

  private command(step: RunStep): string | undefined {
    const { command, undo, links = [], starts } = step;
    for (const link of links) {
      this.makeDirectory(link);
      this.remember(link);
    }
    if (undo === 'again') this.again.push(command);
    else if (undo !== undefined) this.undoings.push(() => this.run(undo));
    if (starts !== undefined) this.noteRunning(command[0] ?? '', starts);
    return this.run(command);
  }

  /** Notes which units run, and that no others have to. */
  private noteRunning(systemctl: string, units: readonly string[]): void {
    const stateOf = (unit: string): string =>
      spawnSync(systemctl, ['is-active', unit], { encoding: 'utf8' }).stdout.trim();
    const resting = units.filter(unit => RESTING.has(stateOf(unit)));
    const running = units.filter(unit => !resting.includes(unit));
    if (resting.length > 0) this.undoings.push(() => this.run([systemctl, 'stop', ...resting]));
    if (running.length > 0) this.again.push([systemctl, 'restart', ...running]);
  }

  /** Runs a command on the system or on the tree. What it prints is of interest only if it fails. */
  private run(command: readonly string[]): string | undefined {
    const [program = '', ...args] = command;
    const { status, error, stdout, stderr } = spawnSync(
      program,
      this.root === undefined ? args : [`--root=${this.root}`, ...args],
      { encoding: 'utf8', timeout: COMMAND_MS, env: { ...process.env, PATH } },
    );
    if (status === 0) return undefined;
    if (error !== undefined) return `${command.join(' ')} could not be run: ${error.message}`;
    const printed = `${stdout}${stderr}`.trimEnd();
    return `${command.join(' ')} ended with ${status ?? 'a signal'}${printed === '' ? '' : `:\n${printed}`}${this.journal()}`;
  }

  /** The last that the service has said, as an addition to a problem. */
  private journal(): string {
    if (this.root !== undefined) return '';
    const [program = '', ...args] = JOURNAL;
    const { stdout, status } = spawnSync(program, args, { encoding: 'utf8' });
    return status !== 0 || stdout.trim() === '' ? '' : `\nThe last of the service's log:\n${stdout.trimEnd()}`;
  }

  private portTaken(): string | undefined {
    // Of an installation before this one.
    if (spawnSync('systemctl', ['is-active', '--quiet', 'dotstub.socket']).status === 0) return undefined;
    const holders = loopbackHolders(DNS_PORT);
    if (holders === undefined) return undefined;
    const names = holders.map(
      ({ name, pid, unit }) => `${name} (process ${pid}${unit === undefined ? '' : `, ${unit}`})`,
    );
    const units = [...new Set(holders.flatMap(({ unit }) => unit ?? []))];
    const by = names.length === 0 ? 'another program' : names.join(' and ');
    const mend = units.length === 0 ? '' : ` ("systemctl disable --now ${units.join(' ')}")`;
    return `port ${DNS_PORT} of ${LISTENER.address} is in use by ${by}: switch that off for good first${mend}`;
  }

  private async prove(): Promise<string | undefined> {
    const checked = loadConfig(this.at(INSTALLED_CONFIG));
    if (!checked.ok) return problemReport(INSTALLED_CONFIG, checked.problems);
    const { control, dnssec } = checked.config;
    const { found, words } = await wayOut(LISTENER, { socket: control.socket, dnssecMode: dnssec.mode });
    if (!found)
      return `no names can be found through dotstub on this network. ${words.join(' ')}\n"dotstub install --no-dns" starts the service alone, to find out more ("dotstub status")`;
    for (const each of words) this.say(`  ${each}`);
    return undefined;
  }
}

/** Resolves a name with the C library, as programs do. */
async function resolved(): Promise<string | undefined> {
  let problem = '';
  for (let i = 0; i < RESOLVE_TRIES; i++) {
    await sleep(RESOLVE_PAUSE_MS);
    try {
      await lookup(NAME);
      return undefined;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
  }
  return `programs do not find ${NAME} through dotstub: ${problem}`;
}

/** The text of a file with a block of ours at its end, in place of another; undefined: without one. */
export function withBlock(text: string, lines: string | undefined): string {
  const from = text.indexOf(BLOCK.first);
  const end = text.indexOf(BLOCK.last, from);
  const without =
    from < 0 || end < 0 ? text : text.slice(0, from) + text.slice(end + BLOCK.last.length).replace(/^\n/, '');
  if (lines === undefined) return without;
  const start = without === '' || without.endsWith('\n') ? without : `${without}\n`;
  return `${start}${BLOCK.first}\n${lines}\n${BLOCK.last}\n`;
}

function attempt(undo: () => string | undefined): string | undefined {
  try {
    return undo();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function beforeAt(path: string): Before {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return { is: 'absent' };
  if (stat.isSymbolicLink()) return { is: 'link', target: readlinkSync(path) };
  return { is: 'file', octets: readFileSync(path), mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
}

function putBack(path: string, before: Before): void {
  if (before.is !== 'file' || isLink(path)) rmSync(path, { force: true });
  if (before.is === 'link') {
    // "systemctl disable" removes directories that are empty then.
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(before.target, path);
  }
  if (before.is !== 'file') return;
  writeFileSync(path, before.octets, { mode: before.mode });
  // The umask does not count here.
  chmodSync(path, before.mode);
  chownSync(path, before.uid, before.gid);
}

/** @returns whether it was there, and empty */
function removeIfEmpty(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    // Somebody else has put something there.
    if (!['ENOTEMPTY', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return false;
  }
}

/** The text of a file, also behind a link; undefined: there is none. */
const textAt = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);

const isLink = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
