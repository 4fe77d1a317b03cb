// What goes over the control socket: one line of JSON asks, one line of JSON answers, and the connection closes.

/** A question. */
export interface ControlRequest {
  readonly command: string;
  readonly args: readonly string[];
}

/** An answer: text for people and the same as data, or what is wrong. */
export type ControlReply =
  | { readonly ok: true; readonly text: string; readonly data: unknown }
  | { readonly ok: false; readonly problem: string };

/** Longest request, in octets. */
export const MAX_REQUEST_BYTES = 1 << 20;

/** Reads a question; undefined: it is none. */
export function readRequest(line: string): ControlRequest | undefined {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof read !== 'object' || read === null || !('command' in read) || !('args' in read)) return undefined;
  const { command, args } = read;
  if (typeof command !== 'string' || !Array.isArray(args) || !args.every(each => typeof each === 'string'))
    return undefined;
  return { command, args };
}
