// The clocks, told apart by type. A number of one clock cannot be passed where another is meant; a difference of two of
// the same clock is a plain number, and `…After` adds one to a point in time.

declare const clock: unique symbol;

/** Seconds on the age clock, which TTLs count by: from some start, sleep included, never backwards (base/age-clock). */
export type AgeSec = number & { readonly [clock]: 'age' };
/** Seconds since 1970, as signatures and certificates mean them. May jump. */
export type WallSec = number & { readonly [clock]: 'wall' };
/** Milliseconds since 1970. May jump. */
export type WallMs = number & { readonly [clock]: 'wallMs' };
/** Milliseconds on the monotonic clock, for timeouts: from some start, sleep not included, never backwards. */
export type MonoMs = number & { readonly [clock]: 'mono' };

/** Says that a number was read from the age clock. */
export const ageSec = (seconds: number): AgeSec => seconds as AgeSec;
/** Says that a number of seconds counts from 1970. */
export const wallSec = (seconds: number): WallSec => seconds as WallSec;
/** Says that a number of milliseconds counts from 1970. */
export const wallMs = (ms: number): WallMs => ms as WallMs;
/** Says that a number was read from the monotonic clock. */
export const monoMs = (ms: number): MonoMs => ms as MonoMs;

/** The point on the age clock `seconds` after another one. */
export const ageAfter = (from: AgeSec, seconds: number): AgeSec => ageSec(from + seconds);
/** The point on the monotonic clock `ms` after another one. */
export const monoAfter = (from: MonoMs, ms: number): MonoMs => monoMs(from + ms);
/** Seconds since 1970 of milliseconds since then. */
export const wallSecOf = (ms: WallMs): WallSec => wallSec(ms / 1000);
