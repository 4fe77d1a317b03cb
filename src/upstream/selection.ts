// Decides which endpoint to ask next, from the configured policy and the attempts so far. Pure. mode.ts decides which
// path an endpoint may be asked over.

import { finishedHash } from '../base/hash.js';
import type { Mode } from '../base/overview.js';
import type { Random } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { type Health, mayTryAnyway, type Path } from './mode.js';

/** The configured policy. */
export type Policy = 'fastest' | 'ordered' | 'round_robin' | 'random' | 'sharded';

/** The facts about a candidate that a policy uses. */
export interface Candidate {
  /** Smoothed round-trip time, or undefined while nothing was measured. */
  readonly srttMs: number | undefined;
  /** Whether a usable connection is open. */
  readonly open: boolean;
  /** The same for all addresses of one server. */
  readonly shardId: number;
}

/**
 * How probable an answer is, the best first. `works`: a connection is open, it worked without a failure since, or it is
 * asked in cleartext and has not stopped answering. `unknown`: it was not reached yet, or a handshake has taken long.
 * `doubtful`: it has failed, and may be tried again.
 */
const STANDINGS = ['works', 'unknown', 'doubtful'] as const;
export type Standing = (typeof STANDINGS)[number];

/** A candidate with its state: it may be in back-off, not known to be private, or to be avoided. */
export interface Target extends Candidate {
  readonly server: { readonly id: number };
  readonly health: Health;
  /** Where a question may go now. */
  path(nowMs: MonoMs): Path;
  /** How probable an answer is. */
  readonly standing: Standing;
  /** Whether its server was authenticated on this network, so that cleartext is refused for now. */
  isHeld(nowMs: MonoMs): boolean;
}

/** The state of an attempt. */
export type AttemptState =
  /** It may still bring an answer. */
  | 'running'
  /** It brought an answer. */
  | 'answered'
  /** It brings no answer, and the server is to blame. */
  | 'lost'
  /**
   * It brings no answer, because a connection closed without a fault of the server. The same target is asked again
   * first.
   */
  | 'closed'
  /** The same, and the question may be the reason: others are asked first. */
  | 'hung_up';

/** One attempt to get an answer to a question. The attempts of a question are linked, newest first. */
export interface Tried<C> {
  readonly to: C;
  readonly path: 'tls' | 'cleartext';
  readonly state: AttemptState;
  readonly earlier: Tried<C> | undefined;
}

/** The facts about a question that the choice uses. */
export interface Asked<C> {
  /** The newest attempt. */
  readonly latest: Tried<C> | undefined;
  /** Ids of servers that are only asked if there is no other. */
  readonly avoid: readonly number[];
  /** A number that grows by one with each question, for round_robin. */
  readonly turn: number;
  /** A number that is the same for all names of one registrable domain, for sharded. */
  readonly shard: number;
}

/** The endpoints to choose from. */
export interface Candidates<C> {
  readonly policy: Policy;
  readonly mode: Mode;
  /** In the order of the configuration. */
  readonly endpoints: readonly C[];
}

/**
 * Chooses the next target, in this order: one whose connection closed without a fault of the server; one that was not
 * asked yet, those with the best standing first; one that hung up on the question; one whose connection closed and that
 * is in back-off; and, if no attempt is running, one in back-off that was not asked yet.
 * @returns undefined: none now
 */
export function nextToAsk<C extends Target>(
  question: Asked<C>,
  group: Candidates<C>,
  random: Random,
  nowMs: MonoMs,
): C | undefined {
  const tlsOnly = isTlsOnly(group, nowMs);
  const sole = group.endpoints.length === 1 ? group.endpoints[0] : undefined;
  // The usual case: there is no choice to prepare.
  if (question.latest === undefined && sole !== undefined && pathTo(sole, tlsOnly, nowMs) !== 'refuse') return sole;
  return chosenOf(question, group, tlsOnly, random, nowMs);
}

/** The choice where there is one. @param tlsOnly whether no name may go in cleartext */
function chosenOf<C extends Target>(
  { latest, turn, shard, avoid }: Asked<C>,
  { endpoints, policy }: Candidates<C>,
  tlsOnly: boolean,
  random: Random,
  nowMs: MonoMs,
): C | undefined {
  const leaks = (target: C): boolean => tlsOnly && target.path(nowMs) === 'cleartext';
  const may = (target: C): boolean => pathTo(target, tlsOnly, nowMs) !== 'refuse';
  const closed = latest === undefined ? undefined : lastTarget(latest, 'closed', may);
  if (closed !== undefined) return closed;
  const untried = latest === undefined ? endpoints : endpoints.filter(each => !wasTried(latest, each, nowMs));
  // With one candidate no choice has to be prepared.
  const only = untried[0];
  if (untried.length === 1 && only !== undefined && may(only)) return only;
  const usable = withoutAvoided(avoid, untried.filter(may));
  const trials = (): readonly C[] => untried.filter(each => mayTryAnyway(each.health, nowMs) && !leaks(each));
  const chosen = choose(policy, mostProbable(usable), turn, shard, random);
  if (chosen !== undefined || latest === undefined) {
    // All may be in back-off. Each may still be tried, at most once a second.
    return chosen ?? choose(policy, trials(), turn, shard, random);
  }
  const again =
    lastTarget(latest, 'hung_up', may) ??
    lastTarget(latest, 'closed', each => endpoints.includes(each) && !leaks(each));
  if (again !== undefined || isRunning(latest)) return again;
  return choose(policy, trials(), turn, shard, random);
}

/**
 * Opportunistic mode: while TLS works with one server, or a server is held (downgrade.ts), no name goes in cleartext to
 * any server.
 */
export const isTlsOnly = (
  { mode, endpoints }: Pick<Candidates<Target>, 'mode' | 'endpoints'>,
  nowMs: MonoMs,
): boolean =>
  mode === 'opportunistic' &&
  (endpoints.some(each => each.health.at === 'private') || endpoints.some(each => each.isHeld(nowMs)));

/** Where a question may go now, in a group in which `tlsOnly` says whether no name may go in cleartext. */
export function pathTo(target: Pick<Target, 'path'>, tlsOnly: boolean, nowMs: MonoMs): Path {
  const path = target.path(nowMs);
  return path === 'cleartext' && tlsOnly ? 'refuse' : path;
}

/** The targets with the best standing of all. */
function mostProbable<C extends Target>(targets: readonly C[]): readonly C[] {
  if (targets.length < 2) return targets;
  for (const standing of STANDINGS) {
    const those = targets.filter(each => each.standing === standing);
    if (those.length > 0) return those;
  }
  return targets;
}

/** Whether an attempt may still bring an answer. */
export function isRunning<C>(latest: Tried<C> | undefined): boolean {
  for (let each = latest; each !== undefined; each = each.earlier) if (each.state === 'running') return true;
  return false;
}

/** The target of the oldest attempt in this state that was not repeated. */
function lastTarget<C>(latest: Tried<C>, state: AttemptState, may: (target: C) => boolean): C | undefined {
  let found: C | undefined;
  for (let each: Tried<C> | undefined = latest; each !== undefined; each = each.earlier)
    if (each.state === state && may(each.to)) found = each.to;
  return found;
}

/** Whether asking a target again is useless. In opportunistic mode cleartext may succeed where TLS failed. */
function wasTried<C extends Target>(latest: Tried<C>, target: C, nowMs: MonoMs): boolean {
  let overTls = false;
  for (let each: Tried<C> | undefined = latest; each !== undefined; each = each.earlier) {
    if (each.to !== target) continue;
    if (each.path === 'cleartext' || each.state === 'running' || each.state === 'answered') return true;
    overTls = true;
  }
  return overTls && target.path(nowMs) !== 'cleartext';
}

/** The targets whose servers need not be avoided; all targets, if there are no others. */
function withoutAvoided<C extends Target>(avoid: readonly number[], usable: readonly C[]): readonly C[] {
  if (avoid.length === 0) return usable;
  const others = usable.filter(each => !avoid.includes(each.server.id));
  return others.length > 0 ? others : usable;
}

// One query in this many goes to a random server; otherwise a slow server that has become fast would not be noticed.
const EXPLORE_ONE_IN = 20;

/**
 * Chooses one of the candidates, which are in the order of the configuration.
 * @param turn a number that grows by one with each question, for round_robin
 * @param shard a number that is the same for all names of one registrable domain, for sharded
 */
export function choose<C extends Candidate>(
  policy: Policy,
  candidates: readonly C[],
  turn: number,
  shard: number,
  random: Random,
): C | undefined {
  if (candidates.length < 2) return candidates[0];
  switch (policy) {
    case 'ordered':
      return candidates[0];
    case 'round_robin':
      return candidates[turn % candidates.length];
    case 'random':
      return candidates[random.below(candidates.length)];
    case 'sharded':
      // Rendezvous hashing: when a server cannot be reached, only its own domains move.
      return candidates.reduce((best, each) =>
        weight(each.shardId, shard) > weight(best.shardId, shard) ? each : best,
      );
    case 'fastest': {
      if (random.below(EXPLORE_ONE_IN) === 0) return candidates[random.below(candidates.length)];
      return candidates.reduce((best, each) => (cost(each) < cost(best) ? each : best));
    }
  }
}

/**
 * The cost in milliseconds. An unmeasured server comes before measured ones if its connection is open, after them if it
 * needs a handshake.
 */
const cost = ({ srttMs, open }: Candidate): number => srttMs ?? (open ? 0 : Number.MAX_SAFE_INTEGER);

const weight = (serverId: number, shard: number): number => finishedHash(Math.imul(serverId ^ shard, 0x9e3779b1)) >>> 0;
