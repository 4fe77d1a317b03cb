// The client of the control socket, for commands.

import { connect } from 'node:net';

import { type ControlReply, type ControlRequest, statusSocketOf } from './protocol.js';

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

/** What came of it: a reply, or the system's error. */
type Asked =
  | { readonly at: 'reply'; readonly reply: ControlReply }
  | { readonly at: 'error'; readonly code: string; readonly words: string };

/** Sends a command to the daemon. */
export const askDaemon = async (path: string, request: ControlRequest): Promise<ControlReply> =>
  replyOf(path, await ask(path, request));

/**
 * Sends a command that only reads, and that every user may give: over the socket for commands to those who may use it,
 * else over the one for everybody.
 */
export async function askStatus(path: string, request: ControlRequest): Promise<ControlReply> {
  const asked = await ask(path, request);
  if (asked.at === 'reply' || asked.code !== 'EACCES') return replyOf(path, asked);
  const open = statusSocketOf(path);
  const again = await ask(open, request);
  // Without such a socket, the permission is what is missing.
  return again.at === 'error' && again.code === 'ENOENT' ? replyOf(path, asked) : replyOf(open, again);
}

function replyOf(path: string, asked: Asked): ControlReply {
  return asked.at === 'reply' ? asked.reply : { ok: false, problem: `${path}: ${asked.words}` };
}

async function ask(path: string, request: ControlRequest): Promise<Asked> {
  return new Promise(resolve => {
    let text = '';
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`));
    const fail = (words: string, code = ''): void => {
      socket.destroy();
      resolve({ at: 'error', code, words });
    };
    // For the whole reply, whatever comes meanwhile.
    const timer = setTimeout(() => fail('no answer'), TIMEOUT_MS);
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MOST_CHARACTERS) fail(NOT_OURS);
    });
    socket.on('close', () => clearTimeout(timer));
    socket.on('error', ({ code = '', message }: NodeJS.ErrnoException) => fail(ERROR_WORDS[code] ?? message, code));
    socket.on('end', () => {
      socket.destroy();
      try {
        resolve({ at: 'reply', reply: JSON.parse(text) as ControlReply });
      } catch {
        resolve({ at: 'error', code: '', words: text === '' ? BUSY : NOT_OURS });
      }
    });
  });
}
