// Trust anchors: keys that are trusted by configuration, as DS or DNSKEY records (RFC 4034, RFC 9718).

import { Dnskey, type Ds, readDs } from './dnskey.js';
import { isWithin, type Name, nameOf, parentOf, ROOT_NAME } from './name.js';
import { closest, nameFromText } from '../wire/name.js';

/** The trusted keys of one zone. */
export interface Anchor {
  readonly zone: Name;
  readonly ds: readonly Ds[];
  readonly keys: readonly Dnskey[];
}

/** The root's keys of 2017 and 2024 (data.iana.org/root-anchors/root-anchors.xml). */
export const BUILT_IN_ANCHORS: readonly string[] = [
  '. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D',
  '. DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16',
];

const RECORD = /^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(?:(DS|DNSKEY)\s+)?(.*)$/is;

/**
 * Reads records in presentation form, which the check of the configuration has accepted. Records of one owner become
 * one anchor.
 */
export function readAnchors(records: readonly string[]): readonly Anchor[] {
  const found = new Map<Name, { zone: Name; ds: Ds[]; keys: Dnskey[] }>();
  for (const record of records) {
    const [, owner = '', type = 'DS', data = ''] = RECORD.exec(record.trim()) ?? [];
    const wire = nameFromText(owner);
    const zone = wire === undefined ? ROOT_NAME : nameOf(wire);
    const anchor = found.get(zone) ?? { zone, ds: [], keys: [] };
    found.set(zone, anchor);
    const [first = '', second = '', third = '', ...rest] = data.trim().split(/\s+/);
    const head = Buffer.from([Number(first) >> 8, Number(first) & 0xff, Number(second), Number(third)]);
    if (type.toUpperCase() === 'DS') {
      const ds = readDs(Buffer.concat([head, Buffer.from(rest.join(''), 'hex')]));
      if (ds !== undefined) anchor.ds.push(ds);
    } else {
      const key = Dnskey.read(Buffer.concat([head, Buffer.from(rest.join(''), 'base64')]));
      if (key !== undefined) anchor.keys.push(key);
    }
  }
  return [...found.values()];
}

const zoneOf = ({ zone }: Anchor): Name => zone;

/** Whether there is another anchor above a zone. */
export const hasAnchorAbove = (anchors: readonly Anchor[], zone: Name): boolean =>
  zone !== ROOT_NAME && anchorFor(anchors, parentOf(zone)) !== undefined;

/** Whether a zone is at or below any anchor. Nothing is known about zones above all of them. */
export const isAnchored = (anchors: readonly Anchor[], zone: Name): boolean =>
  anchors.some(anchor => isWithin(zone, anchor.zone));

/** The anchor closest above a name, or at it. */
export const anchorFor = (anchors: readonly Anchor[], name: Name): Anchor | undefined =>
  closest(name, anchors, zoneOf, isWithin);
