// The space in which V8 makes new objects. It is collected when it is full, and what still lives then is copied: at many
// questions to servers, all that belongs to those that wait for their answers. The smaller the space, the more often that
// is. V8 doubles it when much has survived, up to 16 or 32 MiB, two times: more than a small router should give.

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** A space that is smaller may be doubled, so that it has 4 MiB at most. Larger ones save little more. */
const DOUBLED_BELOW_BYTES = 3 << 20;
/** It takes some of these until V8 doubles it. A look takes a few microseconds. */
const QUESTIONS_PER_LOOK = 512;
/** How long it may grow after so many: what else makes new objects must not make it larger. */
const GROWS_MS = 1000;

/** How many objects fit, in octets, as far as V8 has grown it. */
function youngSpaceBytes(): number {
  const space = getHeapSpaceStatistics().find(each => each.space_name === 'new_space');
  return space === undefined ? 0 : space.space_used_size + space.space_available_size;
}

/** What it uses of the process. */
export interface YoungSpaceParts {
  /** The size of the space. */
  readonly bytes: () => number;
  /** Sets a flag of V8, which reads it when it is about to double a space. */
  readonly setFlag: (flag: string) => void;
  readonly after: (ms: number, then: () => void) => void;
}

const OF_PROCESS: YoungSpaceParts = {
  bytes: youngSpaceBytes,
  setFlag: flag => setFlagsFromString(flag),
  after: (ms, then) => void setTimeout(then, ms).unref(),
};

/** Bounds that space. */
export class YoungSpace {
  private isBounded = false;
  private mayGrow = true;
  private questions = 0;

  constructor(private readonly parts: YoungSpaceParts = OF_PROCESS) {}

  /** From now on it is bounded. */
  bound(): void {
    this.isBounded = true;
    this.let(false);
  }

  /** To be called with each question to servers, which is when there are many new objects. */
  asked(): void {
    this.questions++;
    if (this.questions % QUESTIONS_PER_LOOK === 0 && this.isBounded) this.look();
  }

  /** V8 makes it smaller again when there is little to do: then it may grow again. */
  private look(): void {
    const isSmall = this.parts.bytes() < DOUBLED_BELOW_BYTES;
    if (isSmall && !this.mayGrow) this.parts.after(GROWS_MS, () => this.let(false));
    this.let(isSmall);
  }

  private let(mayGrow: boolean): void {
    if (mayGrow === this.mayGrow) return;
    this.mayGrow = mayGrow;
    this.parts.setFlag(`--semi-space-growth-factor=${mayGrow ? 2 : 1}`);
  }
}
