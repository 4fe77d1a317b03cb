// The `nta` command of the control socket: negative trust anchors (RFC 7646), which end by themselves.

import type { AgeSec } from '../base/time.js';
import { type Name, nameOf, nameText } from '../dnssec/name.js';
import type { NegativeAnchors } from '../dnssec/negative.js';
import { nameFromText } from '../wire/name.js';
import { durationMs } from './duration.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

const DEFAULT_MS = 86_400_000;
/** RFC 7646 §2: at most a week. */
const MAX_MS = 7 * DEFAULT_MS;

/**
 * Makes the command.
 * @param changed called with a name that was added or removed; forgets the known states of the name and of names below
 * it
 */
export const ntaCommand = (
  negative: NegativeAnchors,
  ageNow: () => AgeSec,
  changed: (name: Name) => void,
): ControlCommand => ({
  run([what = 'list', nameArg, durationArg]) {
    if (what === 'list') return listed(negative, ageNow());
    if (what !== 'add' && what !== 'remove')
      return { ok: false, problem: `nta ${what}: there are add, remove and list` };
    const wire = nameArg === undefined ? undefined : nameFromText(nameArg);
    if (wire === undefined)
      return {
        ok: false,
        problem: `nta ${what} needs a NAME${nameArg === undefined ? '' : `, which ${JSON.stringify(nameArg)} is not`}`,
      };
    const name = nameOf(wire);
    if (what === 'remove') {
      switch (negative.remove(name)) {
        case 'configured':
          return {
            ok: false,
            problem: `${nameText(name)} is in the configuration: take it out of dnssec.negative_trust_anchors and reload`,
          };
        case 'none':
          return {
            ok: false,
            problem: `there is no negative trust anchor at ${nameText(name)}; "nta list" shows them`,
          };
        case 'removed':
      }
    } else {
      if (name.length === 1)
        return { ok: false, problem: 'not at the root: that would switch validation off; dnssec.mode does' };
      const forMs = durationArg === undefined ? DEFAULT_MS : durationMs(durationArg);
      if (forMs === undefined || forMs < 1000 || forMs > MAX_MS)
        return { ok: false, problem: `${durationArg ?? ''} is not allowed: 1s to 7d` };
      if (!negative.add(name, forMs / 1000))
        return { ok: false, problem: 'there are too many temporary negative trust anchors; "nta list" shows them' };
    }
    changed(name);
    return listed(negative, ageNow());
  },
});

function listed(negative: NegativeAnchors, ageNow: AgeSec): ControlReply {
  const data = negative.list.map(each => ({
    name: nameText(each.name),
    seconds: each.at === 'temporary' ? Math.ceil(each.until - ageNow) : undefined,
  }));
  return {
    ok: true,
    data,
    text:
      data.length === 0
        ? 'There is no negative trust anchor but those of private and special names.'
        : data
            .map(
              ({ name, seconds }) =>
                `${name.padEnd(32)} ${seconds === undefined ? 'configured' : `for ${seconds} s more`}`,
            )
            .join('\n'),
  };
}
