// The `trust-anchor` command of the control socket: what is believed, and what is on its way to be (RFC 5011).

import { algorithmText } from '../dnssec/dnskey.js';
import { nameText } from '../dnssec/name.js';
import type { KeyState, TrustPoints } from '../dnssec/rollover.js';
import type { ControlCommand } from './server.js';

/** Makes the command. */
export const trustAnchorCommand = (points: TrustPoints): ControlCommand => ({
  run([what = 'status']) {
    if (what !== 'status') return { ok: false, problem: `trust-anchor ${what}: there is status` };
    const data = points.points.map(({ zone, keys, checkedSec, dueSec }) => {
      const anchor = points.anchors.find(each => each.zone === zone);
      // Keys that a configured DS stands for, and that the zone has not shown yet.
      const unseen = (anchor?.ds ?? []).filter(
        ({ tag, algorithm }) => !keys.some(({ key }) => key.tag === tag && key.algorithm === algorithm),
      );
      return {
        zone: nameText(zone),
        checked: dateOf(checkedSec),
        next_check: dateOf(dueSec),
        keys: [
          ...keys.map(({ key, state, sinceSec, untilSec }) => ({
            tag: key.tag,
            algorithm: algorithmText(key.algorithm),
            state,
            since: dateOf(sinceSec),
            until: dateOf(untilSec),
          })),
          ...unseen.map(({ tag, algorithm }) => ({
            tag,
            algorithm: algorithmText(algorithm),
            state: 'configured' as const,
            since: undefined,
            until: undefined,
          })),
        ],
      };
    });
    const text = data
      .map(({ zone, checked, next_check: next, keys }) =>
        [
          `${zone}  ${checked === undefined ? 'not looked at yet' : `looked at ${checked}, next ${next ?? 'at the next question'}`}`,
          ...keys.map(
            ({ tag, algorithm, state, since, until }) =>
              `  ${String(tag).padStart(5)}  ${algorithm.padEnd(16)}  ${KEY_STATE_WORDS[state]}${since === undefined ? '' : `, since ${since}`}${until === undefined ? '' : `, believed from ${until} on`}`,
          ),
        ].join('\n'),
      )
      .join('\n\n');
    return { ok: true, text, data };
  },
});

const KEY_STATE_WORDS: Readonly<Record<KeyState | 'configured', string>> = {
  pending: 'announced',
  valid: 'believed',
  missing: 'believed, but not shown by the zone',
  revoked: 'revoked',
  removed: 'revoked long ago',
  configured: 'believed, not seen yet',
};

/** A date and time; undefined: there is none. */
function dateOf(sec: number): string | undefined {
  if (sec === 0) return undefined;
  const date = new Date(sec * 1000);
  // A state file may hold any number, and Date no year beyond 275760.
  return Number.isNaN(date.getTime()) ? 'a date that no calendar has' : date.toISOString().replace(/\.\d+Z$/, 'Z');
}
