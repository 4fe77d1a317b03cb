// The twelve octets every message starts with (RFC 1035 §4.1.1), read and patched in place.
// DNS numbers are big-endian; base/octets is the whole codec.

import { putU16, u16At } from '../base/octets.js';

/** Octets of a header. */
export const HEADER_BYTES = 12;

/** The largest message that TCP's two length octets can announce (RFC 1035 §4.2.2). */
export const MAX_MESSAGE_BYTES = 65535;

/** Single bits of the flags word at offset 2. */
export const FLAG = {
  QR: 0x8000,
  AA: 0x0400,
  TC: 0x0200,
  RD: 0x0100,
  RA: 0x0080,
  AD: 0x0020,
  CD: 0x0010,
} as const;

/** The message id. */
export const idOf = (message: Buffer): number => u16At(message, 0);
/** The flags word: QR, opcode, AA, TC, RD, RA, Z, AD, CD, RCODE. */
export const flagsOf = (message: Buffer): number => u16At(message, 2);
/** 0 … 15 from a flags word; 0 is a standard query. */
export const opcodeOf = (flags: number): number => (flags >> 11) & 15;
/** The four RCODE bits of a flags word; EDNS may add eight more (RFC 6891 §6.1.3). */
export const rcodeOf = (flags: number): number => flags & 15;
/** Opcode bits as they stand in a flags word, for copying into a reply. */
export const OPCODE_MASK = 0x7800;

/** How many entries each section has. */
export interface Counts {
  readonly questions: number;
  readonly answers: number;
  readonly authority: number;
  readonly additional: number;
}

/** Reads the four counts. */
export function countsOf(message: Buffer): Counts {
  return {
    questions: u16At(message, 4),
    answers: u16At(message, 6),
    authority: u16At(message, 8),
    additional: u16At(message, 10),
  };
}

/** Writes a whole header at the start of `message`. */
export function writeHeader(message: Buffer, id: number, flags: number, counts: Counts): void {
  putU16(message, 0, id);
  putU16(message, 2, flags);
  putU16(message, 4, counts.questions);
  putU16(message, 6, counts.answers);
  putU16(message, 8, counts.authority);
  putU16(message, 10, counts.additional);
}
