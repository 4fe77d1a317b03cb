// The `portal` command of the control socket.

import { visible } from '../base/visible.js';
import { signInWords } from './health.js';
import type { Portal } from '../policy/portal.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { durationMs } from './duration.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

const DEFAULT_MS = 300_000;
const MAX_MS = 3_600_000;

/**
 * Makes the command.
 * @param changed called after the window was opened or closed; forgets cached answers about its names
 */
export const portalCommand = (portal: Portal, changed: () => void): ControlCommand => ({
  run([what = 'status', ...args]) {
    switch (what) {
      case 'status':
        return told(portal);
      case 'stop':
        portal.stop();
        changed();
        return told(portal);
      case 'start': {
        const forMs = args.length > 0 ? durationMs(args[0] ?? '') : undefined;
        if (forMs !== undefined && (forMs < 1000 || forMs > MAX_MS))
          return { ok: false, problem: `${args[0] ?? ''} is not allowed: 1s to 1h` };
        const own = [];
        for (const text of forMs === undefined ? args : args.slice(1)) {
          const name = nameFromText(text);
          // The root and top-level domains contain too many names to be sent in cleartext.
          if (name === undefined || name.length <= (name[0] ?? 0) + 2)
            return { ok: false, problem: `${JSON.stringify(text)} is neither a duration such as 5m nor a host name` };
          own.push(lowerCased(name));
        }
        portal.start(forMs ?? DEFAULT_MS, own, { by: 'command' });
        changed();
        return told(portal);
      }
      default:
        return { ok: false, problem: `portal ${what}: there are start, stop and status` };
    }
  },
});

function told({ open }: Portal): ControlReply {
  if (open === undefined) return { ok: true, text: 'The portal window is closed.', data: { open: false, seconds: 0 } };
  const { cause, leftMs, visit } = open;
  const seconds = Math.ceil(leftMs / 1000);
  const url = cause.by === 'detected' ? cause.url : undefined;
  const words = [
    `The portal window is open for ${seconds} s: names of portal.names go to the network's resolvers in cleartext.`,
    ...(cause.by === 'detected' ? ['It was opened because this network has a captive portal.'] : []),
    ...(visit === undefined ? [] : [visible(`Now ${signInWords(visit)}: the network shows its page there.`)]),
  ];
  return { ok: true, text: words.join('\n'), data: { open: true, seconds, by: cause.by, url, visit } };
}
