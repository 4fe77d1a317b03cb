// Writes DER (ITU-T X.690): as much of it as a certificate needs.

const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  UTF8_STRING: 0x0c,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** A value with its tag and its length (§8.1). */
export function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthOctets(body.length)]), body]);
}

/** A value of a context-specific tag. @param constructed whether it consists of other values */
export const inContext = (number: number, constructed: boolean, ...parts: readonly Buffer[]): Buffer =>
  tagged(0x80 | (constructed ? 0x20 : 0) | number, ...parts);

function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length];
  const octets: number[] = [];
  for (let left = length; left > 0; left >>>= 8) octets.unshift(left & 0xff);
  return [0x80 | octets.length, ...octets];
}

export const sequence = (...parts: readonly Buffer[]): Buffer => tagged(TAG.SEQUENCE, ...parts);
export const setOf = (...parts: readonly Buffer[]): Buffer => tagged(TAG.SET, ...parts);
export const octetString = (octets: Buffer): Buffer => tagged(TAG.OCTET_STRING, octets);
export const utf8String = (text: string): Buffer => tagged(TAG.UTF8_STRING, Buffer.from(text));
export const booleanTrue = tagged(TAG.BOOLEAN, Buffer.from([0xff]));

/** A positive integer of any size (§8.3): the first bit of its octets is its sign. */
export function positiveInteger(octets: Buffer): Buffer {
  const firstUsed = octets.findIndex(octet => octet !== 0);
  const used = firstUsed === -1 ? Buffer.from([0]) : octets.subarray(firstUsed);
  return tagged(TAG.INTEGER, ...((used[0] ?? 0) >= 0x80 ? [Buffer.from([0])] : []), used);
}

/** A bit string. @param unused how many bits of the last octet do not count */
export const bitString = (octets: Buffer, unused = 0): Buffer => tagged(TAG.BIT_STRING, Buffer.from([unused]), octets);

/** An object identifier (§8.19), such as `2.5.29.17`. */
export function objectIdentifier(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const octets = rest.flatMap(arc => {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return tagged(TAG.OBJECT_IDENTIFIER, Buffer.from([first * 40 + second, ...octets]));
}

/** The time of a certificate, to the second: with two digits of the year until 2049 (RFC 5280 §4.1.2.5). */
export function certificateTime(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
  const isShort = text < '2050';
  return tagged(isShort ? TAG.UTC_TIME : TAG.GENERALIZED_TIME, Buffer.from(isShort ? text.slice(2) : text));
}
