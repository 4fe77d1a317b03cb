// What a row of the table of options is, and how it is played.

import type { Test } from 'tap';

import { eventually, type Json, Rig, type RigServer } from '../../fixtures/rig.js';

export type Phase = 'before' | 'after';

/** What a row does with a daemon. */
export interface Scene {
  /** Configurations, put into the rig's base. */
  readonly before: Json;
  readonly after: Json;
  /** Called before a configuration is taken over, to change what its files hold. */
  readonly apply?: (phase: Phase) => void;
  /** All that shows the option from outside, as plain data. */
  readonly facts: () => Promise<unknown>;
  readonly expected: {
    readonly before: unknown;
    readonly after: unknown;
    /** Back at the configuration of before, where it is not the same: what was learned in between stays known. */
    readonly again?: unknown;
  };
}

/** One exchange of options. */
export interface Row {
  readonly title: string;
  /** The options that the reload reports, and no others. */
  readonly options: readonly string[];
  /** What becomes of an answer that was cached at the start: it is kept, or asked for anew after each reload. */
  readonly cache?: 'kept' | 'forgotten' | 'unseen';
  /** True: closing takes its time, and facts come true a moment after the reload. */
  readonly slow?: boolean;
  /** True: it counts what the whole process has, and is played while nothing else is. */
  readonly alone?: boolean;
  /** Why it cannot be played here; false: it can. */
  readonly skip?: string | false;
  /** `main`: the server that is asked, unless the row names others. */
  readonly scene: (rig: Rig, main: RigServer) => Promise<Scene>;
}

const CANARY = 'canary.example';

/** Plays a row: there, and back. */
export async function play(t: Test, { options, cache = 'kept', slow = false, scene: make }: Row): Promise<void> {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const scene = await make(rig, main);
  const { before, after, expected } = scene;
  const over = (config: Json): Json => ({ ...config, upstream: { servers: [main.entry], ...upstreamOf(config) } });
  const look = async (wanted: unknown): Promise<unknown> => (slow ? eventually(scene.facts, wanted) : scene.facts());
  const canary = async (times: number): Promise<void> => {
    if (cache === 'unseen') return;
    t.match(await rig.answer(CANARY), 'NOERROR');
    const count = main.asked.filter(name => name === CANARY).length;
    t.equal(count, cache === 'kept' ? 1 : times, cache === 'kept' ? 'the cache is kept' : 'nothing of before counts');
  };
  scene.apply?.('before');
  await rig.start(over(before));
  await canary(1);
  t.same(await look(expected.before), expected.before, 'before');
  const wanted = { now: options.toSorted(), later: [] };
  scene.apply?.('after');
  t.same(await rig.reload(over(after)), wanted, 'the reload says what has changed');
  t.same(await look(expected.after), expected.after, 'after');
  await canary(2);
  scene.apply?.('before');
  t.same(await rig.reload(over(before)), wanted);
  const again = 'again' in expected ? expected.again : expected.before;
  t.same(await look(again), again, 'back');
  await canary(3);
  t.same(rig.overview().waiting, [], 'nothing waits for a restart');
  t.match(rig.overview().reload, { taken: true });
  t.same(await rig.reload(over(before)), { now: [], later: [] }, 'and nothing changes where nothing has changed');
}

const upstreamOf = ({ upstream }: Json): Json => (typeof upstream === 'object' ? { ...upstream } : {});
