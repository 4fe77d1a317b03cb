// The cache on disk: read at the start, written now and then and at the end.

import { createHash } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import type { Clock, Log } from '../base/ports.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import {
  OtherSettings,
  type SnapshotBlock,
  SnapshotError,
  snapshotPieces,
  SnapshotReader,
  type SnapshotRecord,
  type StoredBlock,
} from '../cache/snapshot.js';
import type { StateStore } from '../os/state-store.js';
import type { Job, JobRun } from '../pipeline/jobs/jobs.js';
import { type Plan, SNAPSHOT_SETTINGS } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** What is kept, and where. */
export interface CacheSnapshotParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly ageNow: () => AgeSec;
  readonly store: StateStore;
  /** All that is cached. */
  readonly cached: () => Iterable<SnapshotRecord | SnapshotBlock>;
  /** Takes what was cached, but nothing that was forgotten since. Returns how much of it. @throws SnapshotError */
  readonly restore: (part: SnapshotRecord | StoredBlock) => number;
  /** Called when there is nothing more to restore. */
  readonly restored: () => void;
  /** Changes when something is forgotten: the file still has it. */
  readonly epoch: () => number;
  /** Whether each route with a schedule is in force: what is cached comes from those that are. */
  readonly scheduled: () => readonly boolean[];
  /** Called when it is due at another time. */
  readonly changed: () => void;
}

const FILE = 'cache.snapshot';
/** Reading lets others have a turn after this long. After a restart theirs are long, and shorter once this is done. */
const TURN_MS = 2;
const LOST = 'after a restart the cache is empty';
const STILL_THERE = 'names and answers of before are still in it';
/** After something was forgotten, the file that still has it is replaced at the latest this long after it was written. */
const SOON_MS = 5000;

/** The snapshot. */
export class CacheSnapshot implements Live {
  static readonly options = ['cache.persist', 'cache.save_every'];
  readonly options = CacheSnapshot.options;
  readonly dependsOn = SNAPSHOT_SETTINGS;
  private plan: Plan['snapshot'];
  private savedAt: MonoMs;
  private savedEpoch: number;
  /** From now on nobody waits for a turn. */
  private isClosing = false;
  /** Whether everything of the last process was read: until then, the file has more than the cache. */
  private isRead = false;
  /** Ends when the snapshot of the last start was read. */
  private reading: Promise<void> = Promise.resolve();

  constructor(
    private readonly parts: CacheSnapshotParts,
    { snapshot }: Plan,
  ) {
    this.plan = snapshot;
    this.savedAt = parts.clock.monotonicMs();
    this.savedEpoch = parts.epoch();
  }

  /** Writes it when it is due. */
  readonly job: Job = {
    name: 'cache-snapshot',
    dueInMs: () => {
      if (!this.plan.isOn) return Infinity;
      const afterMs = this.savedEpoch === this.parts.epoch() ? this.plan.everyMs : Math.min(SOON_MS, this.plan.everyMs);
      return this.savedAt + afterMs - this.parts.clock.monotonicMs();
    },
    run: (run: JobRun) => {
      if (this.isRead) this.save();
      run.done();
    },
  };

  /** Begins to read what the last process has written. */
  start(): void {
    if (!this.plan.isOn) this.parts.store.remove(FILE, STILL_THERE);
    this.reading = (this.plan.isOn ? this.read() : Promise.resolve()).finally(() => {
      this.isRead = true;
      this.parts.restored();
    });
  }

  /** Resolved when everything of the last process has been read. */
  async whole(): Promise<void> {
    await this.reading;
  }

  /** Resolved when everything of the last process has been read, or after this many milliseconds. */
  async wholeWithin(ms: number): Promise<void> {
    await Promise.race([this.reading, sleep(ms, undefined, { ref: false })]);
  }

  /** Writes it soon. */
  save(): void {
    const { store, clock, ageNow, cached, epoch } = this.parts;
    this.savedAt = clock.monotonicMs();
    this.savedEpoch = epoch();
    if (!this.plan.isOn) return;
    // It may be written later, when other routes are in force.
    const pieces = () => snapshotPieces(cached(), { ageNow: ageNow(), wallNow: clock.wallMs() }, this.settings);
    store.write(FILE, pieces, LOST);
  }

  /** Writes it now. Returns why it could not be written. */
  async saveNow(): Promise<string | undefined> {
    const { store } = this.parts;
    await this.reading;
    this.save();
    await store.flush();
    return store.unwritten.find(each => each.includes(FILE));
  }

  get isOn(): boolean {
    return this.plan.isOn;
  }

  prepare({ snapshot }: Plan): Prepared {
    return ready(() => {
      const wasOn = this.plan.isOn;
      this.plan = snapshot;
      if (wasOn && !snapshot.isOn) this.parts.store.remove(FILE, STILL_THERE);
      this.parts.changed();
    });
  }

  /** Writes it for the last time, once all of it is read: until then, the file has more than the cache. */
  async close(): Promise<void> {
    this.isClosing = true;
    await this.reading;
    if (this.isRead) this.save();
  }

  /** What is cached depends on these: a snapshot of other ones is not read. */
  private get settings(): string {
    return digestOf([this.plan.settings, ...this.parts.scheduled()].join('\n'));
  }

  private async read(): Promise<void> {
    const { store, log, clock, ageNow, restore } = this.parts;
    const reader = new SnapshotReader({ ageNow: ageNow(), wallNow: clock.wallMs() }, this.settings);
    let read = 0;
    try {
      for await (const chunk of store.pieces(FILE)) {
        reader.take(chunk);
        let turnSince = clock.monotonicMs();
        for (let part = reader.next(); part !== undefined; part = reader.next()) {
          read += restore(part);
          if (this.isClosing || clock.monotonicMs() - turnSince < TURN_MS) continue;
          await nextTurn();
          turnSince = clock.monotonicMs();
        }
      }
      if (reader.isEmpty) return;
      reader.finish();
      log.info({ records: read }, `the cache has ${read} records of before the restart`);
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      if (error instanceof OtherSettings) log.info({ file: FILE }, `${FILE} is not used: ${error.message}`);
      else log.warn({ file: FILE, records: read }, `${FILE} is not used any further: ${error.message}`);
    }
  }
}

const digestOf = (settings: string): string => createHash('sha256').update(settings).digest('hex');
