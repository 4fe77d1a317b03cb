// The `trust-anchor` command of the control socket: the trusted keys, and those that will be trusted (RFC 5011).

import { algorithmText } from '../dnssec/dnskey.js';
import { isWritableTime, dateText } from '../dnssec/explain.js';
import type { KeyState } from '../dnssec/key-states.js';
import { nameText } from '../dnssec/name.js';
import type { TrustPoints } from '../dnssec/rollover.js';
import type { ControlCommand } from './server.js';

/** Makes the command. */
export const trustAnchorCommand = (current: () => TrustPoints): ControlCommand => ({
  run([what = 'status']) {
    if (what !== 'status') return { ok: false, problem: `trust-anchor ${what}: there is status` };
    const points = current();
    const data = points.points.map(({ zone, keys, checked: looked, due }) => {
      const anchor = points.anchors.find(each => each.zone === zone);
      // Keys of a configured DS that the zone has not published yet.
      const unseen = (anchor?.ds ?? []).filter(
        ({ tag, algorithm }) => !keys.some(({ key }) => key.tag === tag && key.algorithm === algorithm),
      );
      return {
        zone: nameText(zone),
        checked: dateOf(looked),
        next_check: dateOf(due),
        keys: [
          ...keys.map(({ key, state, since, until }) => ({
            tag: key.tag,
            algorithm: algorithmText(key.algorithm),
            state,
            since: dateOf(since),
            until: dateOf(until),
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

const dateOf = (sec: number): string | undefined => (sec !== 0 && isWritableTime(sec) ? dateText(sec) : undefined);
