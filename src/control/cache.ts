// The `cache` and `flush` commands of the control socket.

import { isWithin, type Name, nameOf, nameText } from '../dnssec/name.js';
import { nameFromText } from '../wire/name.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

/** The parts that the commands use. */
export interface CacheParts {
  readonly stats: () => {
    readonly entries: number;
    readonly bytes: number;
    readonly limitBytes: number;
    readonly zones: number;
  };
  /** Forgets answers, and known states of zones, for the names that `isMeant` accepts. Returns how many answers. */
  readonly forget: (isMeant: (name: Name) => boolean) => number;
}

/** Makes the commands. */
export function cacheCommands({ stats, forget }: CacheParts): {
  readonly cache: ControlCommand;
  readonly flush: ControlCommand;
} {
  function flush(what: string, isMeant: (name: Name) => boolean): ControlReply {
    const forgotten = forget(isMeant);
    return {
      ok: true,
      text: `${forgotten} answer${forgotten === 1 ? '' : 's'} forgotten: ${what}.`,
      data: { forgotten },
    };
  }
  function flushName(text: string | undefined, below: boolean): ControlReply {
    const wire = text === undefined ? undefined : nameFromText(text);
    if (wire === undefined)
      return {
        ok: false,
        problem: `a NAME is needed${text === undefined ? '' : `, which ${JSON.stringify(text)} is not`}`,
      };
    const name = nameOf(wire);
    return below
      ? flush(`${nameText(name)} and all below it`, each => isWithin(each, name))
      : flush(nameText(name), each => each === name);
  }
  return {
    flush: { run: ([name]) => flushName(name, false) },
    cache: {
      run([what = 'stats', of, name]) {
        if (what === 'stats') {
          const { entries, bytes, limitBytes, zones } = stats();
          return {
            ok: true,
            data: { entries, bytes, limit_bytes: limitBytes, zones },
            text: `${entries} answers in ${bytes} of ${limitBytes} octets; the keys and proofs of ${zones} names`,
          };
        }
        if (what !== 'flush') return { ok: false, problem: `cache ${what}: there are stats and flush` };
        switch (of) {
          case 'all':
            return flush('all', () => true);
          case 'name':
            return flushName(name, false);
          case 'zone':
            return flushName(name, true);
          default:
            return { ok: false, problem: `cache flush ${of ?? ''}: there are "name NAME", "zone NAME" and "all"` };
        }
      },
    },
  };
}
