// Lines of text files that other programs write. Their octets are hostile: every step has a bound.

/** A longer line is not read. */
export const MOST_LINE_OCTETS = 4096;

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** Something in a file that cannot be used. The rest of the file counts. */
export interface LineProblem {
  readonly at: 'problem';
  /** From 1. */
  readonly line: number;
  /** What is wrong, and what was expected. */
  readonly words: string;
}

/** Makes a LineProblem. */
export const problem = (line: number, words: string): LineProblem => ({ at: 'problem', line, words });

/** A line. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its end, one character per octet; undefined: it is too long. */
  readonly text: string | undefined;
}

/** The lines of a file. */
export function* linesOf(octets: Buffer): Generator<Line, void> {
  let number = 0;
  let at = octets.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0;
  while (at < octets.length) {
    const found = octets.indexOf(NEWLINE, at);
    const end = found === -1 ? octets.length : found;
    number++;
    yield { number, text: end - at > MOST_LINE_OCTETS ? undefined : octets.toString('latin1', at, end).trim() };
    at = end + 1;
  }
}

/** The problem of a line that is too long. */
export const tooLong = (line: number): LineProblem =>
  problem(line, `longer than ${MOST_LINE_OCTETS} octets, which no line of such a file is; the line is not used`);
