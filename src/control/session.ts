// One connection to the control socket: reads a line, sends the reply, and closes.

import type { Socket } from 'node:net';

import { MAX_REQUEST_BYTES } from './protocol.js';

/** The longest time that a client may be silent, and that a command may take. */
const IDLE_MS = 15_000;
/** The time in which a client must close its side after the reply. */
const LINGER_MS = 1000;
const TOO_LONG = `${JSON.stringify({ ok: false, problem: `the request is longer than ${MAX_REQUEST_BYTES} octets` })}\n`;

/** A connection, from outside. */
export class ControlSession {
  /** The octets of the request so far; undefined: it is complete, and later octets are ignored. */
  private heard: Buffer[] | undefined = [];
  private heardBytes = 0;

  /**
   * Begins to read.
   * @param answer called once with the line, if one arrives; must not reject
   */
  constructor(
    private readonly socket: Socket,
    private readonly answer: (line: string) => Promise<string>,
  ) {
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    // A client that is gone needs no reply.
    socket.on('error', () => socket.destroy());
    socket.on('data', chunk => this.data(chunk));
    socket.on('end', () => this.ended());
  }

  /** Sends a reply without reading a request. */
  refuse(reply: string): void {
    this.heard = undefined;
    this.reply(reply);
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The client has closed its side. */
  private ended(): void {
    // The line is incomplete, and no more will come.
    if (this.heard !== undefined) this.socket.destroy();
    // The client may still read the reply, or may be gone. Writing a blank before the JSON shows that: it fails if the
    // client is gone.
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
