// The control socket: whoever may write to it (its file's owner and group) may tell the running daemon what to do.

import { chmodSync, chownSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';

import { type ControlReply, MOST_BYTES, readRequest } from './protocol.js';

/** A command. */
export interface ControlCommand {
  /** Never throws; what is wrong is a reply. */
  readonly run: (args: readonly string[]) => ControlReply | Promise<ControlReply>;
}

/** The table. */
export type ControlCommands = Readonly<Record<string, ControlCommand>>;

const MODE = 0o660;
const MOST_SESSIONS = 16;
const IDLE_MS = 15_000;
const PROBE_MS = 500;

/**
 * Listens.
 * @param group the number of the group that may use it; undefined: the one of the process
 * @throws Error, with the system's code, if the socket can not be made
 */
export async function listenControl(
  path: string,
  group: number | undefined,
  commands: ControlCommands,
): Promise<{ close(): void }> {
  await removeStale(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const sessions = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, socket => {
    if (sessions.size >= MOST_SESSIONS) return void socket.destroy();
    sessions.add(socket);
    let text = '';
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('close', () => sessions.delete(socket));
    // A client that goes away needs no answer.
    socket.on('error', () => socket.destroy());
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MOST_BYTES) return void socket.destroy();
      const end = text.indexOf('\n');
      if (end === -1) return;
      socket.pause();
      void answer(text.slice(0, end), commands).then(reply => socket.end(`${JSON.stringify(reply)}\n`));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Made closed to everybody, opened to the group when it is there.
    const before = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      server.on('error', () => undefined);
      resolve();
    });
    process.umask(before);
  });
  if (group !== undefined) chownSync(path, -1, group);
  chmodSync(path, MODE);
  return {
    close() {
      server.close();
      for (const each of sessions) each.destroy();
    },
  };
}

async function answer(line: string, commands: ControlCommands): Promise<ControlReply> {
  const request = readRequest(line);
  if (request === undefined)
    return { ok: false, problem: 'the request is not a line of JSON with "command" and "args"' };
  const command = Object.hasOwn(commands, request.command) ? commands[request.command] : undefined;
  if (command === undefined)
    return {
      ok: false,
      problem: `this daemon knows no command ${JSON.stringify(request.command)}; it knows: ${Object.keys(commands).join(', ')}`,
    };
  return command.run(request.args);
}

/** A socket that nobody listens on any more is in the way. One that somebody does is theirs. */
async function removeStale(path: string): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return;
  const inUse = await new Promise<boolean>(resolve => {
    const socket = connect(path);
    const done = (used: boolean): void => {
      socket.destroy();
      resolve(used);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.setTimeout(PROBE_MS, () => done(true));
  });
  if (inUse) throw Object.assign(new Error(`${path} is in use`), { code: 'EADDRINUSE' });
  unlinkSync(path);
}
