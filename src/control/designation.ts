// Words about what clients are told of our own listeners (RFC 9462).

import type { DesignationOverview } from '../base/overview.js';

/** What clients are told. */
export function designationWords(designation: DesignationOverview | undefined): string {
  if (designation === undefined) return 'clients are told of no listener: none is configured (listen_tls)';
  if (designation.at === 'nothing') return `clients are told of no listener: ${designation.why}`;
  const { names, services } = designation;
  return `clients are told of ${names.join(', ')}: ${services.join(', ')}`;
}

/** What keeps clients that verify it from using it; undefined: nothing. */
export function unverifiedWords(designation: DesignationOverview | undefined): string | undefined {
  if (designation?.at !== 'announced' || designation.unverified.length === 0) return undefined;
  const addresses = designation.unverified.slice(0, MOST_SHOWN).join(', ');
  const more = designation.unverified.length > MOST_SHOWN ? ' and others' : '';
  return `those that verify it do not use it: the certificate does not hold ${addresses}${more}, which they ask (RFC 9462 §4.2)`;
}

const MOST_SHOWN = 4;
