// The space in which V8 makes new objects. It is collected when it is full, and what still lives then is copied: at many
// questions to servers, all that belongs to those that wait for their answers. The smaller the space, the more often that
// is. V8 doubles it when much has survived, up to 16 or 32 MiB, two times: more than a small router should give.

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** It grows to this size. Larger ones save little more. */
const ENOUGH_BYTES = 4 << 20;
/** It takes some of these until V8 doubles it. A look takes a few microseconds. */
const QUESTIONS_PER_LOOK = 512;

/** How many objects fit, in octets, as far as V8 has grown it. */
function youngSpaceBytes(): number {
  const space = getHeapSpaceStatistics().find(each => each.space_name === 'new_space');
  return space === undefined ? 0 : space.space_used_size + space.space_available_size;
}

/** Bounds that space. There is one for all threads: V8 reads the flag when it is about to double a space. */
export class YoungSpace {
  private isBounded = false;
  private mayGrow = true;
  private questions = 0;

  /** @param setFlag sets a flag of V8 */
  constructor(
    private readonly bytes: () => number = youngSpaceBytes,
    private readonly setFlag: (flag: string) => void = setFlagsFromString,
  ) {}

  /** From now on it is bounded. */
  bound(): void {
    this.isBounded = true;
    this.look();
  }

  /** To be called with each question to servers, which is when there are many new objects. */
  asked(): void {
    this.questions++;
    if (this.questions % QUESTIONS_PER_LOOK === 0 && this.isBounded) this.look();
  }

  /** V8 makes it smaller again when there is little to do: then it may grow again. */
  private look(): void {
    const mayGrow = this.bytes() < ENOUGH_BYTES;
    if (mayGrow === this.mayGrow) return;
    this.mayGrow = mayGrow;
    this.setFlag(`--semi-space-growth-factor=${mayGrow ? 2 : 1}`);
  }
}
