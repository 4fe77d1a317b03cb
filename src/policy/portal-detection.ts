// Decides when to look for a captive portal, and opens and closes the portal window (portal.ts) with what is found. It
// looks at the start, after a change of the network, after a sleep, and when no server can be reached; otherwise never.
// Pure: whoever looks tells the result.
//
//   idle ──trigger──▶ looking ──captive──▶ captive (window open)
//    ▲                  │ free               │ free, closed by command, or open for too long
//    └──────────────────┴────────────────────┘
//
// In `looking`, looks that nobody answers are repeated a few times; then it is `idle`, or `captive` if a window that
// detection has opened is still open. A trigger leads from each state but `off` to `looking`; one for failures only from
// `idle`.

import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import type { Portal } from './portal.js';

/** Why to look. */
export type DetectionTrigger = 'start' | 'network' | 'resume' | 'failing';

/** What was found. */
export type PortalFinding =
  /** No portal. */
  | { readonly at: 'free' }
  /** A portal; `url`: its page, if it is known; `names`: the names that are needed to reach the page. */
  | { readonly at: 'captive'; readonly url: string | undefined; readonly names: readonly Buffer[] }
  /** Nobody has answered. Nothing changes. */
  | { readonly at: 'unknown' };

/** Why a window that detection has opened was closed. */
export type DetectionEnd = 'free' | 'too_long' | 'off';

/** What it tells. */
export interface DetectionEvents {
  /** It has opened the window. */
  opened(url: string | undefined): void;
  /** It has closed the window. */
  closed(why: DetectionEnd): void;
  /** The time of the next look has changed. */
  due(): void;
}

type State =
  | { readonly at: 'off' }
  | { readonly at: 'idle' }
  /** A trigger has come; `tries` looks have found nothing. */
  | { readonly at: 'looking'; readonly nextAtMs: MonoMs; readonly tries: number }
  /** The window is open until `untilMs`, after so many checks. */
  | { readonly at: 'captive'; readonly nextAtMs: MonoMs; readonly untilMs: MonoMs; readonly checks: number };

/** Interfaces and addresses come up one by one. */
const GRACE_MS = 1000;
/** Looks that nobody has answered are repeated so often, after 2, 4 and 8 s. */
const MOST_RETRIES = 3;
const RETRY_MS = 2000;
/** The longest that a window stays open; a network that goes on saying that it has a portal could be lying. */
const LONGEST_OPEN_MS = 900_000;
/** While it is open, it is checked after this time, then ever more rarely. */
const CHECK_MS = 5000;
const CHECK_GROWTH = 1.5;
const LONGEST_CHECK_MS = 60_000;
/** That no server is reached leads to a look at most this often. */
const FAILING_PAUSE_MS = 60_000;
const NEVER = monoMs(Infinity);

/** A look that is under way. A result that comes after the next trigger belongs to another network. */
export interface Look {
  readonly generation: number;
}

/** The detection. */
export class PortalDetection {
  private state: State = { at: 'off' };
  /** Grows with each trigger. */
  private generation = 0;
  /** When `failing` has led to a look last. */
  private failingAtMs = monoMs(-Infinity);

  constructor(
    private readonly window: Portal,
    private readonly monotonicMs: () => MonoMs,
    private readonly events: DetectionEvents,
  ) {}

  /** Whether it is switched on. */
  get isOn(): boolean {
    return this.state.at !== 'off';
  }

  /** When to look next; Infinity: not before the next trigger. */
  get dueAtMs(): MonoMs {
    return this.state.at === 'looking' || this.state.at === 'captive' ? this.state.nextAtMs : NEVER;
  }

  /** Switches it on, which is a trigger, too, or off. */
  configure(isOn: boolean): void {
    if (isOn === this.isOn) return;
    if (isOn) {
      this.state = { at: 'idle' };
      return this.trigger('start');
    }
    this.generation++;
    this.enter({ at: 'off' });
    if (this.isOurs) this.close('off');
  }

  /** Something has happened after which there may be a portal, or none any more. */
  trigger(why: DetectionTrigger): void {
    if (this.state.at === 'off') return;
    const now = this.monotonicMs();
    if (why === 'failing') {
      if (this.state.at !== 'idle' || now - this.failingAtMs < FAILING_PAUSE_MS) return;
      this.failingAtMs = now;
    }
    this.generation++;
    const graceMs = why === 'start' || why === 'failing' ? 0 : GRACE_MS;
    this.enter({ at: 'looking', nextAtMs: monoAfter(now, graceMs), tries: 0 });
  }

  /** Begins the look that is due. Undefined: none is needed any more. */
  begin(): Look | undefined {
    const { state } = this;
    if (state.at === 'looking') return { generation: this.generation };
    if (state.at !== 'captive') return undefined;
    if (this.monotonicMs() < state.untilMs && this.isOurs) return { generation: this.generation };
    // A command has closed the window, or has made it its own: it is not touched any more.
    const mayClose = this.isOurs || this.window.open === undefined;
    this.enter({ at: 'idle' });
    if (mayClose && this.monotonicMs() >= state.untilMs) this.close('too_long');
    return undefined;
  }

  /** A look has ended. */
  ended({ generation }: Look, finding: PortalFinding): void {
    if (generation !== this.generation) return;
    const { state } = this;
    const now = this.monotonicMs();
    if (state.at === 'looking') return this.looked(state.tries, finding, now);
    if (state.at !== 'captive') return;
    if (finding.at === 'free') return this.free();
    const { untilMs } = state;
    const checks = state.checks + 1;
    const pauseMs = Math.min(LONGEST_CHECK_MS, CHECK_MS * CHECK_GROWTH ** checks);
    this.enter({ at: 'captive', nextAtMs: monoMs(Math.min(monoAfter(now, pauseMs), untilMs)), untilMs, checks });
  }

  private looked(tries: number, finding: PortalFinding, now: MonoMs): void {
    if (finding.at === 'free') return this.free();
    if (finding.at === 'unknown') {
      const again = monoAfter(now, RETRY_MS * 2 ** tries);
      return this.enter(
        tries < MOST_RETRIES ? { at: 'looking', nextAtMs: again, tries: tries + 1 } : this.afterSilence(),
      );
    }
    // A window that a command has opened stays as it is.
    if (this.window.open?.cause.by === 'command') return this.enter({ at: 'idle' });
    const untilMs = monoAfter(now, LONGEST_OPEN_MS);
    this.window.start(LONGEST_OPEN_MS, finding.names, { by: 'detected', url: finding.url });
    this.enter({ at: 'captive', nextAtMs: monoAfter(now, CHECK_MS), untilMs, checks: 0 });
    this.events.opened(finding.url);
  }

  /** Nobody has answered. A window that is open stays open, and is still checked. */
  private afterSilence(): State {
    const leftMs = this.isOurs ? this.window.leftMs : 0;
    if (leftMs === 0) return { at: 'idle' };
    const now = this.monotonicMs();
    const untilMs = monoAfter(now, leftMs);
    return { at: 'captive', nextAtMs: monoMs(Math.min(monoAfter(now, CHECK_MS), untilMs)), untilMs, checks: 0 };
  }

  private free(): void {
    const { isOurs } = this;
    this.enter({ at: 'idle' });
    if (isOurs) this.close('free');
  }

  private close(why: DetectionEnd): void {
    this.window.stop();
    this.events.closed(why);
  }

  /** Whether the window is open because of a detected portal. */
  private get isOurs(): boolean {
    return this.window.open?.cause.by === 'detected';
  }

  private enter(state: State): void {
    this.state = state;
    this.events.due();
  }
}
