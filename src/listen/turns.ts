// Shares the event loop between the sessions of clients and everything else. In one turn of the loop, all sessions
// together do a limited amount of work, and each a small piece of that at a time. The rest waits for later turns, so that
// a flood over streams leaves time to UDP, to the answers of servers, and to the other sessions.

/** About what a cached answer takes: a few microseconds. */
const WORK_PER_TURN = 256;
const WORK_PER_PIECE = 32;

/** Whoever has work to do in a turn. */
export interface Worker {
  /** Does a piece of it. */
  takeTurn(): void;
}

/** The turns of all sessions of the daemon. */
export class Turns {
  /** Work that may still be done in this turn, and in this piece. */
  private left = WORK_PER_TURN;
  private leftOfPiece = WORK_PER_PIECE;
  /** Those that wait for their turn, in order. */
  private readonly waiting = new Set<Worker>();
  /** Whether the next turn is scheduled. */
  private scheduled = false;

  /** Counts work that was done. */
  spend(work: number): void {
    this.left -= work;
    this.leftOfPiece -= work;
    this.schedule();
  }

  /** Whether whoever is at work must stop. */
  get isOver(): boolean {
    return this.left <= 0 || this.leftOfPiece <= 0;
  }

  /** Begins a piece of work outside of `takeTurn`. */
  begin(): void {
    this.leftOfPiece = WORK_PER_PIECE;
  }

  /** Gives somebody a turn, soon. */
  add(worker: Worker): void {
    this.waiting.add(worker);
    this.schedule();
  }

  remove(worker: Worker): void {
    this.waiting.delete(worker);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.next);
  }

  private readonly next = (): void => {
    const { waiting } = this;
    this.scheduled = false;
    this.left = WORK_PER_TURN;
    // Whoever is added meanwhile comes after the others.
    for (const worker of waiting) {
      if (this.left <= 0) break;
      waiting.delete(worker);
      this.begin();
      try {
        worker.takeTurn();
      } finally {
        if (waiting.size > 0) this.schedule();
      }
    }
  };
}
