// A file that lines are appended to, and that somebody else rotates: moves away, and has us open anew.

import { createWriteStream, type WriteStream } from 'node:fs';

/** The file. */
export interface LogFile {
  write(line: string): void;
  /** Goes on in a file of the same name, made anew where it was moved away. */
  reopen(): void;
}

/** Lines that wait for a slow disk may take so much memory; more are lost, and counted. */
const MOST_WAITING_BYTES = 1 << 20;

/**
 * Opens it.
 * @param lost called for each line that there was no room for
 * @param onTrouble told when the file can not be written
 */
export function logFile(path: string, lost: () => void, onTrouble: (error: Error) => void): LogFile {
  let stream: WriteStream;
  function open(): void {
    // What a household asks for is not for all users of the machine.
    stream = createWriteStream(path, { flags: 'a', mode: 0o640 });
    stream.on('error', onTrouble);
  }
  open();
  return {
    write(line) {
      if (stream.writableLength > MOST_WAITING_BYTES || stream.destroyed) lost();
      else stream.write(line);
    },
    reopen() {
      stream.end();
      open();
    },
  };
}
