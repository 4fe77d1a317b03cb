// Times of the week, such as "mon-fri 20:00-07:00", in the local time of this machine.

import type { WallMs } from './time.js';

/** Days and minutes of a day. */
export interface Schedule {
  /** A bit for each day, Sunday first. */
  readonly days: number;
  /** Minutes since midnight. The end is not within; an end at or before the start is on the next day. */
  readonly fromMin: number;
  readonly toMin: number;
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const EVERY_DAY = 0x7f;
const DAY_MIN = 24 * 60;
const MINUTE_MS = 60_000;
const TIMES = /^(?:([a-z,-]{3,40})\s+)?(\d{2}):(\d{2})-(\d{2}):(\d{2})$/;

/** Reads a schedule; undefined: the text is none. */
export function parseSchedule(text: string): Schedule | undefined {
  const [, dayText, ...times] = TIMES.exec(text.trim().toLowerCase()) ?? [];
  const [fromHour = 99, fromMinute = 99, toHour = 99, toMinute = 99] = times.map(Number);
  const [fromMin, toMin] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  if (fromMinute > 59 || toMinute > 59 || fromMin >= DAY_MIN || toMin > DAY_MIN) return undefined;
  const days = dayText === undefined ? EVERY_DAY : daysOf(dayText);
  return days === undefined ? undefined : { days, fromMin, toMin: toMin % DAY_MIN };
}

function daysOf(text: string): number | undefined {
  let days = 0;
  for (const part of text.split(',')) {
    const [first = '', last = first, more] = part.split('-');
    const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
    if (from === -1 || to === -1 || more !== undefined) return undefined;
    for (let day = from; ; day = (day + 1) % 7) {
      days |= 1 << day;
      if (day === to) break;
    }
  }
  return days;
}

const two = (value: number): string => String(value).padStart(2, '0');
const timeText = (minutes: number): string => `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;

/** A schedule as text. */
export function scheduleText({ days, fromMin, toMin }: Schedule): string {
  const named = DAYS.filter((_, day) => ((days >> day) & 1) !== 0);
  return `${named.length === 7 ? '' : `${named.join(',')} `}${timeText(fromMin)}-${timeText(toMin)}`;
}

/** Whether something with a schedule is in force. @param schedule undefined: it always is @param at in local time */
export const isInForce = (schedule: Schedule | undefined, at: Date): boolean =>
  schedule === undefined || isWithinSchedule(schedule, at);

/** The minute of a time, counted from the epoch: within one, no schedule begins or ends. */
export const minuteOf = (nowMs: WallMs): number => Math.floor(nowMs / MINUTE_MS);

/** Milliseconds until the next time that a schedule can begin or end at. */
export const nextMinuteMs = (nowMs: WallMs): number => MINUTE_MS - (nowMs % MINUTE_MS);

/** Whether a time is within a schedule. @param at in local time */
export function isWithinSchedule({ days, fromMin, toMin }: Schedule, at: Date): boolean {
  const minutes = at.getHours() * 60 + at.getMinutes();
  const isOn = (day: number): boolean => ((days >> ((day + 7) % 7)) & 1) !== 0;
  const today = at.getDay();
  if (fromMin < toMin) return isOn(today) && minutes >= fromMin && minutes < toMin;
  return (isOn(today) && minutes >= fromMin) || (isOn(today - 1) && minutes < toMin);
}
