// Text from elsewhere, as it may stand on a terminal. Names, RDATA, Extended DNS Errors and certificates may contain
// characters that move the cursor, change colours or titles, or turn the direction of writing.

/** Control, format and unassigned characters, and separators of lines. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu;
const HIDDEN_BUT_NEWLINES = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/gu;

/** Octets as `\DDD`, as in zone files (RFC 1035 §5.1). */
export const decimalEscapes = (octets: Iterable<number>): string =>
  Array.from(octets, octet => `\\${octet.toString().padStart(3, '0')}`).join('');

const escaped = (character: string): string => decimalEscapes(Buffer.from(character));

/** Text for one line: hidden characters become `\DDD` for each of their octets. */
export const visible = (text: string): string => text.replace(HIDDEN, escaped);

/** Text of several lines. Newlines stay. */
export const visibleLines = (text: string): string => text.replace(HIDDEN_BUT_NEWLINES, escaped);

/** JSON whose strings have no hidden characters. It reads as the same data. */
export const visibleJson = (json: string): string =>
  json.replace(HIDDEN_BUT_NEWLINES, character =>
    Array.from({ length: character.length }, (_, i) => unicodeEscape(character.charCodeAt(i))).join(''),
  );

/** `\uXXXX` (RFC 8259 §7). Outside of strings, JSON has no hidden characters but newlines. */
const unicodeEscape = (unit: number): string => `\\u${unit.toString(16).padStart(4, '0')}`;
