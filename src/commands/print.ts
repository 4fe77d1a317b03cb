// The way to the terminal of all commands that print text from elsewhere. Nothing but newlines gets through that a
// terminal would not show.

import { visibleJson, visibleLines } from '../base/visible.js';

/** Prints text for people. */
export const print = (text: string): void => void process.stdout.write(`${visibleLines(text)}\n`);

/** Prints a problem. */
export const printProblem = (text: string): void => void process.stderr.write(`${visibleLines(text)}\n`);

/** Prints data for programs. @param indent left out: on one line */
export const printJson = (data: unknown, indent?: number): void =>
  void process.stdout.write(`${visibleJson(JSON.stringify(data, undefined, indent))}\n`);

/** Prints lines that were made here, as they are: a picture, with its escape sequences. */
export const printPicture = (lines: readonly string[]): void => void process.stdout.write(`${lines.join('\n')}\n`);
