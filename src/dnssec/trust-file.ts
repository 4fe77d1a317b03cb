// The state file of trust points: JSON. A file may contain anything, so each value is checked. A value that cannot be
// used is left out, and each value that is read can be written and displayed again.

import { type WallSec, wallSec } from '../base/time.js';
import { nameFromText } from '../wire/name.js';
import { Dnskey } from './dnskey.js';
import { isWritableTime } from './explain.js';
import { KEY_STATES, MOST_TRACKED_KEYS, type TrackedKey, type TrustPoint } from './key-states.js';
import { nameOf, nameText } from './name.js';

const VERSION = 1;
/** The most characters of a file. */
const MOST_CHARACTERS = 1 << 20;
/** The most trust points in it. */
export const MOST_POINTS = 64;
/** The most Base64 characters of a key: about 4 kB, which is more than any algorithm needs. */
const MOST_KEY_CHARACTERS = 5500;
const MOST_NAME_CHARACTERS = 1024;

/** The text of a file. */
export const trustFileText = (points: readonly TrustPoint[]): string =>
  JSON.stringify(
    {
      version: VERSION,
      points: points.map(({ zone, keys, checked, due }) => ({
        zone: nameText(zone),
        checkedSec: checked,
        dueSec: due,
        keys: keys.map(({ key, state, since, until }) => ({
          tag: key.tag,
          state,
          sinceSec: since,
          untilSec: until,
          dnskey: key.rdata.toString('base64'),
        })),
      })),
    },
    undefined,
    1,
  );

/** Reads the text of a file. Never throws: any other text has no trust points. */
export function readTrustFile(text: string): TrustPoint[] {
  if (text.length > MOST_CHARACTERS) return [];
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return [];
  }
  const { version, points } = fieldsOf(file);
  return version === VERSION ? listOf(points, MOST_POINTS).flatMap(readPoint) : [];
}

function readPoint(value: unknown): TrustPoint[] {
  const { zone, keys, checkedSec, dueSec } = fieldsOf(value);
  const wire = typeof zone === 'string' && zone.length <= MOST_NAME_CHARACTERS ? nameFromText(zone) : undefined;
  const checked = timeFrom(checkedSec);
  const due = timeFrom(dueSec);
  if (wire === undefined || !Array.isArray(keys) || checked === undefined || due === undefined) return [];
  return [{ zone: nameOf(wire), checked, due, keys: listOf(keys, MOST_TRACKED_KEYS).flatMap(readKey) }];
}

function readKey(value: unknown): TrackedKey[] {
  const { dnskey, state, sinceSec, untilSec } = fieldsOf(value);
  const key =
    typeof dnskey === 'string' && dnskey.length <= MOST_KEY_CHARACTERS
      ? Dnskey.read(Buffer.from(dnskey, 'base64'))
      : undefined;
  const known = KEY_STATES.find(each => each === state);
  const since = timeFrom(sinceSec);
  const until = timeFrom(untilSec);
  return key === undefined || known === undefined || since === undefined || until === undefined
    ? []
    : [{ key, state: known, since, until }];
}

/** A time that can be written as a date. */
const timeFrom = (value: unknown): WallSec | undefined =>
  typeof value === 'number' && isWritableTime(value) ? wallSec(value) : undefined;

const listOf = (value: unknown, most: number): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]).slice(0, most) : [];

/** The fields of an object; none for any other value. */
const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
