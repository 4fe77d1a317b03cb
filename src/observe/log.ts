// The log: pino's JSON lines, or the same events as text on a terminal.

import { type Logger, type LoggerOptions, pino } from 'pino';

import type { Log } from '../base/ports.js';
import { visible, visibleJson, visibleLines } from '../base/visible.js';

/** Options of the log. */
export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly format: 'auto' | 'json' | 'text';
}

/** Where lines are written; `process.stdout` is one. */
export interface LogSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A log whose options may change while it is in use. */
export interface ConfigurableLog extends Log {
  level: LogOptions['level'];
  configure(options: LogOptions): void;
}

/** Makes a log that writes to `sink`. */
export function logger(options: LogOptions, sink: LogSink): ConfigurableLog {
  return new PinoLog(options, sink);
}

class PinoLog implements ConfigurableLog {
  private readonly pino: Logger;
  private asText: boolean;

  constructor(
    { level, format }: LogOptions,
    private readonly sink: LogSink,
  ) {
    this.asText = this.isText(format);
    const options: LoggerOptions = {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    };
    this.pino = pino(options, { write: line => this.write(line) });
  }

  readonly debug: Log['debug'] = (fields, words) => this.pino.debug(fields, words);
  readonly info: Log['info'] = (fields, words) => this.pino.info(fields, words);
  readonly warn: Log['warn'] = (fields, words) => this.pino.warn(fields, words);
  readonly error: Log['error'] = (fields, words) => this.pino.error(fields, words);

  get level(): LogOptions['level'] {
    return LEVELS.find(each => each === this.pino.level) ?? 'info';
  }

  set level(wanted: LogOptions['level']) {
    this.pino.level = wanted;
  }

  configure({ level, format }: LogOptions): void {
    this.level = level;
    this.asText = this.isText(format);
  }

  private isText(format: LogOptions['format']): boolean {
    return format === 'text' || (format === 'auto' && this.sink.isTTY === true);
  }

  private write(line: string): void {
    this.sink.write(this.asText ? textLine(line, this.sink.isTTY === true) : visibleJson(line));
  }
}

const LEVELS: readonly LogOptions['level'][] = ['error', 'warn', 'info', 'debug'];
const COLOURS: Readonly<Record<string, string>> = { error: '31', warn: '33', info: '32', debug: '90' };

/** `10:23:45 WARN  words  key=value …` */
function textLine(json: string, colours: boolean): string {
  const { level = '', time = '', msg = '', ...fields } = JSON.parse(json) as Record<string, unknown>;
  const paint = (colour: string, text: string): string => (colours ? `\x1b[${colour}m${text}\x1b[0m` : text);
  const label = paint(COLOURS[String(level)] ?? '0', String(level).toUpperCase().padEnd(5));
  const rest = Object.entries(fields).map(([key, value]) => paint('90', `${visible(key)}=${valueText(key, value)}`));
  return `${[String(time).slice(11, 19), label, visible(String(msg)), ...rest].join(' ')}\n`;
}

/** A stack is on several lines. */
function valueText(key: string, value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return key === 'stack' ? visibleLines(text) : visible(text);
}
