// The log: pino's JSON lines, or the same events as text on a terminal.

import { pino } from 'pino';

import type { Log } from '../base/ports.js';

/** How to log. */
export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly format: 'auto' | 'json' | 'text';
}

/** Where lines go; `process.stdout` is one. */
export interface LogSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Makes the Log port; its level may be changed. */
export function logger({ level, format }: LogOptions, sink: LogSink): Log & { level: LogOptions['level'] } {
  const asText = format === 'text' || (format === 'auto' && sink.isTTY === true);
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    asText
      ? { write: line => void sink.write(textLine(line, sink.isTTY === true)) }
      : { write: line => void sink.write(line) },
  );
  return {
    debug: (fields, words) => log.debug(fields, words),
    info: (fields, words) => log.info(fields, words),
    warn: (fields, words) => log.warn(fields, words),
    error: (fields, words) => log.error(fields, words),
    get level() {
      return level;
    },
    set level(wanted) {
      level = wanted;
      log.level = wanted;
    },
  };
}

const COLOURS: Readonly<Record<string, string>> = { error: '31', warn: '33', info: '32', debug: '90' };

/** `10:23:45 WARN  words  key=value …` */
function textLine(json: string, colours: boolean): string {
  const { level = '', time = '', msg = '', ...fields } = JSON.parse(json) as Record<string, unknown>;
  const paint = (colour: string, text: string): string => (colours ? `\x1b[${colour}m${text}\x1b[0m` : text);
  const label = paint(COLOURS[String(level)] ?? '0', String(level).toUpperCase().padEnd(5));
  const rest = Object.entries(fields).map(([key, value]) =>
    paint('90', `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`),
  );
  return `${[String(time).slice(11, 19), label, String(msg), ...rest].join(' ')}\n`;
}
