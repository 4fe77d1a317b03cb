// The time zone of this machine. Node.js looks at it once: dates stay in the zone that the process was started in.

import { readlinkSync, statSync } from 'node:fs';

import { isSystemError } from '../base/system-error.js';

const LOCAL_TIME = '/etc/localtime';

/** Follows it. */
export class TimeZone {
  private seen = markOf();

  /** Dates are in the zone that the machine has now. A process with a TZ of its own stays in that. */
  look(): void {
    const mark = markOf();
    if (mark === this.seen) return;
    this.seen = mark;
    const { TZ } = process.env;
    if (TZ !== undefined) return;
    // Whenever TZ is written or removed, the zone is read again at the next date.
    process.env['TZ'] = 'UTC';
    delete process.env['TZ'];
  }
}

/** What changes with the zone: where the link leads, or which file it is. */
function markOf(): string {
  try {
    const { ino, mtimeMs } = statSync(LOCAL_TIME);
    return `${ino} ${mtimeMs} ${linkTarget()}`;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return '';
  }
}

function linkTarget(): string {
  try {
    return readlinkSync(LOCAL_TIME);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return '';
  }
}
