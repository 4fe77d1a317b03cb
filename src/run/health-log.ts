// Logs findings when they come and when they go. It looks only when there are questions: an idle machine is not woken for it.

import type { Finding, FindingId } from '../base/overview.js';
import type { Clock, Log } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';

/** The shortest time between two looks. */
const PAUSE_MS = 10_000;
/** Parts of the daemon log the others themselves, when they happen. */
const LOGGED: ReadonlySet<FindingId> = new Set<FindingId>([
  'silent',
  'errors',
  'denials',
  'one_address',
  'bogus',
  'clock',
  'failing',
  'not_asked',
  'asked_beside',
  'resolved_links',
]);

/** The log of findings. */
export class HealthLog {
  private lookedAt: MonoMs;
  /** Those that were logged, and still are so. */
  private told: ReadonlyMap<FindingId, Finding> = new Map();

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly findings: () => readonly Finding[],
  ) {
    this.lookedAt = clock.monotonicMs();
  }

  /** Looks, unless that was done just now. */
  look(): void {
    const now = this.clock.monotonicMs();
    if (now - this.lookedAt < PAUSE_MS) return;
    this.lookedAt = now;
    const before = this.told;
    const seen = this.findings().filter(({ id, level }) => level !== 'note' && LOGGED.has(id));
    this.told = new Map(seen.map(each => [each.id, each]));
    for (const { id, words, advice } of seen)
      if (!before.has(id)) this.log.warn({ finding: id }, advice === undefined ? words : `${words}: ${advice}`);
    for (const { id, words } of before.values())
      if (!this.told.has(id)) this.log.info({ finding: id }, `this is over: ${words}`);
  }
}
