// QR codes (ISO/IEC 18004) as text for a terminal.

import encodeQR from 'qr';

/** Modules of light around the code, which cameras need (ISO/IEC 18004 §9.1). */
const BORDER = 4;
/** Black on white, whatever the colours of the terminal: not all cameras read a code with the two exchanged. */
const [COLOURS, NO_COLOURS] = ['\x1b[38;5;16;48;5;231m', '\x1b[0m'];
/** By which of two modules, one above the other, are dark. */
const [NONE, UPPER, LOWER, BOTH] = [' ', '▀', '▄', '█'];

/**
 * The lines of a QR code. Each character is two modules, one above the other.
 * @param coloured whether escape sequences set the colours; without them, a dark module has the colour of the text
 */
export function qrLines(text: string, coloured: boolean): readonly string[] {
  const rows = encodeQR(text, 'raw', { ecc: 'low', border: BORDER });
  const lines: string[] = [];
  for (let y = 0; y < rows.length; y += 2) {
    const [upper = [], lower = []] = [rows[y], rows[y + 1]];
    const line = upper.map((isDark, x) =>
      isDark ? (lower[x] === true ? BOTH : UPPER) : lower[x] === true ? LOWER : NONE,
    );
    lines.push(coloured ? `${COLOURS}${line.join('')}${NO_COLOURS}` : line.join(''));
  }
  return lines;
}
