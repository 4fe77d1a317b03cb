// One connection to the control socket: reads a line, has it answered, and closes.

import type { Socket } from 'node:net';

import { MAX_REQUEST_BYTES } from './protocol.js';

/** So long a client may be silent, and a command may take. */
const IDLE_MS = 15_000;
/** So long a client has to close its side after the answer. */
const LINGER_MS = 1000;
const TOO_LONG = `${JSON.stringify({ ok: false, problem: `the request is longer than ${MAX_REQUEST_BYTES} octets` })}\n`;

/** A connection, from outside. */
export class ControlSession {
  /** What came of the request so far; undefined: it is complete, and what else comes is thrown away. */
  private heard: Buffer[] | undefined = [];
  private heardBytes = 0;

  /**
   * Begins to read.
   * @param answer called once with the line, for a line; must not reject
   */
  constructor(
    private readonly socket: Socket,
    private readonly answer: (line: string) => Promise<string>,
  ) {
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    // A client that goes away needs no answer.
    socket.on('error', () => socket.destroy());
    socket.on('data', chunk => this.data(chunk));
    socket.on('end', () => this.ended());
  }

  /** Answers without a question. */
  refuse(reply: string): void {
    this.heard = undefined;
    this.reply(reply);
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The client has closed its side. */
  private ended(): void {
    // The line never came: nothing is left to do.
    if (this.heard !== undefined) this.socket.destroy();
    // It may still read the answer, or be gone altogether. A blank in front of the JSON tells: writing it fails if it is gone.
    else if (!this.socket.writableEnded) this.socket.write(' ');
  }

  private data(chunk: Buffer): void {
    if (this.heard === undefined) return;
    this.heard.push(chunk);
    this.heardBytes += chunk.length;
    if (!chunk.includes('\n')) {
      if (this.heardBytes > MAX_REQUEST_BYTES) this.refuse(TOO_LONG);
      return;
    }
    const text = Buffer.concat(this.heard).toString('utf8');
    this.heard = undefined;
    if (this.heardBytes > MAX_REQUEST_BYTES) this.refuse(TOO_LONG);
    else void this.answer(text.slice(0, text.indexOf('\n'))).then(reply => this.reply(reply));
  }

  private reply(reply: string): void {
    this.socket.end(reply);
    this.socket.setTimeout(LINGER_MS);
  }
}
