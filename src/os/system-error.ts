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
  const { errno, syscall, code } = error as NodeJS.ErrnoException;
  return (typeof errno === 'number' && typeof syscall === 'string') || (code !== undefined && SYSTEM_CODES.has(code));
}
