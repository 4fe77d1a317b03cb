// Answers in the store that replicas share: sealed on the way there, and opened on the way back.

import type { Observer } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import type { AgeSec } from '../base/time.js';
import type { Entry } from './entry.js';
import { MOST_SEALED_BYTES, type SharedEntries, type SharedFacts, type SharedPlace, storeSec } from './shared-entry.js';
import type { SharedLevel } from './shared-level.js';
import type { Moment } from './snapshot.js';

/** The parts that it uses. */
export interface SharedAnswersParts {
  readonly level: SharedLevel;
  readonly entries: SharedEntries;
  readonly clock: Clock;
  readonly ageNow: () => AgeSec;
  readonly observer: Observer;
  /** Settings that answers depend on, as text. */
  readonly settings: () => string;
  /** Answers that were stored up to then, seconds since 1970, are not used: they were forgotten here. */
  readonly since: () => number;
}

/** The answers. */
export class SharedAnswers {
  constructor(private readonly parts: SharedAnswersParts) {}

  /**
   * The place of the answer to a question; undefined: the store is not used now.
   * @param question a key of the answer cache
   */
  place(question: string, clientClass: SharedFacts['clientClass']): SharedPlace | undefined {
    const { level, entries, settings, observer } = this.parts;
    if (level.isOpen) return entries.place(question, { settings: settings(), clientClass });
    observer.sharedRead('skipped');
    return undefined;
  }

  /** Calls `take` once with the answer that is there, at once or within the deadline. */
  read(place: SharedPlace, take: (entry: Entry | undefined) => void): void {
    const { level, entries, observer, since } = this.parts;
    level.read(place.storeKey, MOST_SEALED_BYTES, found => {
      const entry = found.at === 'octets' ? entries.open(place, found.octets, this.now(), since()) : undefined;
      if (entry !== undefined) observer.sharedRead('hit');
      else observer.sharedRead(found.at === 'octets' ? 'unusable' : found.at);
      take(entry);
    });
  }

  /** Stores a copy of an answer. Nobody waits for it. */
  write(place: SharedPlace, entry: Entry): void {
    const { level, entries, observer } = this.parts;
    const sealed = level.isOpen ? entries.seal(place, entry, this.now()) : undefined;
    if (sealed === undefined) return observer.sharedWrite('skipped');
    level.write(place.storeKey, sealed, storeSec(entry.ttlSec), result => observer.sharedWrite(result));
  }

  private now(): Moment {
    const { ageNow, clock } = this.parts;
    return { ageNow: ageNow(), wallNow: clock.wallMs() };
  }
}
