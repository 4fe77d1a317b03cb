// The lists in force, and for whom: by class of clients, with schedules and pauses. A class is a group of clients; class 0 has those
// of no group.

import type { Clock } from '../../base/ports.js';
import { isInForce, type Schedule } from '../../base/schedule.js';
import { ageAfter, type AgeSec } from '../../base/time.js';
import { Lists, type ListView } from './choice.js';

/** The lists of a class. */
export interface ListClass {
  /** The name of the group; undefined: clients of no group. */
  readonly group: string | undefined;
  /** A bit for each list. */
  readonly lists: number;
  /** When its lists are in force; undefined: always. */
  readonly schedule: Schedule | undefined;
}

const NOTHING: ListView = { lists: 0, group: undefined };
const EVERYBODY = '';

/** The lists in force. */
export class ListPolicy {
  /** The rules. */
  lists = Lists.none();
  private classes: readonly ListClass[] = [];
  /** By class: what is looked at now. */
  private views: readonly ListView[] = [];
  /** Until when lists are paused, by group; EVERYBODY: all. */
  private readonly pauses = new Map<string, AgeSec>();

  constructor(
    private readonly clock: Clock,
    /** Pauses go on while the machine sleeps. */
    private readonly ageNow: () => AgeSec,
  ) {}

  /** What is looked at for a class of clients. */
  viewOf(clientClass: number): ListView {
    return this.views[clientClass] ?? NOTHING;
  }

  /** When the lists of a class are looked at; undefined: always. */
  scheduleOf(clientClass: number): Schedule | undefined {
    return this.classes[clientClass]?.schedule;
  }

  /** Brings lists and classes into force. */
  take(lists: Lists, classes: readonly ListClass[]): void {
    this.lists = lists;
    this.classes = classes;
    const groups = new Set(classes.map(({ group }) => group));
    for (const name of this.pauses.keys()) if (name !== EVERYBODY && !groups.has(name)) this.pauses.delete(name);
    this.look();
  }

  /** Whether a group has this name. */
  hasGroup(name: string): boolean {
    return this.classes.some(({ group }) => group === name);
  }

  /** Looks at no list for some time. @param group undefined: for everybody */
  pause(group: string | undefined, forMs: number): void {
    this.pauses.set(group ?? EVERYBODY, ageAfter(this.ageNow(), forMs / 1000));
    this.look();
  }

  /** Ends a pause. @param group undefined: all pauses */
  resume(group: string | undefined): void {
    if (group === undefined) this.pauses.clear();
    else this.pauses.delete(group);
    this.look();
  }

  /** The pauses: of which group (undefined: everybody), and for how many milliseconds more. */
  get paused(): readonly { readonly group: string | undefined; readonly leftMs: number }[] {
    const now = this.ageNow();
    return [...this.pauses].map(([name, until]) => ({
      group: name === EVERYBODY ? undefined : name,
      leftMs: 1000 * (until - now),
    }));
  }

  /** Whether what is looked at changes with time. */
  get isTimed(): boolean {
    return this.pauses.size > 0 || this.classes.some(({ schedule }) => schedule !== undefined);
  }

  /** Works out what is looked at now. @returns whether that has changed */
  look(): boolean {
    const { clock, ageNow, pauses, classes } = this;
    const now = ageNow();
    for (const [name, until] of pauses) if (until <= now) pauses.delete(name);
    const date = new Date(clock.wallMs());
    const before = this.views;
    this.views = classes.map(({ group, lists, schedule }) => {
      const isPaused = pauses.has(EVERYBODY) || (group !== undefined && pauses.has(group));
      const isOff = isPaused || !isInForce(schedule, date);
      return { lists: isOff ? 0 : lists, group };
    });
    return before.some(({ lists }, i) => lists !== this.views[i]?.lists);
  }
}
