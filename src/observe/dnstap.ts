// Queries and replies as dnstap has them (https://dnstap.info): a protocol buffer for each, in Frame Streams. Octets only;
// dnstap-stream sends them.
//
//   frame          octets u32, data; 0 octets: a control frame follows: octets u32, kind u32, fields (kind u32, octets u32, data)
//   Dnstap         identity 1, version 2 (octets), message 14, type 15 (MESSAGE = 1)
//   Message        type 1 (CLIENT_RESPONSE = 6), family 2, protocol 3, query address 4 and port 6, query time 8 (sec) and 9 (ns,
//                  fixed 32), query message 10, response time 12 and 13, response message 14

import { addressOctets } from '../base/address.js';
import { putU32, u32At } from '../base/octets.js';
import type { NotedQuery } from '../base/observer.js';
import type { WallMs } from '../base/time.js';

const CONTENT_TYPE = Buffer.from('protobuf:dnstap.Dnstap');
const FIELD_CONTENT_TYPE = 1;

/** Kinds of control frames. */
export const CONTROL = { ACCEPT: 1, START: 2, STOP: 3, READY: 4, FINISH: 5 } as const;

/** A control frame; READY and START name the content type. */
export function controlFrame(kind: (typeof CONTROL)[keyof typeof CONTROL]): Buffer {
  const withType = kind === CONTROL.READY || kind === CONTROL.START;
  const frame = Buffer.alloc(12 + (withType ? 8 + CONTENT_TYPE.length : 0));
  putU32(frame, 4, frame.length - 8);
  putU32(frame, 8, kind);
  if (withType) {
    putU32(frame, 12, FIELD_CONTENT_TYPE);
    putU32(frame, 16, CONTENT_TYPE.length);
    CONTENT_TYPE.copy(frame, 20);
  }
  return frame;
}

/** The kind of the control frame at the start; undefined: it is not complete yet. */
export function controlKind(octets: Buffer): number | undefined {
  if (octets.length < 12 || u32At(octets, 0) !== 0 || octets.length < 8 + u32At(octets, 4)) return undefined;
  return u32At(octets, 8);
}

const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;
const PROTOCOLS = { udp: 1, tcp: 2, tls: 3, https: 4 } as const;
const CLIENT_RESPONSE = 6;
const MESSAGE = 1;

/** The fields that all frames of a daemon share. */
export interface DnstapIdentity {
  readonly identity: string;
  readonly version: string;
}

/** The data frame of a query and its reply. */
export function dataFrame(
  { identity, version }: DnstapIdentity,
  { client, query, reply, seconds }: NotedQuery,
  wallMs: WallMs,
): Buffer {
  const address = addressOctets(client.address) ?? Buffer.alloc(0);
  const queryMs = wallMs - 1000 * seconds;
  const message = Buffer.concat([
    ...number(1, CLIENT_RESPONSE),
    ...number(2, address.length === 16 ? 2 : 1),
    ...number(3, PROTOCOLS[client.transport]),
    ...octets(4, address),
    ...number(6, client.port),
    ...number(8, Math.floor(queryMs / 1000)),
    ...fixed(9, nanoseconds(queryMs)),
    ...octets(10, query),
    ...number(12, Math.floor(wallMs / 1000)),
    ...fixed(13, nanoseconds(wallMs)),
    ...octets(14, reply),
  ]);
  const dnstap = Buffer.concat([
    ...octets(1, Buffer.from(identity)),
    ...octets(2, Buffer.from(version)),
    ...octets(14, message),
    ...number(15, MESSAGE),
  ]);
  const head = Buffer.alloc(4);
  putU32(head, 0, dnstap.length);
  return Buffer.concat([head, dnstap]);
}

const nanoseconds = (ms: number): number => Math.floor((ms % 1000) * 1e6);

const tag = (field: number, type: number): Buffer => varint((field << 3) | type);
const number = (field: number, value: number): Buffer[] => [tag(field, VARINT), varint(value)];
const octets = (field: number, value: Buffer): Buffer[] => [tag(field, BYTES), varint(value.length), value];

function fixed(field: number, value: number): Buffer[] {
  const little = Buffer.alloc(4);
  little.writeUInt32LE(value);
  return [tag(field, FIXED32), little];
}

/** Seven bits to an octet, the lowest first. */
function varint(value: number): Buffer {
  const all: number[] = [];
  let left = value;
  while (left > 0x7f) {
    all.push((left % 0x80) | 0x80);
    left = Math.floor(left / 0x80);
  }
  return Buffer.from([...all, left]);
}
