// dnstap to a listener at a Unix socket, in Frame Streams with both sides talking. A listener that is gone or slow costs frames,
// which are counted, and never a query.

import { connect, type Socket } from 'node:net';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { CONTROL, controlFrame, controlKind } from './dnstap.js';

/** What it is made from. */
export interface DnstapStreamParts {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for each frame that is lost. */
  readonly lost: () => void;
}

/** Frames that wait for a slow listener may take so much memory. */
const MAX_WAITING_BYTES = 1 << 20;
/** So long after a connection has ended the next one is made, doubling each time that nobody listens. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
/** So long a listener has to say that it accepts. */
const ACCEPT_MS = 5000;
const MAX_CONTROL_BYTES = 1024;

type State =
  /** Connecting, or READY was said and ACCEPT has not come. */
  | { readonly at: 'opening'; readonly socket: Socket; heard: Buffer; readonly cancel: Cancel }
  | { readonly at: 'streaming'; readonly socket: Socket }
  | { readonly at: 'waiting'; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** The stream. */
export class DnstapStream {
  private state: State;
  private retryMs = FIRST_RETRY_MS;
  /** Frames that were lost since it was said; undefined: none are being lost. */
  private lostFrames: number | undefined;

  /** Connects, and connects anew whenever that is over. */
  constructor(private readonly parts: DnstapStreamParts) {
    this.state = this.open();
  }

  send(frame: Buffer): void {
    if (this.state.at !== 'streaming') this.lose('nobody takes dnstap at', 'until somebody does');
    else if (this.state.socket.writableLength > MAX_WAITING_BYTES)
      this.lose('dnstap is not read quickly enough at', 'until it is');
    else this.state.socket.write(frame, this.written);
  }

  close(): void {
    const { state } = this;
    this.state = { at: 'closed' };
    if (state.at === 'streaming') state.socket.end(controlFrame(CONTROL.STOP));
    else if (state.at !== 'closed') {
      state.cancel();
      if (state.at === 'opening') state.socket.destroy();
    }
  }

  private open(): State {
    const socket = connect(this.parts.path);
    socket.unref();
    socket.on('connect', () => socket.write(controlFrame(CONTROL.READY)));
    socket.on('data', chunk => this.data(chunk));
    // The close says that it ended.
    socket.on('error', () => undefined);
    socket.on('close', () => this.ended(socket));
    const cancel = this.parts.clock.after(ACCEPT_MS, () => socket.destroy());
    return { at: 'opening', socket, heard: Buffer.alloc(0), cancel };
  }

  private data(chunk: Buffer): void {
    const { state } = this;
    if (state.at !== 'opening') return;
    state.heard = Buffer.concat([state.heard, chunk]);
    const kind = controlKind(state.heard);
    if (kind === undefined && state.heard.length <= MAX_CONTROL_BYTES) return;
    if (kind !== CONTROL.ACCEPT) {
      state.socket.destroy();
      return;
    }
    state.cancel();
    this.state = { at: 'streaming', socket: state.socket };
    this.retryMs = FIRST_RETRY_MS;
    state.socket.write(controlFrame(CONTROL.START));
    const { path, log } = this.parts;
    const lost = this.lostFrames ?? 0;
    this.lostFrames = undefined;
    log.info({ socket: path, lost }, `dnstap goes to ${path}${lost === 0 ? '' : `; ${lost} frames were lost`}`);
  }

  private ended(socket: Socket): void {
    const { state } = this;
    if ((state.at !== 'opening' && state.at !== 'streaming') || state.socket !== socket) return;
    if (state.at === 'opening') state.cancel();
    const cancel = this.parts.clock.after(this.retryMs, () => {
      this.state = this.open();
    });
    this.state = { at: 'waiting', cancel };
    this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS);
    this.say('nobody takes dnstap at', 'until somebody does');
  }

  /** One function for all frames: a listener that keeps up again ends an outage. */
  private readonly written = (): void => {
    if (this.lostFrames === undefined || this.state.at !== 'streaming' || this.state.socket.writableLength > 0) return;
    const lost = this.lostFrames;
    this.lostFrames = undefined;
    this.parts.log.info({ socket: this.parts.path, lost }, `dnstap is read again; ${lost} frames were lost`);
  };

  private lose(what: string, until: string): void {
    this.lostFrames = this.say(what, until) + 1;
    this.parts.lost();
  }

  /** Once for each outage. @returns how many frames it has cost so far */
  private say(what: string, until: string): number {
    if (this.lostFrames !== undefined) return this.lostFrames;
    const { path, log } = this.parts;
    log.warn({ socket: path }, `${what} ${path} (log.dnstap): frames are lost ${until}`);
    this.lostFrames = 0;
    return this.lostFrames;
  }
}
