// Calls functions of C libraries. Only this file loads koffi, which is optional: it has native code, and may be missing
// or not made for this machine.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { endianness } from 'node:os';

/** A C function, and what it is given. A buffer stays referenced, and its octets in place, until the call returns. */
export interface Native {
  (...args: (number | bigint | Buffer | null)[]): number;
  /** Calls it in a thread that Node.js has for such work. What the last argument is given, comes later. */
  async(...args: [...(number | bigint)[], (error: Error | null, result: number) => void]): void;
}

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

/** The other C library, by processor. It would load code for glibc, too, and crash in it. */
const MUSL: Readonly<Record<string, string>> = {
  x64: '/lib/ld-musl-x86_64.so.1',
  arm64: '/lib/ld-musl-aarch64.so.1',
};

/**
 * Loads koffi. Here instead of by an import, because the package may be missing. Its JavaScript finds out which native
 * code fits, and adds names that are deprecated: that takes six times as long as to load the native code, and 5 MB, in
 * each thread. So the native code is loaded without it, as most systems have it: for their processor, and glibc.
 */
function loadKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  const { arch } = process;
  const musl = MUSL[arch];
  if (musl !== undefined && !existsSync(musl)) {
    try {
      return require(`@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`) as Koffi;
    } catch {
      // It was compiled at its installation, or is missing: koffi finds it, or says so.
    }
  }
  return require('koffi') as Koffi;
}

/** Loads what uses koffi, or says why it cannot be used. */
export function withKoffi<T>(load: (koffi: Koffi) => T | Unavailable): T | Unavailable {
  if (process.platform !== 'linux') return { unavailable: `${process.platform} has no recvmmsg` };
  // Constants and structures differ on these machines.
  if (endianness() !== 'LE' || process.arch.startsWith('mips')) return { unavailable: `not tried on ${process.arch}` };
  try {
    return load(loadKoffi());
  } catch (error) {
    return { unavailable: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) };
  }
}
