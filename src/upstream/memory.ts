// Which servers have proved themselves on which network: what a downgrade to cleartext is measured against. An attacker
// who blocks port 853 looks like a network that never let it through, except to someone who remembers.

/** What the endpoints ask. */
export interface Memory {
  /** Whether this server has proved its identity on the network that we are on, in the last days. */
  proved(server: string): boolean;
  prove(server: string): void;
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
/** A proof that is already there is not written again so soon. */
const REFRESH_MS = 3_600_000;

/**
 * Makes a NetworkMemory.
 * @param saved what `save` gave; anything else is ignored, since nothing can be lost but caution
 */
export function networkMemory(wallMs: () => number, saved = ''): NetworkMemory {
  const proofs = new Map<string, number>(parse(saved));
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
      // The newest last, so that the oldest leave first.
      proofs.delete(key);
      proofs.set(key, nowMs);
      for (const oldest of proofs.keys()) {
        if (proofs.size <= MOST) break;
        proofs.delete(oldest);
      }
      changed = true;
    },
    save() {
      changed = false;
      return JSON.stringify({ version: 1, proofs: [...proofs] });
    },
  };
  return memory;
}

function parse(saved: string): [string, number][] {
  try {
    const { version, proofs } = JSON.parse(saved) as { version?: unknown; proofs?: unknown };
    if (version !== 1 || !Array.isArray(proofs)) return [];
    return proofs.flatMap((each: unknown): [string, number][] =>
      (Array.isArray(each) && typeof each[0] === 'string' && typeof each[1] === 'number' ? [[each[0], each[1]]] : [])).slice(-MOST);
  } catch {
    return [];
  }
}
