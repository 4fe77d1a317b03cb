// What one session has handed over to another thread, and what was not taken there yet. How much is owed to a client
// shows only then: a session hands little over before, so that a client that does not read is owed no more than where
// messages are handled at once.

import type { Entrance } from '../front/front.js';
import type { Turns, Worker } from './turns.js';

/** The last messages of a session. */
export class Untaken {
  /** Numbers of the last two that were handed over; undefined: there was none. */
  private last: number | undefined = undefined;
  private before: number | undefined = undefined;
  /** Whether the session gets a turn when more was taken. */
  private waits = false;

  constructor(
    private readonly parts: { readonly front: Entrance; readonly turns: Turns },
    private readonly session: Worker,
  ) {}

  /** A message has no reply yet. */
  add(): void {
    const { handOver } = this.parts.front;
    if (handOver === undefined) return;
    this.before = this.last;
    this.last = handOver.last;
  }

  /** Whether two were not taken yet. If so, the session gets a turn later. */
  get isFull(): boolean {
    const { front, turns } = this.parts;
    const { handOver } = front;
    if (handOver === undefined || this.before === undefined || handOver.isTaken(this.before)) return false;
    if (!this.waits) {
      this.waits = true;
      handOver.whenTaken(() => {
        if (!this.waits) return;
        this.waits = false;
        turns.add(this.session);
      });
    }
    return true;
  }

  /** The session is closed. */
  close(): void {
    this.waits = false;
    this.before = undefined;
  }
}
