// Notices that a file says something else. What is watched is its directory: editors write another file and rename it, and
// Kubernetes exchanges a link somewhere on the way to it.

import { readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';

/** Changes come in bunches; the file is looked at when it has been quiet for so long. */
const QUIET_MS = 300;

/**
 * Watches.
 * @param changed called whenever the file can be read and its text is another than when it was last looked at
 * @param onTrouble told when watching is not possible (any more)
 */
export function watchFile(path: string, changed: () => void, onTrouble: (error: Error) => void): { close(): void } {
  const read = (): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      // Between two writes there may be none.
      return undefined;
    }
  };
  let before = read();
  let timer: NodeJS.Timeout | undefined;
  function look(): void {
    const now = read();
    if (now === undefined || now === before) return;
    before = now;
    changed();
  }
  try {
    const watcher = watch(dirname(path), () => {
      clearTimeout(timer);
      timer = setTimeout(look, QUIET_MS).unref();
    });
    watcher.unref();
    watcher.on('error', onTrouble);
    return {
      close() {
        clearTimeout(timer);
        watcher.close();
      },
    };
  } catch (error) {
    onTrouble(error instanceof Error ? error : new Error(String(error)));
    return { close: () => undefined };
  }
}
