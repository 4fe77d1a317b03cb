// What is remembered over networks and restarts. Which servers have proved themselves on which network: what a downgrade to
// cleartext is measured against, since an attacker who blocks port 853 looks like a network that never let it through,
// except to someone who remembers. And the last addresses of servers that are known by name: with them a daemon can start
// where nobody answers in cleartext; a server that is not the right one any more can not prove the name.

import { isIP } from 'node:net';

/** What the endpoints and servers ask. */
export interface Memory {
  /** Whether this server has proved its identity on the network that we are on, in the last days. */
  proved(server: string): boolean;
  prove(server: string): void;
  /** The addresses that a server's name had when it was last looked up; empty: never. */
  recall(name: string): readonly string[];
  remember(name: string, addresses: readonly string[]): void;
}

/** The memory, from outside. */
export interface NetworkMemory extends Memory {
  /** Which network we are on, as a text that is the same whenever we are there. */
  network: string;
  /** Something is to be saved that was not saved yet. */
  readonly changed: boolean;
  /** For a file. */
  save(): string;
}

// RFC 9539 §4.2 remembers successes for three days.
const KEPT_MS = 3 * 86_400_000;
/** Pairs of network and server. A laptop that is carried about meets a few a week. */
const MOST = 256;
const MOST_NAMES = 64;
const MOST_ADDRESSES = 16;
/** A proof that is already there is not written again so soon. */
const REFRESH_MS = 3_600_000;

/**
 * Makes a NetworkMemory.
 * @param saved what `save` gave; anything else is ignored, since nothing can be lost but caution
 */
export function networkMemory(wallMs: () => number, saved = ''): NetworkMemory {
  const { proofs: savedProofs, addresses: savedAddresses } = parse(saved);
  const proofs = new Map<string, number>(savedProofs);
  const addresses = new Map<string, readonly string[]>(savedAddresses);
  let changed = false;
  const keyOf = (server: string): string => `${memory.network}\n${server}`;
  const memory: NetworkMemory & { changed: boolean } = {
    network: '',
    get changed() {
      return changed;
    },
    proved(server) {
      const at = proofs.get(keyOf(server));
      return at !== undefined && Math.abs(wallMs() - at) < KEPT_MS;
    },
    prove(server) {
      const key = keyOf(server);
      const nowMs = wallMs();
      const before = proofs.get(key);
      if (before !== undefined && Math.abs(nowMs - before) < REFRESH_MS) return;
      keepNewest(proofs, key, nowMs, MOST);
      changed = true;
    },
    recall: name => addresses.get(name) ?? [],
    remember(name, found) {
      const kept = found.slice(0, MOST_ADDRESSES);
      if (kept.join(' ') === addresses.get(name)?.join(' ')) return;
      keepNewest(addresses, name, kept, MOST_NAMES);
      changed = true;
    },
    save() {
      changed = false;
      return JSON.stringify({ version: 1, proofs: [...proofs], addresses: [...addresses] });
    },
  };
  return memory;
}

/** Sets a key and puts it last; the oldest leave above `most`. */
function keepNewest<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}

interface Saved {
  readonly proofs: readonly (readonly [string, number])[];
  readonly addresses: readonly (readonly [string, readonly string[]])[];
}

function parse(saved: string): Saved {
  const nothing: Saved = { proofs: [], addresses: [] };
  try {
    const read = JSON.parse(saved) as { version?: unknown; proofs?: unknown; addresses?: unknown };
    if (read.version !== 1) return nothing;
    return {
      proofs: pairs(read.proofs)
        .flatMap(([key, at]): [string, number][] => (typeof at === 'number' ? [[key, at]] : []))
        .slice(-MOST),
      addresses: pairs(read.addresses)
        .flatMap(([name, all]): [string, string[]][] =>
          Array.isArray(all)
            ? [[name, all.filter((each): each is string => typeof each === 'string' && isIP(each) !== 0)]]
            : [],
        )
        .slice(-MOST_NAMES),
    };
  } catch {
    return nothing;
  }
}

/** The pairs with text in front in what should be a list of such. */
const pairs = (list: unknown): [string, unknown][] =>
  Array.isArray(list)
    ? list.flatMap((each: unknown): [string, unknown][] =>
        Array.isArray(each) && typeof each[0] === 'string' ? [[each[0], each[1]]] : [],
      )
    : [];
