// Words for what validation found: for `dotstub trace` and for messages to an operator.

import type { WallSec } from '../base/time.js';
import { algorithmText, type Dnskey, type Ds } from './dnskey.js';
import { type Name, nameText } from './name.js';
import type { Signature } from './rrset.js';
import type { ZoneState } from './zones.js';

/** The last second whose year has four digits, which all programs can read. */
const LAST_SEC = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;

/** A time in ISO 8601, to the second. Never throws: a number that is not such a time is written as a number. */
export const dateText = (sec: WallSec | number): string =>
  sec >= 0 && sec <= LAST_SEC
    ? new Date(Math.floor(sec) * 1000).toISOString().replace('.000Z', 'Z')
    : `second ${sec} since 1970`;

/** Whether `timeText` can write it as a date. */
export const isWritableTime = (sec: number): boolean => sec >= 0 && sec <= LAST_SEC;

/** The key that made a signature, and when the signature ends. */
export const signedText = ({ keyTag, algorithm, expiration }: Signature, signer: Name): string =>
  `signed by key ${keyTag} (${algorithmText(algorithm)}) of ${nameText(signer)} until ${dateText(expiration)}`;

/** The key that a DS refers to. */
export const dsText = ({ tag, algorithm, digestType }: Ds): string =>
  `key ${tag} (${algorithmText(algorithm)}, digest type ${digestType})`;

const keyText = ({ tag, algorithm, isSep, isRevoked }: Dnskey): string =>
  `${tag} (${algorithmText(algorithm)}${isSep ? ', SEP' : ''}${isRevoked ? ', revoked' : ''})`;

/** The state of a name as a zone; `forSec`: how long it is known to hold. */
export function stateText(name: Name, state: ZoneState, forSec: number | undefined): string {
  const lasts = forSec !== undefined && Number.isFinite(forSec) && forSec > 0 ? `, good for ${forSec} s` : '';
  switch (state.at) {
    case 'signed':
      return `signed; keys ${state.keys.map(keyText).join(', ')}${lasts}`;
    case 'unsigned':
      return `${state.why?.text ?? 'unsigned: that there is no DS is proven'}${lasts}`;
    case 'no_cut':
      return `no zone cut at ${nameText(name)}${lasts}`;
    case 'bogus':
      return `bogus: ${state.flaw.detail}`;
    case 'unknown':
      return `not known: ${state.failure.detail ?? state.failure.code}`;
  }
}
