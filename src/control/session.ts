// One connection to the control socket: reads a line, sends the reply, and closes.

import type { Socket } from 'node:net';

import type { Cancel, Clock } from '../base/ports.js';
import { MAX_REQUEST_BYTES } from './protocol.js';

/** For the whole line. */
const REQUEST_MS = 5000;
/** For the command. */
const RUN_MS = 15_000;
/** For the client to take the reply. */
const LINGER_MS = 5000;
const TOO_LONG = `${JSON.stringify({ ok: false, problem: `the request is longer than ${MAX_REQUEST_BYTES} octets` })}\n`;

type State =
  /** `heard`: the line so far, one character per octet. */
  { readonly at: 'reading'; heard: string } | { readonly at: 'running' | 'replied' };

/** A connection, from outside. */
export class ControlSession {
  private state: State = { at: 'reading', heard: '' };
  private cancel: Cancel = () => undefined;

  /**
   * Begins to read.
   * @param answer called once with the line, if one arrives; must not reject
   */
  constructor(
    private readonly socket: Socket,
    private readonly clock: Clock,
    private readonly answer: (line: string) => Promise<string>,
  ) {
    // A client that is gone needs no reply.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.cancel());
    socket.on('data', chunk => this.data(chunk));
    socket.on('end', () => this.ended());
    this.enter(this.state, REQUEST_MS);
  }

  /** Whether its command is running. */
  get isRunning(): boolean {
    return this.state.at === 'running';
  }

  /** Sends a reply, without a request too. */
  reply(reply: string): void {
    this.enter({ at: 'replied' }, LINGER_MS);
    this.socket.end(reply);
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Enters a state, which may last this long. */
  private enter(state: State, mostMs: number): void {
    this.cancel();
    this.state = state;
    this.cancel = this.clock.after(mostMs, () => this.socket.destroy());
  }

  /** The client has closed its side. */
  private ended(): void {
    // The line is incomplete, and no more will come.
    if (this.state.at === 'reading') this.socket.destroy();
    // The client may still read the reply, or may be gone. Writing a blank before the JSON shows that: it fails if the
    // client is gone.
    else if (this.state.at === 'running') this.socket.write(' ');
  }

  private data(chunk: Buffer): void {
    const { state } = this;
    if (state.at !== 'reading') {
      // Nothing belongs after the line. A client that goes on writing has to wait, and may read its reply.
      if (this.socket.bytesRead > 2 * MAX_REQUEST_BYTES) this.socket.pause();
      return;
    }
    const end = chunk.indexOf('\n');
    const bytes = end === -1 ? chunk.length : end;
    if (state.heard.length + bytes > MAX_REQUEST_BYTES) return this.reply(TOO_LONG);
    state.heard += chunk.toString('latin1', 0, bytes);
    if (end === -1) return;
    const line = Buffer.from(state.heard, 'latin1').toString('utf8');
    this.enter({ at: 'running' }, RUN_MS);
    void this.answer(line).then(reply => this.reply(reply));
  }
}
