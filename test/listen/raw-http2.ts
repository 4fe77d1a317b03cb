// Octets of HTTP/2 (RFC 9113) as a client may send them that follows no rules.

import type { Socket } from 'node:net';

import type { Test } from 'tap';

import { connected } from './http-clients.js';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const [HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [1, 3, 4, 6, 7, 8, 9];
export const [END_STREAM, END_HEADERS] = [1, 4];

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The complete frames that octets begin with. */
export function framesIn(octets: Buffer): readonly Frame[] {
  const frames: Frame[] = [];
  for (let at = 0, end = 0; octets.length >= at + 9; at = end) {
    end = at + 9 + octets.readUIntBE(at, 3);
    if (end > octets.length) break;
    const [type = 0, flags = 0] = octets.subarray(at + 3, at + 5);
    frames.push({ type, flags, stream: octets.readUInt32BE(at + 5), payload: octets.subarray(at + 9, end) });
  }
  return frames;
}

/** The frames that the server sends from now on. */
export function framesOf(socket: Socket): readonly Frame[] {
  const frames: Frame[] = [];
  let octets: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    octets = Buffer.concat([octets, chunk]);
    const more = framesIn(octets);
    frames.push(...more);
    octets = octets.subarray(more.reduce((sum, { payload }) => sum + 9 + payload.length, 0));
  });
  return frames;
}

export const u32 = (value: number): Buffer => {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
};

/** A field without indexing and without Huffman codes (RFC 7541 §6.2.2). */
export const field = (name: string, value: string): Buffer => {
  const text = (octets: string): Buffer => {
    const length =
      octets.length < 127 ? [octets.length] : [127, ((octets.length - 127) & 127) | 128, (octets.length - 127) >> 7];
    return Buffer.concat([Buffer.from(length), Buffer.from(octets)]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
};
export const asking = (octets: Buffer): Buffer =>
  Buffer.concat([
    field(':method', 'GET'),
    field(':scheme', 'https'),
    field(':authority', 'dns.test'),
    field(':path', `/dns-query?dns=${octets.toString('base64url')}`),
  ]);
export const headers = (stream: number, octets: Buffer): Buffer =>
  frame(HEADERS, END_STREAM | END_HEADERS, stream, asking(octets));

/** A connection over HTTP/2 that sends octets of its own. */
export async function raw(t: Test, port: number, settings: Buffer = Buffer.alloc(0)): Promise<Socket> {
  const socket = await connected(t, port, 'h2');
  const greeted = new Promise(resolve => socket.once('data', resolve));
  socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings)]));
  await greeted;
  socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
  return socket;
}

/** A string in Huffman codes: what is left of its last octet is filled with 1 (RFC 7541 §5.2). */
export function filled({ octets, bits }: { readonly octets: Uint8Array; readonly bits: number }): Buffer {
  const string = Buffer.from(octets);
  if ((bits & 7) !== 0) string[string.length - 1] = (string.at(-1) ?? 0) | (0xff >>> (bits & 7));
  return string;
}
