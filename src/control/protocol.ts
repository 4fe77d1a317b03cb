// The protocol of the control socket: one line of JSON as the request, one line as the reply, then the connection
// closes.

/** A request. */
export interface ControlRequest {
  readonly command: string;
  readonly args: readonly string[];
}

/** A reply: text for people with the same as data, or a problem. */
export type ControlReply =
  | { readonly ok: true; readonly text: string; readonly data: unknown }
  | { readonly ok: false; readonly problem: string };

/** The socket beside a control socket that every user may ask for the status, and for nothing else. */
export const statusSocketOf = (controlSocket: string): string => `${controlSocket}.status`;

/** Longest request, in octets. */
export const MAX_REQUEST_BYTES = 1 << 16;

/** Reads a request; undefined: it is invalid. */
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
