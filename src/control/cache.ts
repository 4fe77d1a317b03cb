// The `cache` and `flush` commands of the control socket.

import { cacheText } from '../base/rates.js';
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
    readonly sizeBytes: number;
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
  /** What "flush" and "cache flush" do, with the same words. */
  function flushed([of, name, ...more]: readonly string[]): ControlReply {
    if (of === 'all' && name === undefined) return flush('all', () => true);
    if (of === 'name' && more.length === 0) return flushName(name, false);
    if (of === 'zone' && more.length === 0) return flushName(name, true);
    if (of !== undefined && of !== 'all' && name === undefined) return flushName(of, false);
    const words = of === undefined ? '' : ` ${[of, name, ...more].join(' ')}`;
    return { ok: false, problem: `flush${words}: there are NAME, "name NAME", "zone NAME" and "all"` };
  }
  return {
    flush: { run: flushed },
    cache: {
      run([what = 'stats', ...of]) {
        if (what === 'stats') {
          const seen = stats();
          const { entries, bytes, limitBytes, sizeBytes, zones } = seen;
          return {
            ok: true,
            data: { entries, bytes, limit_bytes: limitBytes, size_bytes: sizeBytes, zones },
            text: `${cacheText(seen)}; the keys and proofs of ${zones} names`,
          };
        }
        return what === 'flush' ? flushed(of) : { ok: false, problem: `cache ${what}: there are stats and flush` };
      },
    },
  };
}
