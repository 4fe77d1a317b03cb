// Calls functions of C libraries. Only this file loads koffi, which is optional: it has native code, and may be missing
// or not made for this machine.

import { createRequire } from 'node:module';
import { endianness } from 'node:os';

/** A C function, and what it is given. A buffer stays referenced, and its octets in place, until the call returns. */
export type Native = (...args: (number | bigint | Buffer | null)[]) => number;

/** A library. */
export interface Library {
  /** A function by its declaration in C. @throws if there is none of this name */
  func(declaration: string): Native;
}

/** The part of koffi that is used. */
export interface Koffi {
  /** @param library null: this program, with all libraries that it was linked with */
  load(library: string | null): Library;
  address(value: Buffer): bigint;
  errno(): number;
  sizeof(type: string): number;
  /** A type of functions that C code calls. */
  proto(result: string, parameters: readonly string[]): unknown;
  pointer(type: unknown): unknown;
  /** The address of a function for C code, which may call it until the thread ends. */
  register(called: (...args: bigint[]) => number, type: unknown): bigint;
}

/** Why something cannot be used. */
export interface Unavailable {
  readonly unavailable: string;
}

/** Loads what uses koffi, or says why it cannot be used. */
export function withKoffi<T>(load: (koffi: Koffi) => T | Unavailable): T | Unavailable {
  if (process.platform !== 'linux') return { unavailable: `${process.platform} has no recvmmsg` };
  // Constants and structures differ on these machines.
  if (endianness() !== 'LE' || process.arch.startsWith('mips')) return { unavailable: `not tried on ${process.arch}` };
  try {
    // Required here instead of imported, because loading takes time, and the package may be missing.
    return load(createRequire(import.meta.url)('koffi') as Koffi);
  } catch (error) {
    return { unavailable: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) };
  }
}
