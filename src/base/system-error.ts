// Tells system errors from broken invariants: no descriptors left, a network that is down, a peer that is gone. They
// are temporary, and the daemon must survive them.

import { getSystemErrorMap } from 'node:util';

import { tlsErrorWords } from './tls-error.js';

/** Node.js codes of system errors without an errno. */
const SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ERR_SYSTEM_ERROR',
  'ERR_WORKER_INIT_FAILED',
  'ERR_SOCKET_DGRAM_NOT_RUNNING',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/** Whether an error is a failed system call, or reports that its peer or resource is gone. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  if (!(error instanceof Error)) return false;
  // Of several attempts to connect.
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isSystemError);
  const { errno, syscall, code } = error as NodeJS.ErrnoException;
  return (typeof errno === 'number' && typeof syscall === 'string') || (code !== undefined && SYSTEM_CODES.has(code));
}

/** A system call that failed; `code` is the one of Node.js. */
export class SystemError extends Error {
  readonly code: string;
  /** Negative, as in Node.js. */
  readonly errno: number;
  readonly syscall: string;
  readonly address: string;
  readonly port: number;
  /**
   * @param result `-errno`
   * @param at the address that it was called for
   */
  constructor(call: string, result: number, at: { readonly address: string; readonly port: number }) {
    const code = getSystemErrorMap().get(result)?.[0] ?? `errno ${-result}`;
    super(`${call} ${code}`);
    this.code = code;
    this.errno = result;
    this.syscall = call;
    this.address = at.address;
    this.port = at.port;
  }
}

const FILE_ERROR_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ELOOP: 'it is a symbolic link',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open on this machine',
};

/** Words for an error about a file: of the system, or of OpenSSL about what is in it. */
export function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return FILE_ERROR_WORDS[(error as NodeJS.ErrnoException).code ?? ''] ?? tlsErrorWords(error) ?? error.message;
}
