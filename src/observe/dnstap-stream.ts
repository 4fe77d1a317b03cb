// Sends dnstap to a listener at a Unix socket, over bidirectional Frame Streams. If the listener is gone or slow,
// frames are lost and counted, and no query is delayed.

import { connect, type Socket } from 'node:net';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { CONTROL, controlFrame, controlKind } from './dnstap.js';

/** The parts of the stream. */
export interface DnstapStreamParts {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for each frame that is lost. */
  readonly lost: () => void;
}

/** The most memory for frames that wait for a slow listener. */
const MAX_WAITING_BYTES = 1 << 20;
/** The delay before the next connection, which doubles each time that it cannot be made. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
/** A listener must send ACCEPT within this time. */
const ACCEPT_MS = 5000;
const MAX_CONTROL_BYTES = 1024;

type State =
  /** Connecting, or READY was sent and ACCEPT was not received yet. */
  | { readonly at: 'opening'; readonly socket: Socket; heard: Buffer; readonly cancel: Cancel }
  | { readonly at: 'streaming'; readonly socket: Socket }
  | { readonly at: 'waiting'; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** The stream. */
export class DnstapStream {
  private state: State;
  private retryMs = FIRST_RETRY_MS;
  /** Frames that were lost in this outage; undefined: no outage. */
  private lostFrames: number | undefined;

  /** Connects, and connects again whenever the connection ends. */
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
    // The close event reports the end.
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

  /** One function for all frames: the outage ends when a frame is written again. */
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

  /**
   * Logs an outage once.
   * @returns how many frames were lost so far
   */
  private say(what: string, until: string): number {
    if (this.lostFrames !== undefined) return this.lostFrames;
    const { path, log } = this.parts;
    log.warn({ socket: path }, `${what} ${path} (log.dnstap): frames are lost ${until}`);
    this.lostFrames = 0;
    return this.lostFrames;
  }
}
