// Failures of the system, told apart from broken invariants: no descriptors left, a network that is down, a peer that has
// gone. They come and go, and a daemon has to outlive them.

/** Node.js codes of failures that carry no errno. */
const SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ERR_SYSTEM_ERROR',
  'ERR_WORKER_INIT_FAILED',
  'ERR_SOCKET_DGRAM_NOT_RUNNING',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/** Whether an error says that a system call failed, or that what it was made for has gone. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  if (!(error instanceof Error)) return false;
  // Of several addresses that were tried.
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isSystemError);
  const { errno, syscall, code } = error as NodeJS.ErrnoException;
  return (typeof errno === 'number' && typeof syscall === 'string') || (code !== undefined && SYSTEM_CODES.has(code));
}

const CODE_WORDS: Readonly<Record<string, string>> = {
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

/** What the system says about a file, in words. */
export function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return CODE_WORDS[(error as NodeJS.ErrnoException).code ?? ''] ?? error.message;
}
