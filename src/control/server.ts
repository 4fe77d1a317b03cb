// The control socket: those who may write to it (its file's owner and group) may tell the running daemon what to do.

import { chmodSync, chownSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';

import type { Log } from '../base/ports.js';
import { type ControlReply, readRequest } from './protocol.js';
import { ControlSession } from './session.js';

/** A command. */
export interface ControlCommand {
  /** What is wrong is a reply. If it throws or rejects, that is a bug: it is logged, and the client is told. */
  readonly run: (args: readonly string[]) => ControlReply | Promise<ControlReply>;
}

/** The table. */
export type ControlCommands = Readonly<Record<string, ControlCommand>>;

/** What the socket is made from. */
export interface ControlParts {
  readonly path: string;
  /** The number of the group that may use it; undefined: the one of the process. */
  readonly group: number | undefined;
  readonly commands: ControlCommands;
  readonly log: Log;
  /** How many commands may be answered at one time. */
  readonly maxSessions: number;
}

const FILE_MODE = 0o660;
const PROBE_MS = 500;

/**
 * Listens.
 * @throws Error, with the system's code, if the socket cannot be made
 */
export async function listenControl({
  path,
  group,
  commands,
  log,
  maxSessions,
}: ControlParts): Promise<{ close(): void }> {
  await removeStale(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const sessions = new Set<ControlSession>();
  const server = createServer({ allowHalfOpen: true }, socket => {
    const session = new ControlSession(socket, async line => answer(line, commands, log));
    if (sessions.size >= maxSessions) {
      session.refuse(lineOf({ ok: false, problem: `${maxSessions} commands are being answered already` }));
      return;
    }
    sessions.add(session);
    socket.on('close', () => sessions.delete(session));
  });
  // Refused ones are among them, and end soon.
  server.maxConnections = 2 * maxSessions;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Made closed to everybody, opened to the group when it is there.
    const before = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      // E.g. EMFILE while accepting: that connection is lost, the socket stays.
      server.on('error', error => log.warn({ socket: path }, `${path}: ${error.message} (control.socket)`));
      resolve();
    });
    process.umask(before);
  });
  if (group !== undefined) chownSync(path, -1, group);
  chmodSync(path, FILE_MODE);
  return {
    close() {
      server.close();
      for (const each of sessions) each.destroy();
    },
  };
}

/** The answer to a line, as a line. Never rejects. */
async function answer(line: string, commands: ControlCommands, log: Log): Promise<string> {
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
 * Removes a socket that nobody listens at any more. Only a refused connection says so: a full backlog (EAGAIN), no right to ask
 * or no answer mean that somebody does.
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
