// The client of the control socket, for commands.

import { connect } from 'node:net';

import type { ControlReply, ControlRequest } from './protocol.js';

/** The longest command is a trace: twice the time of a question that no server answers. */
const TIMEOUT_MS = 15_000;
/** The longest reply: metrics of many servers. */
const MOST_CHARACTERS = 1 << 24;

const NOT_OURS = 'what answered is not dotstub';
const BUSY = 'it is there, but too busy to take another command: try again';
const ERROR_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket: is the daemon running, and is this its control.socket?',
  ECONNREFUSED: 'nobody listens there: the daemon has ended',
  EACCES: 'no permission: be root, or in the group of the socket',
  EAGAIN: BUSY,
  // It closed the connection without a look at the command: it has as many as it takes.
  EPIPE: BUSY,
  ECONNRESET: BUSY,
};

/** Sends a command to the daemon. */
export async function askDaemon(path: string, request: ControlRequest): Promise<ControlReply> {
  return new Promise(resolve => {
    let text = '';
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`));
    const fail = (problem: string): void => {
      socket.destroy();
      resolve({ ok: false, problem: `${path}: ${problem}` });
    };
    // For the whole reply, whatever comes meanwhile.
    const timer = setTimeout(() => fail('no answer'), TIMEOUT_MS);
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MOST_CHARACTERS) fail(NOT_OURS);
    });
    socket.on('close', () => clearTimeout(timer));
    socket.on('error', (error: NodeJS.ErrnoException) => fail(ERROR_WORDS[error.code ?? ''] ?? error.message));
    socket.on('end', () => {
      socket.destroy();
      try {
        resolve(JSON.parse(text) as ControlReply);
      } catch {
        resolve({ ok: false, problem: `${path}: ${text === '' ? BUSY : NOT_OURS}` });
      }
    });
  });
}
