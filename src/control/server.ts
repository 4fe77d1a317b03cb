// The control socket: users who may write to it (the owner and group of its file) can command the running daemon. A
// second one of the same kind only reads, and is for every user.

import { chmodSync, chownSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';

import type { Clock, Log } from '../base/ports.js';
import { type ControlReply, readRequest } from './protocol.js';
import { ControlSession } from './session.js';

/** A command. */
export interface ControlCommand {
  /**
   * Runs it. A problem is a reply. If this throws or rejects, that is a bug: it is logged, and the client gets an
   * error.
   */
  readonly run: (args: readonly string[]) => ControlReply | Promise<ControlReply>;
}

/** The table of commands. */
export type ControlCommands = Readonly<Record<string, ControlCommand>>;

/** The parts of the socket. */
export interface ControlParts {
  readonly path: string;
  /** Who may use it: the owner and this group (undefined: the group of the process), or every user. */
  readonly group: number | 'everyone' | undefined;
  readonly commands: ControlCommands;
  readonly clock: Clock;
  readonly log: Log;
  /** The most connections at the same time, and commands that run over them. */
  readonly maxSessions: number;
}

const FILE_MODE = 0o660;
const OPEN_MODE = 0o666;
const PROBE_MS = 500;

/**
 * Listens. @throws Error, with the system's code, if the socket cannot be made
 */
export async function listenControl({
  path,
  group,
  commands,
  clock,
  log,
  maxSessions,
}: ControlParts): Promise<{ close(): void }> {
  await removeStale(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  /** The oldest first. */
  const sessions = new Set<ControlSession>();
  const busy = lineOf({ ok: false, problem: `${maxSessions} commands are being answered already` });
  /** Commands that run. Those whose clients are gone keep no place, and yet have a bound. */
  let running = 0;
  const answer = async (line: string): Promise<string> => {
    if (running >= 2 * maxSessions) return busy;
    running++;
    const reply = await answered(line, commands, log);
    running--;
    return reply;
  };
  const server = createServer({ allowHalfOpen: true }, socket => {
    const session = new ControlSession(socket, clock, answer);
    sessions.add(session);
    socket.on('close', () => sessions.delete(session));
    if (sessions.size <= maxSessions) return;
    // The connection that has done nothing for the longest time, or has its reply, makes room.
    const idle = [...sessions].find(each => each !== session && !each.isRunning);
    if (idle === undefined) return session.reply(busy);
    sessions.delete(idle);
    idle.destroy();
  });
  // This includes refused connections, which are the first to make room.
  server.maxConnections = 2 * maxSessions;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // It is created with access for nobody else, and opened to others afterwards.
    const before = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      // For example EMFILE while accepting: that connection is lost, the socket stays.
      server.on('error', error => log.warn({ socket: path }, `${path}: ${error.message} (control.socket)`));
      resolve();
    });
    process.umask(before);
  });
  if (typeof group === 'number') chownSync(path, -1, group);
  chmodSync(path, group === 'everyone' ? OPEN_MODE : FILE_MODE);
  return {
    close() {
      server.close();
      for (const each of sessions) each.destroy();
    },
  };
}

/** The reply to a line, as a line. Never rejects. */
async function answered(line: string, commands: ControlCommands, log: Log): Promise<string> {
  const request = readRequest(line);
  if (request === undefined)
    return lineOf({ ok: false, problem: 'the request is not a line of JSON with "command" and "args"' });
  const { command: name, args } = request;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined)
    return lineOf({
      ok: false,
      problem: `this daemon knows no command ${JSON.stringify(name)}; it knows: ${Object.keys(commands).join(', ')}`,
    });
  try {
    return lineOf(await command.run(args));
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
    log.error({ command: name, stack }, `the command "${name}" failed: ${message}. This is a bug: please report it`);
    return lineOf({ ok: false, problem: `the daemon could not do it: ${message} (its log says more)` });
  }
}

const lineOf = (reply: ControlReply): string => `${JSON.stringify(reply)}\n`;

/**
 * Removes a socket that no process listens on. Only a refused connection shows that: after a full backlog (EAGAIN), a
 * missing permission or a timeout, a process may be listening.
 */
async function removeStale(path: string): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return;
  const found = await new Promise<'stale' | 'gone' | 'in use'>(resolve => {
    const socket = connect(path);
    const done = (what: 'stale' | 'gone' | 'in use'): void => {
      socket.destroy();
      resolve(what);
    };
    socket.once('connect', () => done('in use'));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      done(code === 'ECONNREFUSED' ? 'stale' : code === 'ENOENT' ? 'gone' : 'in use'),
    );
    socket.setTimeout(PROBE_MS, () => done('in use'));
  });
  if (found === 'in use') throw Object.assign(new Error(`${path} is in use`), { code: 'EADDRINUSE' });
  if (found === 'stale') unlinkSync(path);
}
