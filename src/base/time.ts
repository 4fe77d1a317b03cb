// A type for each clock, so that a time of one clock cannot be passed for a time of another. The difference of two times of one
// clock is a plain number; `…After` adds such a number to a time.

declare const clock: unique symbol;

/** Seconds on the age clock, which TTLs count by (base/age-clock): since some start, sleep included, never backwards. */
export type AgeSec = number & { readonly [clock]: 'age' };
/** Seconds since 1970, the time of signatures and certificates. It may jump. */
export type WallSec = number & { readonly [clock]: 'wall' };
/** Milliseconds since 1970. They may jump. */
export type WallMs = number & { readonly [clock]: 'wallMs' };
/** Milliseconds on the monotonic clock, for timeouts: since some start, without sleep, never backwards. */
export type MonoMs = number & { readonly [clock]: 'mono' };

/** Marks a number as seconds on the age clock. */
export const ageSec = (seconds: number): AgeSec => seconds as AgeSec;
/** Marks a number as seconds since 1970. */
export const wallSec = (seconds: number): WallSec => seconds as WallSec;
/** Marks a number as milliseconds since 1970. */
export const wallMs = (ms: number): WallMs => ms as WallMs;
/** Marks a number as milliseconds on the monotonic clock. */
export const monoMs = (ms: number): MonoMs => ms as MonoMs;

/** The time on the age clock `seconds` after `from`. */
export const ageAfter = (from: AgeSec, seconds: number): AgeSec => ageSec(from + seconds);
/** The time on the monotonic clock `ms` after `from`. */
export const monoAfter = (from: MonoMs, ms: number): MonoMs => monoMs(from + ms);
/** Converts milliseconds since 1970 into seconds. */
export const wallSecOf = (ms: WallMs): WallSec => wallSec(ms / 1000);
