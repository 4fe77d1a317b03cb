// Groups of clients by the address of ours at which they ask, such as that of the box in the network of guests.

import { addressOctets, addressText, isMapped, type OwnPlace } from '../base/address.js';

/** The place of a group. */
export interface ClassPlace {
  readonly address: string;
  /** Left out: any. */
  readonly port: number | undefined;
  /** The number of the group, from 1. */
  readonly clientClass: number;
}

/** The class of who asks at a place; 0: none. */
export type PlaceClasses = (at: OwnPlace) => number;

/** Compiles the places of groups. One with a port counts more than one without. */
export function placeClasses(places: readonly ClassPlace[]): PlaceClasses {
  const classes = new Map<string, number>();
  for (const { address, port, clientClass } of places) {
    const key = keyOf(address, port);
    if (!classes.has(key)) classes.set(key, clientClass);
  }
  return ({ address, port }) => classes.get(keyOf(address, port)) ?? classes.get(keyOf(address, undefined)) ?? 0;
}

/** Without a zone, and an IPv4 address on a socket of IPv6 as IPv4. */
function keyOf(address: string, port: number | undefined): string {
  const octets = addressOctets(address);
  if (octets === undefined) return '';
  const from = octets.length === 16 && isMapped(octets, 0) ? 12 : 0;
  return `${addressText(octets, from, octets.length - from === 4 ? 4 : 16)} ${port ?? ''}`;
}
